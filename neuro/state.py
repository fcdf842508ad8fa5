"""State: everything that a run's future depends on beside its inputs. A run gives it and takes it, on any backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
PARTS = ("variables", "sums", "refractory", "spikes")


@dataclass(frozen=True)
class State:
    """The state of all trials between two steps: a run cut here, and continued, equals the whole.

    Named arrays, which may be edited (`with_variables`), stored and carried to another backend. A run of a population of parameter
    sets adds its axis before all others. In a program's `forward` they are tensors, and hold the graph until `detach`.

    dt: seconds. step: steps done since the beginning: the time is step*dt, and every random stream goes on there. trial: index
    of the first trial in the random streams. lead: (batch,) or (population, batch), the axes before those of cells and synapses.
    variables: "population.variable" and "projection.variable" (plastic weights as
    well) -> SI values [batch, neuron], [batch, pre, post] or [batch, synapse]. sums: "population.input" -> SI values
    [batch, neuron]: what events have added to an input since it was last read. refractory: population -> whole numbers
    [batch, neuron]: 0, or the steps that are left of a refractory period, the current one counted. spikes: population or spike
    input -> bool [batch, step, neuron], those of the last steps, oldest first, as many as its longest delay.
    """

    dt: float
    step: int
    lead: tuple[int, ...]
    trial: int = 0
    variables: Mapping[str, Any] = field(default_factory=dict)
    sums: Mapping[str, Any] = field(default_factory=dict)
    refractory: Mapping[str, Any] = field(default_factory=dict)
    spikes: Mapping[str, Any] = field(default_factory=dict)

    def each(self, change: Callable[[Any], Any]) -> State:
        """With every array changed."""
        parts: dict[str, Any] = {part: {n: change(a) for n, a in getattr(self, part).items()} for part in PARTS}
        return replace(self, **parts)

    def of_set(self, p: int) -> State:
        """What belongs to parameter set p of a population."""
        return replace(self.each(lambda a: a[p]), lead=self.lead[1:])

    def detach(self) -> State:
        """The same numbers without the graph that led to them."""
        return self.each(lambda a: a.detach() if hasattr(a, "detach") else a)

    def numpy(self) -> State:
        """The same as arrays."""
        return self.each(lambda a: a.detach().cpu().numpy() if hasattr(a, "detach") else np.asarray(a))

    def with_variables(self, variables: Mapping[str, Any]) -> State:
        """With other values of these: state.with_variables({"cells.v": values}). Raises KeyError for an unknown name."""
        unknown = [n for n in variables if n not in self.variables]
        if unknown:
            raise KeyError(f"no variable '{unknown[0]}'; the state has {', '.join(sorted(self.variables))}")
        return replace(self, variables={**self.variables, **variables})

    def arrays(self) -> dict[str, Array]:
        """All of it as arrays, "variables/cells.v" and so on; `from_arrays` makes the same state of them."""
        found = {f"{part}/{n}": np.asarray(a) for part in PARTS for n, a in getattr(self.numpy(), part).items()}
        return found | {n: np.asarray(getattr(self, n)) for n in ("dt", "step", "lead", "trial")}

    @staticmethod
    def from_arrays(arrays: Mapping[str, Array]) -> State:
        """Inverse of `arrays`."""
        parts: dict[str, Any] = {part: {} for part in PARTS}
        for name, array in arrays.items():
            part, _, own = name.partition("/")
            if own:
                parts[part][own] = array
        lead = tuple(int(n) for n in arrays["lead"])
        return State(float(arrays["dt"]), int(arrays["step"]), lead, int(arrays["trial"]), **parts)

    def differences(self, other: State) -> dict[str, float]:
        """Largest absolute difference, by "part/name", where there is any; inf where one lacks a name or a shape is another."""
        found = {
            f.name: float("inf")
            for f in fields(self)
            if f.name not in PARTS and getattr(self, f.name) != getattr(other, f.name)
        }
        for part in PARTS:
            ours, theirs = getattr(self, part), getattr(other, part)
            for name in dict.fromkeys((*ours, *theirs)):
                a, b = (np.asarray(x[name], np.float64) if name in x else None for x in (ours, theirs))
                if a is None or b is None or a.shape != b.shape:
                    found[f"{part}/{name}"] = float("inf")
                elif not np.array_equal(a, b):
                    found[f"{part}/{name}"] = float(np.abs(a - b).max())
        return found


def joined(states: list[State]) -> State:
    """States of parts of a population as one."""
    first = states[0]
    parts: dict[str, Any] = {
        part: {n: np.concatenate([getattr(s, part)[n] for s in states]) for n in getattr(first, part)} for part in PARTS
    }
    return replace(first, lead=(sum(s.lead[0] for s in states), *first.lead[1:]), **parts)
