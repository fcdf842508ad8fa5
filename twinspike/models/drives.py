"""Constant currents that make every library neuron fire (or move, where it has no threshold)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from neuro.language.units import Quantity, quantity

V = TypeVar("V")


@dataclass(frozen=True)
class Drive:
    """amplitude: text of a quantity for the input variable `input`. step: text of dt."""

    amplitude: str
    step: str = "0.1 ms"
    input: str = "I"

    @property
    def dt(self) -> Quantity:
        return quantity(self.step)


class Needed(dict[str, V]):
    """What every library model needs besides itself, by its name. what: such as "drive". example, place: what is written, and where."""

    def __init__(self, entries: Mapping[str, V], what: str, example: str, place: str) -> None:
        super().__init__(entries)
        self.what, self.example, self.place = what, example, place

    def __missing__(self, name: str) -> V:
        raise KeyError(f"'{name}' has no {self.what}; write one, such as {self.example}, into {self.place}")


_DRIVES = {
    "lif": Drive("0.3 nA"),
    "cuba_lif": Drive("0.3 nA"),
    "coba_lif": Drive("300 pA"),
    "alif": Drive("0.4 nA"),
    "izhikevich": Drive("15 volt/second"),
    "adex": Drive("1.5 nA"),
    "fitzhugh_nagumo": Drive("0.5", step="0.2 ms"),
    "hodgkin_huxley": Drive("30 uA/cm**2", step="0.05 ms"),
    "morris_lecar": Drive("95 uA/cm**2", step="0.5 ms"),
    "morris_lecar_trapezoid": Drive("60 uA/cm**2"),
    "leaky_integrator": Drive("0.2 nA"),
    "rate": Drive("0.5", input="z"),
    "rate_relu": Drive("0.5", input="z"),
    "additive": Drive("0.5", step="2 ms", input="z"),
    "leaky_tanh": Drive("0.5", input="z"),
    "rate_sigmoid": Drive("0.5", input="z"),
}
DRIVES = Needed(_DRIVES, "drive", "Drive('0.3 nA') for its input I", "DRIVES in twinspike/models/drives.py")
