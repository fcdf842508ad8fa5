"""Small networks around one library model."""

from __future__ import annotations

from neuro import Input, Network, Population, Projection, library, quantity
from twinspike.models.drives import DRIVES, Needed

_WEIGHTS = {
    "alpha": "0.5 nA",
    "current_jump": "0.5 nA",
    "delta": "2 mV",
    "exponential_conductance": "5 nS",
    "exponential_current": "0.5 nA",
    "graded_sigmoid": "0.1 nA",
    "pulse": "1 nA",
    "short_term_plasticity": "2 nA",
}
WEIGHTS = Needed(_WEIGHTS, "weight", "'1 nA'", "WEIGHTS in tests/library/networks.py")
TARGETS = {"current_jump": "cuba_lif", "exponential_conductance": "coba_lif"}  # the others reach a `lif`


def one_population(name: str, size: int = 1) -> Network:
    """Cells of one library neuron, each with its own current."""
    drive = DRIVES[name]
    current = Input("current", size, "current", f"cells.{drive.input}")
    return Network((Population("cells", library.get(name), size),), (), (current,), dt=drive.dt, name=name)


def two_populations(name: str) -> Network:
    """A driven `lif` and its target, joined by one library synapse."""
    synapse, target = library.get(name), library.get(TARGETS.get(name, "lif"))
    populations = (Population("pre", library.get("lif"), 1), Population("post", target, 1))
    delay = quantity("0 ms" if synapse.transmits else "0.5 ms")
    projection = Projection("link", "pre", "post", synapse, WEIGHTS[name], delay=delay)
    return Network(populations, (projection,), (Input("current", 1, "current", "pre.I"),), name=name)
