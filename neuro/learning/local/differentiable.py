"""Differentiable plasticity: a synapse of weight w + alpha*rho, whose part rho a local rule changes while the network runs.

w, alpha and the rule's rate are parameters like others, so that a rule that follows the gradient trains them through what the synapse
learns. Source: Miconi, Clune & Stanley (2018), ICML, 3559; with a modulator: Miconi et al. (2019), ICLR; in spiking networks: Schmidgall
et al. (2021), Front Neurorobot 15:629210.
"""

from __future__ import annotations

from typing import Any

from neuro.language.units import quantity
from neuro.learning.common import naming
from neuro.learning.local.plasticity import Plasticity, PlasticityError
from neuro.model import Synapse


def differentiable(
    rule: Plasticity, sends: str, target: str, *, modulator: str = "", gain: float = 1.0, **constants: Any
) -> Synapse:
    """A graded synapse that sends (w + alpha*rho)*`sends` to the input `target`, all without units.

    rule: one that changes weights in every step at a rate eta, such as Oja's or BCM: of rho, which begins at 0 and is kept within -1 and
    1, it makes what it makes of a weight. eta is gain*rate, with one parameter `rate` for the projection; or, where `modulator` names a
    variable of the postsynaptic cells, gain times that. constants: of the rule. Raises PlasticityError.
    """
    known = {name: value for name, value in rule.parameters.items() if name != "eta"}
    if "eta" not in rule.parameters or not rule.every_step or rule.on_pre or rule.on_post:
        raise PlasticityError(
            f"rule '{rule.name}' doesn't change weights in every step at a rate eta; use one that does, such as oja or bcm"
        )
    for name in constants:
        if name not in known:
            raise PlasticityError(f"rule '{rule.name}' has no constant '{name}'; it has {', '.join(known) or 'none'}")
    rate = f"{modulator}_post" if modulator else "rate"
    lines = ("w : 1", "alpha : 1", "rho : 1", f"eta = gain*{rate} : 1", rule.equations)
    return Synapse(
        f"{'modulated' if modulator else 'differentiable'}_{rule.name}",
        "\n".join(line for line in lines if line),
        transmits=f"(w + alpha*rho)*{sends}_pre",
        target=target,
        every_step=f"{naming.renamed(rule.every_step, {'w': 'rho'})}\nrho = clip(rho, -1, 1)",
        parameters={
            "alpha": quantity(0.0, ""),
            "gain": quantity(gain, ""),
            **({} if modulator else {"rate": quantity(0.0, "")}),
            **known,
            **constants,
        },
        source=f"Schmidgall et al. (2021), Front Neurorobot 15:629210; {rule.source}",
    )
