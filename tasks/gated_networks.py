"""Long short-term memory as cells and projections: four sums into one cell, by text that every backend runs.

Each layer hears the one below it as it was at the beginning of the step, so it answers one step later. Source: Hochreiter & Schmidhuber (1997), Neural
Comput 9:1735, with the forget gate of Gers, Schmidhuber & Cummins (2000), Neural Comput 12:2451.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neuro.model import Neuron, Population, Projection, Synapse
from neuro.protocols import Array

GATES = ("i", "f", "c", "o")  # input, forget, candidate, output: torch's order
_EQUATIONS = "\n".join([*(f"z_{g} : 1" for g in GATES), "c : 1", "h : 1"])
_BIASES = {f"b_{g}": "0" for g in GATES}
lstm = Neuron(
    "lstm", _EQUATIONS,
    every_step="""
    c = sigmoid(z_f + b_f)*c + sigmoid(z_i + b_i)*tanh(z_c + b_c)
    h = sigmoid(z_o + b_o)*tanh(c)
    """,
    parameters=_BIASES, source="Gers, Schmidhuber & Cummins (2000), Neural Comput 12:2451",
)  # fmt: skip
plastic_lstm = Neuron(
    "plastic_lstm", f"{_EQUATIONS}\nlast : 1\ncandidate : 1\nm : 1\nrate = m + b_m : 1",
    every_step="""
    last = h
    candidate = tanh(z_c + b_c)
    c = sigmoid(z_f + b_f)*c + sigmoid(z_i + b_i)*candidate
    h = sigmoid(z_o + b_o)*tanh(c)
    """,
    parameters={**_BIASES, "b_m": "0"}, source="Miconi, Rawal, Clune & Stanley (2019), ICLR, arXiv 2002.10585",
)  # fmt: skip
modulator = Neuron("modulator", "z : 1\ny = tanh(z + b) : 1", parameters={"b": "0"}, source="a signal for a layer")
hears = Synapse("hears", "w : 1", transmits="w*h_pre", target="z", source="a weighted sum")
fans_out = Synapse("fans_out", "w : 1", transmits="w*y_pre", target="m", source="one signal, a weight for each cell")


@dataclass(frozen=True)
class Plasticity:
    """Of a layer's synapses from itself to the candidates. alpha: [size, size]. clip: bound of hebb. Of the modulator: hear [size, 1], b, fan [1, size]; b_m [size] is
    the rate of change where it sends nothing."""

    alpha: Array
    clip: float
    hear: Array
    b: float
    fan: Array
    b_m: Array

    def synapse(self) -> Synapse:
        """w + alpha hebb; hebb changes by the target's rate times the cell's last output times the target's candidate."""
        change = f"hebb = clip(hebb + rate_post*last_pre*candidate_post, -{self.clip!r}, {self.clip!r})"
        return Synapse(
            "plastic_into_c", "w : 1\nalpha : 1\nhebb : 1", transmits="(w + alpha*hebb)*h_pre", target="z_c", every_step=change,
            parameters={"alpha": "0"}, source=plastic_lstm.source,
        )  # fmt: skip


def into(gate: str, sent: str) -> Synapse:
    """A weighted sum of what the cells before send, into a gate's input."""
    return Synapse(
        f"{sent}_into_{gate}", "w : 1", transmits=f"w*{sent}_pre", target=f"z_{gate}", source="a weighted sum"
    )


def lstm_layer(
    name: str,
    size: int,
    below: str,
    sent: str,
    weights: Mapping[str, Array],
    biases: Mapping[str, Array],
    plastic: Plasticity | None = None,
) -> tuple[list[Population], list[Projection]]:
    """A layer of cells, and what reaches them from `below` and from themselves. sent: the variable that the cells below send.

    weights: "x_i" [below, size] from below into gate i, "h_i" [size, size] from the layer itself, and so on for all four. biases: "i" [size] and so on.
    """
    own = {f"b_{g}": biases[g] for g in GATES}
    projections = [Projection(f"{name}_x_{g}", below, name, into(g, sent), weights[f"x_{g}"]) for g in GATES]
    projections += [
        Projection(f"{name}_h_{g}", name, name, into(g, "h"), weights[f"h_{g}"])
        for g in GATES
        if g != "c" or not plastic
    ]
    if plastic is None:
        return [Population(name, lstm, size, own)], projections
    signal = f"{name}_modulator"
    populations = [
        Population(name, plastic_lstm, size, {**own, "b_m": plastic.b_m}),
        Population(signal, modulator, 1, {"b": plastic.b}),
    ]
    projections += [
        Projection(f"{name}_h_c", name, name, plastic.synapse(), weights["h_c"], parameters={"alpha": plastic.alpha}),
        Projection(f"{name}_hear", name, signal, hears, plastic.hear, summed="end"),
        Projection(f"{name}_fan", signal, name, fans_out, plastic.fan, summed="end"),
    ]
    return populations, projections
