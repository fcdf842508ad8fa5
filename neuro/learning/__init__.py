"""Learning rules, one file each, and the only training loop."""

from __future__ import annotations

from typing import Any

from neuro.registry import Registry


class UnknownRuleError(Exception):
    """No rule of that name, or an option that it doesn't take."""


REGISTRY = Registry(
    "rule",
    {
        "bptt": "neuro.learning.gradient.bptt:BPTT",
        "layerwise": "neuro.learning.gradient.layerwise:Layerwise",
        "actor-critic": "neuro.learning.gradient.actor_critic:ActorCritic",
        "differentiable-structure": "neuro.learning.gradient.differentiable_structure:DifferentiableStructure",
        "flossing": "neuro.learning.gradient.flossing:Flossing",
        "eprop": "neuro.learning.traces.eprop:EProp",
        "reward-eprop": "neuro.learning.traces.reward_eprop:RewardEProp",
        "rflo": "neuro.learning.traces.rflo:RFLO",
        "snap1": "neuro.learning.traces.snap1:SnAp1",
        "rtrl": "neuro.learning.traces.rtrl:RTRL",
        "uoro": "neuro.learning.traces.uoro:UORO",
        "es": "neuro.learning.search.es:es",
        "pgpe": "neuro.learning.search.es:pgpe",
        "snes": "neuro.learning.search.es:snes",
        "sep-cma": "neuro.learning.search.es:separable_cma",
        "cma": "neuro.learning.search.es:cma",
        "spsa": "neuro.learning.search.es:spsa",
        "wp": "neuro.learning.search.es:wp",
        "np": "neuro.learning.search.perturbation:node",
        "wp0": "neuro.learning.search.perturbation:silent_stay",
        "hybrid": "neuro.learning.search.perturbation:hybrid",
        "finite-differences": "neuro.learning.search.es:finite_differences",
        "contrastive": "neuro.learning.phases.contrastive:Contrastive",
        "stdp": "neuro.learning.local.stdp:stdp_rule",
        "stdp-nearest": "neuro.learning.local.stdp:nearest_rule",
        "triplet-stdp": "neuro.learning.local.triplet_stdp:rule",
        "inhibitory-stdp": "neuro.learning.local.inhibitory_stdp:rule",
        "reward-stdp": "neuro.learning.local.reward_stdp:rule",
        "scaling": "neuro.learning.local.scaling:rule",
        "oja": "neuro.learning.local.oja:rule",
        "bcm": "neuro.learning.local.bcm:rule",
    },
    UnknownRuleError,
    group="neuro.rules",
    needs=("init", "step", "save", "load"),
)


def names() -> tuple[str, ...]:
    """Names of all rules, third parties' included (entry point group `neuro.rules`)."""
    return REGISTRY.names()


def get(name: str, /, **options: Any) -> Any:
    """The rule of that name with these options. Raises UnknownRuleError."""
    return REGISTRY.make(name, options)
