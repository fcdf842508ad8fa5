"""Learning rules, one file each, and the only training loop."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

_RULES = {
    "bptt": "neuro.learning.bptt:BPTT",
    "eprop": "neuro.learning.eprop:EProp",
    "reward-eprop": "neuro.learning.reward_eprop:RewardEProp",
    "rflo": "neuro.learning.rflo:RFLO",
    "snap1": "neuro.learning.snap1:SnAp1",
    "rtrl": "neuro.learning.rtrl:RTRL",
    "uoro": "neuro.learning.uoro:UORO",
    "es": "neuro.learning.es:es",
    "pgpe": "neuro.learning.es:pgpe",
    "snes": "neuro.learning.es:snes",
    "sep-cma": "neuro.learning.es:separable_cma",
    "cma": "neuro.learning.es:cma",
    "spsa": "neuro.learning.es:spsa",
    "wp": "neuro.learning.es:wp",
    "np": "neuro.learning.perturbation:node",
    "wp0": "neuro.learning.perturbation:silent_stay",
    "hybrid": "neuro.learning.perturbation:hybrid",
    "finite-differences": "neuro.learning.es:finite_differences",
    "stdp": "neuro.learning.stdp:stdp_rule",
    "stdp-nearest": "neuro.learning.stdp:nearest_rule",
    "triplet-stdp": "neuro.learning.triplet_stdp:rule",
    "inhibitory-stdp": "neuro.learning.inhibitory_stdp:rule",
    "reward-stdp": "neuro.learning.reward_stdp:rule",
    "scaling": "neuro.learning.scaling:rule",
    "oja": "neuro.learning.oja:rule",
    "bcm": "neuro.learning.bcm:rule",
}


class UnknownRuleError(Exception):
    """No rule of that name, or an option that it doesn't take."""


def names() -> tuple[str, ...]:
    """Names of all rules."""
    return tuple(_RULES)


def get(name: str, **options: Any) -> Any:
    """The rule of that name with these options. Raises UnknownRuleError."""
    if name not in _RULES:
        close = get_close_matches(name, _RULES, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(_RULES)}"
        raise UnknownRuleError(f"there is no rule '{name}'; {hint}")
    module, _, attribute = _RULES[name].partition(":")
    try:
        return getattr(import_module(module), attribute)(**options)
    except TypeError as error:
        raise UnknownRuleError(f"rule '{name}': {error}") from None
