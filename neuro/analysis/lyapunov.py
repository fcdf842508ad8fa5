"""Lyapunov exponents of a network along a recorded run: how fast small changes of its state grow or fade.

`spectrum` carries k tangents through the linearised steps and reorthonormalises them; `benettin` follows a second run instead
and knows nothing of the equations. Exponents of spiking networks are surrogate exponents: a spike passes tangents on through a
surrogate's slope, as gradients do.

Source: Benettin, Galgani, Giorgilli & Strelcyn (1980), Meccanica 15:9 and 21; Engelken (2023), NeurIPS 36 (surrogate exponents).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import sympy as sp

from neuro.analysis.trajectories import LyapunovError as LyapunovError
from neuro.analysis.trajectories import check_whole, trajectory
from neuro.analysis.trajectories import needed as needed
from neuro.compiler import surrogates
from neuro.compiler.linearised import MARGIN, Resets
from neuro.compiler.lowering import lower
from neuro.compiler.margin_scales import margin_scales
from neuro.compiler.resolve import resolve
from neuro.compiler.tangents import Tangents
from neuro.model import Network
from neuro.options import one_of
from neuro.protocols import Inputs, Parameters, Program, Recording

Array = npt.NDArray[np.float64]
BLOCKS = 20  # parts of a run whose means give the standard error
NONE = "none"  # instead of a surrogate: spikes pass nothing on


@dataclass(frozen=True)
class Spectrum:
    """Lyapunov exponents, the largest first; -inf where a direction vanishes within a step, as far as rounding
    can tell.

    growth: log of what each step multiplies the directions by, [batch, time, k], without the transient. dt: seconds of a step.
    """

    growth: Array
    dt: float

    @cached_property
    def per_step(self) -> Array:
        """Exponents in 1/step, [k]: means over trials."""
        return np.asarray(self.growth.mean(axis=(0, 1)))

    @cached_property
    def per_second(self) -> Array:
        """Exponents in 1/s, [k]."""
        return self.per_step / self.dt

    @cached_property
    def error(self) -> Array:
        """Standard errors of `per_step` [k]: from the means of `BLOCKS` parts of each trial, so that steps near each other don't count as many."""
        parts = [p.mean(axis=1) for p in np.array_split(self.growth, min(BLOCKS, self.growth.shape[1]), axis=1)]
        means = np.concatenate(parts)
        if len(means) < 2:
            return np.full(self.growth.shape[-1], np.nan)
        with np.errstate(invalid="ignore"):
            return np.asarray(means.std(axis=0, ddof=1) / np.sqrt(len(means)))

    @cached_property
    def running(self) -> Array:
        """Exponents in 1/step as estimated up to each step, [time, k]: whether the run was long enough."""
        summed = np.cumsum(self.growth.mean(axis=0), axis=0)
        return np.asarray(summed / np.arange(1, len(summed) + 1)[:, None])

    @property
    def dimension(self) -> float:
        """Kaplan-Yorke dimension of the attractor; nan where the sum of these k exponents is still positive, so that more are needed."""
        exponents = self.per_step
        total = np.cumsum(exponents)
        if exponents[0] < 0:
            return 0.0
        if total[-1] >= 0:
            return float("nan")
        whole = int(np.argmax(total < 0))
        return float(whole + total[whole - 1] / abs(exponents[whole]))


def in_sequence(inputs: Inputs, trials: int) -> tuple[dict[str, npt.NDArray[Any]], int]:
    """The first trials of a batch one after another, as inputs of one long trial, and the steps of one of them.

    Only arrays and Events are taken, as a task's batch has them. Raises LyapunovError where their trials differ in length.
    """
    arrays = {n: np.asarray(a)[:trials] for n, a in inputs.items()}
    lengths = {a.shape[1] for a in arrays.values()}
    if len(lengths) != 1:
        raise LyapunovError(
            f"the inputs have {', '.join(map(str, sorted(lengths))) or 'no'} steps a trial; give them one length"
        )
    (steps,) = lengths
    return {n: a.reshape(1, -1, a.shape[2]) for n, a in arrays.items()}, steps


def spectrum(
    network: Network, recording: Recording, k: int = 1, *, parameters: Parameters | None = None, inputs: Inputs | None = None,
    surrogate: str | sp.Expr = "", resets: Resets = "detached", transient: int | None = None, every: int = 1, trial: int | None = None,
    first: int | None = None, seed: int = 0, scales: Mapping[str, float] | None = None, update: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Spectrum:  # fmt: skip
    """The k largest exponents of a network along a recorded run, driven or free.

    recording: of a run with record=lyapunov.needed(network), on any backend; a trial's exponents are means over its time. parameters,
    inputs: as that run had them; of inputs only spikes and counts are read, and Poisson inputs and drives are drawn again where left out. trial, first: index of its
    first trial and number of its first step, where its state doesn't say them (a part of a file).
    surrogate: the slope of spikes in networks that have any, in units of the distance from rest to threshold: a name
    (neuro.compiler.surrogates.names()), an expression (surrogates.derivative("fast_sigmoid", slope=5)), or "none" for spikes that pass nothing on. resets: see neuro.compiler.linearised.Linearised. transient: steps at the
    beginning in which directions align and don't count; a tenth where left out. every: steps from one orthonormalisation to the
    next. seed: of the first directions. scales: by population, another unit of the surrogate, SI, such as the one it was trained with
    (its program's semantics.surrogate_scale). update: called with steps done, their number and a text.

    Raises LyapunovError.
    """
    one_of("resets", resets, get_args(Resets))
    wanted = {
        "k": (k, 1),
        "every": (every, 1),
        "seed": (seed, 0),
        "transient": (0 if transient is None else transient, 0),
    }
    for name, (value, least) in wanted.items():
        check_whole(name, value, least)
    run = trajectory(network, recording, parameters, inputs, trial, first)
    tangents = Tangents(lower(network), run, slopes(network, surrogate, scales), resets=resets)
    batch, steps = run.shape
    begin = max(tangents.start, steps // 10 if transient is None else transient)
    _check_room(k, tangents.size, steps - begin)
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((batch, tangents.size, k)))[0]
    growth, since = np.zeros((batch, steps, k)), 0
    for step in range(tangents.start, steps):
        q, since = tangents.advance(step, q), since + 1
        if since == every or step + 1 in (begin, steps):
            q, r = np.linalg.qr(q)
            _check_finite(r, step)
            found = factors(r)
            if since > 1 and not found.all():
                raise LyapunovError(
                    f"every={every}: a direction is lost in rounding within {since} steps; use a smaller one"
                )
            with np.errstate(divide="ignore"):
                growth[:, step + 1 - since : step + 1] = np.log(found)[:, None] / since
            since = 0
        update(step + 1, steps, "")
    growth = growth[:, begin:]
    order = np.argsort(-growth.mean(axis=(0, 1)))  # near each other, directions may come in another one
    return Spectrum(growth[..., order], tangents.step.dt)


def slopes(network: Network, surrogate: str | sp.Expr, units: Mapping[str, float] | None = None) -> dict[str, sp.Expr]:
    """Population -> slope of its spikes as an expression of the margin. Raises LyapunovError, UnknownSurrogateError."""
    step = lower(network)
    spiking = [c.name for c in step.cells if c.spikes]
    psi = surrogates.derivative(surrogate) if isinstance(surrogate, str) and surrogate not in ("", NONE) else surrogate
    if not spiking or surrogate == NONE:
        return {}
    if not surrogate:
        names = ", ".join(surrogates.names())
        raise LyapunovError(
            f"population '{spiking[0]}' fires, and a spike has no derivative; name the surrogate whose exponents you want "
            f"(surrogate='fast_sigmoid'; known: {names}), or surrogate='none' for spikes that pass nothing on"
        )
    scales = {**margin_scales(step, resolve(network).network), **(units or {})}
    return {name: sp.sympify(psi).xreplace({surrogates.X: MARGIN / scales[name]}) / scales[name] for name in spiking}


def factors(r: Array) -> Array:
    """What directions are multiplied by, [..., k], from the triangle of an orthonormalisation; 0 where only rounding is left of one."""
    found = np.abs(np.diagonal(r, axis1=-2, axis2=-1))
    rounding = r.shape[-1] * np.finfo(r.dtype).eps * np.abs(r).max(axis=(-2, -1))[..., None]
    return np.where(found <= rounding, 0.0, found)


def _check_room(k: int, size: int, steps: int) -> None:
    if k > size:
        raise LyapunovError(f"k={k}: the network has {size} directions; use a k from 1 to {size}")
    if steps < 1:
        raise LyapunovError("no step is left after the transient; record a longer run, or give a shorter transient")


def _check_finite(r: Array, step: int) -> None:
    if not np.isfinite(r).all():
        raise LyapunovError(
            f"the tangents are not finite at step {step}: a slope is infinite there, or `every` is too long"
        )


def benettin(
    program: Program, steps: int, *, parameters: Parameters | None = None, inputs: Inputs | None = None, transient: int | None = None,
    every: int = 1, size: float = 1e-7, seed: int = 0, state: Any = None,
) -> Spectrum:  # fmt: skip
    """The largest exponent from two runs, one of them moved a little: a check of `spectrum` that needs no derivative.

    The distance is brought back to `size` times the length of the first state after `every` steps. It counts states alone, in their own units, so that spikes on their way and
    refractory periods must not differ: it is meant for networks without spikes. One trial. Raises LyapunovError.
    """
    network = program.network
    if any(c.spikes for c in lower(network).cells):
        raise LyapunovError(
            "two runs of a network that fires part at a spike, however near they are; use spectrum(..., surrogate=...)"
        )
    needed(network)  # refuses one without states
    if program.semantics.dtype != "float64":
        raise LyapunovError("so small a distance is lost in float32; compile with dtype='float64'")
    for name, value, least in (
        ("steps", steps, 2),
        ("every", every, 1),
        ("seed", seed, 0),
        ("transient", transient or 0, 0),
    ):
        check_whole(name, value, least)
    if not 0 < size < 1:
        raise LyapunovError(f"size={size!r}; give a small share of the state's length, such as 1e-7")
    transient = steps // 10 if transient is None else transient
    ours = program.run(parameters, _part(inputs, 0, 1), steps=1, batch=1, state=state).state
    names = list(ours.variables)
    size *= _length({n: np.asarray(ours.variables[n], np.float64) for n in names}) or 1.0
    random = np.random.default_rng(seed)
    moved = _moved(ours, {n: random.standard_normal(np.shape(ours.variables[n])) for n in names}, size)
    growth = []
    for begin in range(1, steps - every + 1, every):
        options: dict[str, Any] = {"steps": every, "batch": 1}
        given = _part(inputs, begin, begin + every)
        ours, moved = (program.run(parameters, given, state=s, **options).state for s in (ours, moved))
        apart = {n: np.asarray(moved.variables[n], np.float64) - ours.variables[n] for n in names}
        growth.append(np.log(_length(apart) / size) / every)
        moved = _moved(ours, apart, size)
    kept = np.array(growth)[transient // every :]
    if not len(kept):
        raise LyapunovError("no step is left after the transient; use more steps")
    return Spectrum(kept[None, :, None], float(network.dt.value))


def _part(inputs: Inputs | None, first: int, last: int) -> dict[str, Any]:
    return {n: np.asarray(a)[:, first:last] for n, a in (inputs or {}).items()}


def _length(apart: Mapping[str, Array]) -> float:
    return float(np.sqrt(sum(np.sum(a * a) for a in apart.values())))


def _moved(state: Any, apart: Mapping[str, Array], size: float) -> Any:
    """A state at this distance from another, in this direction."""
    scale = size / _length(apart)
    return state.with_variables({n: state.variables[n] + scale * a for n, a in apart.items()})
