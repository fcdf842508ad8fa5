"""A recording as the tangents of its network read it; whatever doesn't fit the network is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.compiler import drives, streams
from neuro.compiler.lowering import lower
from neuro.compiler.noise import noise as noise_of
from neuro.compiler.noise import per_step
from neuro.compiler.parameters import different, for_all
from neuro.compiler.parameters import parameters as declared_parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.step import Couple, Gather, Threshold, Update
from neuro.compiler.trajectory import Trajectory
from neuro.language.units import Quantity, quantity, unit
from neuro.model import Network
from neuro.options import hint
from neuro.protocols import Inputs, Parameters, Recording, RunError

Array = npt.NDArray[np.float64]


class LyapunovError(Exception):
    """Exponents that can't be had; the message says what is missing and the call that gives it."""


def needed(network: Network) -> tuple[str, ...]:
    """What a run must record: every state, of cells and synapses, and every input of cells. Raises LyapunovError where there is no state."""
    return tuple(_shapes(network))


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """What must be recorded, name -> shape."""
    step = lower(network)
    found: dict[str, tuple[int, ...]] = {f"{c.name}.{n}": (c.size,) for c in step.cells for n in c.states}
    found |= {f"{s.name}.{n}": tuple(s.shape) for s in step.synapses for n in s.states}
    if not found:
        raise LyapunovError(f"network '{network.name or 'unnamed'}' has no state that could change a little")
    return found | {f"{c.name}.{n}": (c.size,) for c in step.cells for n in c.inputs}


def trajectory(
    network: Network, recording: Recording, parameters: Parameters | None = None, inputs: Inputs | None = None,
    trial: int | None = None, first: int | None = None,
) -> Trajectory:  # fmt: skip
    """A recording with what its run had beside it. trial, first: see `spectrum`. Raises LyapunovError."""
    merged = resolve(network).network
    batch, steps = _trials_and_steps(network, recording)
    trial, first = _place(network, recording, steps, trial, first)
    noise = noise_of(merged, trial, batch, first, first + steps)
    spikes = dict(recording.spikes) | _sent(merged, inputs or {}, trial, batch, steps, first)
    for cells in lower(network).cells:
        for count, name in cells.counts:
            given = (inputs or {}).get(name)
            own = (
                drives.counts(merged, name, trial, batch, steps, first)
                if given is None
                else np.asarray(given, np.float64)
            )
            noise[f"{cells.name}.{count}"] = _of_run(name, own, (batch, steps, cells.size))
    traces = {n: np.asarray(recording.traces[n]) for n in needed(network)}
    return Trajectory(traces, spikes, _values(network, parameters or {}), noise, first)


def check_whole(name: str, value: Any, least: int) -> None:
    """Raises LyapunovError unless it is a whole number from there on."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise LyapunovError(f"{name}={value!r}; give a whole number from {least} on")


def _trials_and_steps(network: Network, recording: Recording) -> tuple[int, int]:
    """Of a recording that has all that is needed."""
    sizes, dt = _shapes(network), lower(network).dt
    lacking = [n for n in sizes if n not in recording.traces or n in recording.chosen]
    if lacking or recording.every != 1:
        what = f"'{lacking[0]}' of all cells or synapses" if lacking else "every step"
        raise LyapunovError(f"the recording lacks {what}; run the network with record=lyapunov.needed(network)")
    if not np.isclose(recording.dt, dt, rtol=1e-9, atol=0):
        steps = f"steps of {recording.dt:g} s, the network of {dt:g} s"
        raise LyapunovError(f"the recording has {steps}; record the network itself")
    lead = np.shape(recording.traces[next(iter(sizes))])[:2]
    for name, size in sizes.items():
        array = np.asarray(recording.traces[name])
        if array.ndim == len(size) + 3:
            raise LyapunovError("the recording is of a population of parameter sets; take one: recording.of_set(0)")
        if array.shape != (*lead, *size):
            raise LyapunovError(f"the recording's '{name}' has the shape {array.shape}; give {(*lead, *size)}")
        if not np.isfinite(array).all():
            raise LyapunovError(f"the recording's '{name}' has entries that are not finite")
    return int(lead[0]), int(lead[1])


def _place(network: Network, recording: Recording, steps: int, trial: int | None, first: int | None) -> tuple[int, int]:
    """Index of the first trial and number of the first step: the recording's own, where it has a state."""
    for name, value in (("trial", trial), ("first", first)):
        check_whole(name, 0 if value is None else value, 0)
    try:
        state = recording.state
    except RunError:
        if _clocked(network) and (first is None or trial is None):
            raise LyapunovError(
                "the recording doesn't say with which step and trial it begins, and the network depends on the time, on noise or on drawn "
                "spikes; give first=0, trial=0 for a whole run, or what it begins with"
            ) from None
        return trial or 0, first or 0
    for name, given, own in (("trial", trial, state.trial), ("first", first, state.step - steps)):
        if given is not None and given != own:
            raise LyapunovError(f"{name}={given}, and the recording's own is {own}; leave it out")
    return state.trial, state.step - steps


def _clocked(network: Network) -> bool:
    """Whether a step depends on when it is: on the time, on noise, on Poisson inputs and drives, or by what runs regularly."""
    merged = resolve(network).network
    if per_step(merged) or any(i.drawn for i in merged.inputs):
        return True
    exprs: list[sp.Expr] = []
    for op in lower(network).operations:
        if isinstance(op, Update) and op.every > 1:
            return True
        match op:
            case Gather():
                exprs += [c.value for c in op.couplings]
            case Couple():
                exprs.append(op.value)
            case Update():
                exprs += [a.expr for a in op.assigns]
            case Threshold():
                exprs += [op.margin, op.condition]
    return any(s.name == "t" for e in exprs for s in e.free_symbols)


def _values(network: Network, given: Parameters) -> dict[str, Array]:
    """All parameters, SI, with the given ones in their places."""
    declared = declared_parameters(network)
    found: dict[str, Array] = {n: p.value for n, p in declared.items()}
    for name, value in for_all(declared, given).items():
        if name not in declared:
            raise LyapunovError(f"there is no parameter '{name}'; {hint(name, declared)}")
        parameter, asked = declared[name], value
        if isinstance(value, str | Quantity):
            in_unit = quantity(value) if isinstance(value, str) else value
            if in_unit.dimension != unit(parameter.unit).dimension:
                raise LyapunovError(f"parameter '{name}' is given in {in_unit.dimension}; its unit is {parameter.unit}")
            asked = in_unit.value
        array = np.asarray(asked)
        fits = array.shape == parameter.shape and np.issubdtype(array.dtype, np.number)
        if not fits or not np.isfinite(array).all():
            what = f"finite numbers of the shape {parameter.shape}"
            raise LyapunovError(f"parameter '{name}' must be {what}, as the run had them")
        found[name] = array.astype(np.float64)
    if wrong := different(declared, found):
        raise LyapunovError("; ".join(wrong))
    return found


def _sent(network: Network, given: Inputs, trial: int, batch: int, steps: int, first: int) -> dict[str, Any]:
    """Spikes of the inputs that projections begin at."""
    names = [i.name for i in network.inputs]
    for name in given:
        if name not in names:
            raise LyapunovError(f"there is no input '{name}'; {hint(name, names)}")
    found = {}
    for item in network.inputs:
        if not item.sends:
            continue
        if item.name in given:
            found[item.name] = np.asarray(given[item.name], bool)
        elif item.kind == "poisson" and item.rate is not None:
            found[item.name] = streams.poisson(network, item, trial, batch, steps, first)
        else:
            call = f"inputs={{'{item.name}': spikes}}"
            raise LyapunovError(f"input '{item.name}' is missing; give {call}, those of the run")
        _of_run(item.name, found[item.name], (batch, steps, item.size))
    return found


def _of_run(name: str, array: Any, shape: tuple[int, ...]) -> Any:
    """An input's array, which must be as long as the recording. Raises LyapunovError."""
    if array.shape != shape:
        raise LyapunovError(f"input '{name}' has the shape {array.shape}; the recording's is {shape}")
    return array
