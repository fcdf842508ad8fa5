"""What a target can hold, as data: one Profile a target. Lint, quantisers and writers read it; it computes nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from neuro.options import OptionError, checked

NeuronKind = Literal["lif", "cuba_lif", "leaky_integrator"]  # as neuro.export.leaky recognises them
PerNeuron = Literal["tau_mem", "tau_syn", "threshold"]


def _check(item: Any, what: str) -> None:
    """Raises OptionError naming a field whose value its annotation doesn't allow."""
    try:
        checked(type(item), {f.name: getattr(item, f.name) for f in fields(item)})
    except OptionError as error:
        raise OptionError(f"{what}: {error}") from None


@dataclass(frozen=True)
class Integers:
    """low, low + step, ..., high."""

    low: int
    high: int
    step: int = 1

    @property
    def bits(self) -> int:
        """Bits of a two's complement (or, without negative numbers, unsigned) code for every value."""
        count = (self.high - self.low) // self.step
        return max(1, count.bit_length())

    def __str__(self) -> str:
        return f"{self.low}..{self.high}" + (f" in steps of {self.step}" if self.step > 1 else "")


@dataclass(frozen=True)
class State:
    """An integer state variable. overflow: what happens past its range."""

    bits: int
    overflow: Literal["wrap", "saturate"]

    def __post_init__(self) -> None:
        _check(self, "a State")


@dataclass(frozen=True)
class Decay:
    """Codes of decay factors. linear: code/2^bits is what one step takes away. dash: one step takes 2^-code away."""

    kind: Literal["linear", "dash"]
    bits: int

    def __post_init__(self) -> None:
        _check(self, "a Decay")


@dataclass(frozen=True)
class Profile:
    """One target. None: no limit, or floating point.

    suffix: of the main file. neurons, thresholds, resets: what it computes. leak_free: cells without a leak fit.
    weight: integers of a matrix; mixed_weight: of one with both signs, any of these ranges, where that differs.
    current, voltage: integer states. delays: shortest and longest, steps of the network. fan_in, fan_out: synapses a
    cell. cells_per_core, cores, inputs, hidden, outputs: counts. spikes: most of a cell in one step. chain: one layer
    after the other, nothing past a layer or back over several. layers: fewest and most. recurrence: a layer may project
    onto itself; output_recurrence: also the last one; self_connections: also a cell onto itself. per_neuron: what may differ within a layer. input_latency, layer_latency: steps from
    an input's spike to its effect on the first layer, and from a layer's on the next; both take 1 in a network. order: "decay-add" is i = a i + x, "add-decay"
    i = a (i + x). currents: inputs other than spikes fit.
    """

    name: str
    title: str
    suffix: str
    neurons: tuple[NeuronKind, ...]
    thresholds: tuple[Literal[">", ">="], ...] = (">",)
    resets: tuple[Literal["none", "zero", "subtract"], ...] = ("zero",)
    leak_free: bool = False
    weight: Integers | None = None
    mixed_weight: tuple[Integers, ...] | None = None
    threshold: Integers | None = None
    bias: Integers | None = None
    current: State | None = None
    voltage: State | None = None
    decay: Decay | None = None
    delays: tuple[int, int] = (0, 0)
    fan_in: int | None = None
    fan_out: int | None = None
    cells_per_core: int | None = None
    cores: int | None = None
    inputs: int | None = None
    hidden: int | None = None
    outputs: int | None = None
    input_spikes: int = 1
    spikes: int = 1
    chain: bool = True
    layers: tuple[int, int | None] = (1, None)
    recurrence: bool = True
    output_recurrence: bool = True
    self_connections: bool = True
    per_neuron: tuple[PerNeuron, ...] = ("tau_mem", "tau_syn", "threshold")
    input_latency: int = 1
    layer_latency: int = 1
    order: Literal["decay-add", "add-decay"] = "decay-add"
    currents: bool = False

    def __post_init__(self) -> None:
        _check(self, f"profile '{self.name}'")

    @property
    def integer(self) -> bool:
        """The target computes with integers."""
        return self.weight is not None
