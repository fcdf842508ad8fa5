"""b) Gradients: native = torch to 1e-8 for every parameter; both = finite differences where nothing spikes; RTRL = BPTT.

Of every fourth network, CUDA's text on the CPU, of every one that on a CUDA device where the campaign is given one: native's to 1e-8, and the same
bits in any order of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from neuro.compiler.parameters import parameters, sharing, values
from neuro.model import Network
from neuro.protocols import Batch, UnsupportedError
from twinspike.fuzzing.editing import blocks, models
from twinspike.fuzzing.networks import Case
from twinspike.fuzzing.oracles.outcome import (
    Failure,
    Outcome,
    Programs,
    attempt,
    cuda_twice,
    expected,
    has_blocks,
    own_values,
    summary,
)
from twinspike.fuzzing.oracles.tolerance import TRIES, off, same_bits

NAME = "gradients"
TURN = 4
BOUND = 1e-8  # of a parameter's largest gradient, or of what the whole loss owes to it
SLOPES = ("fast_sigmoid", "atan", "sigmoid", "triangle")
STEP = 1e-5  # of a parameter, for finite differences: their error is about its square and 1e-16 over it
FINITE = 1e-5  # how well they agree: the two errors, times what the case's own curvature adds
Gradients = Mapping[str, np.ndarray[Any, Any]]


@dataclass
class Loss:
    """A random linear function of everything recorded and of spikes, each trace on its own scale."""

    case: Case
    recording: Any

    @cached_property
    def weights(self) -> dict[str, Any]:
        """[batch, time, neuron] by name of a trace, or of a population's spikes."""
        random, found = np.random.default_rng([self.case.seed, 5]), {}
        for name, trace in self.recording.traces.items():
            scale = float(np.abs(trace).max(initial=0.0)) or 1.0
            found[name] = random.normal(size=trace.shape) / scale
        for name, raster in self.recording.spikes.items():
            found[name] = 0.3 * random.normal(size=np.shape(raster))
        return found

    def torch(self, signals: Any) -> Any:
        """Of tensors."""
        import torch

        parts = {**signals.traces, **signals.spikes}
        return sum(
            ((parts[n] * torch.as_tensor(w)).sum() for n, w in self.weights.items()),
            torch.zeros((), dtype=torch.float64),
        )

    def numpy(self, recording: Any) -> float:
        """Of a recording."""
        parts = {**recording.traces, **recording.spikes}
        return float(sum((np.asarray(parts[n]) * w).sum() for n, w in self.weights.items()))


class Task:
    """What a learning rule needs to know of a loss of one population's states."""

    name, version, readout = "fuzz", 1, ()

    def __init__(self, loss: Loss, output: str, traces: tuple[str, ...]) -> None:
        self.of, self.output, self.traces = loss, output, traces

    def record(self) -> tuple[str, ...]:
        return self.traces

    def loss(self, spikes: Any, traces: Any, batch: Batch) -> Any:
        import torch

        return sum((traces[n] * torch.as_tensor(self.of.weights[n])).sum() for n in self.traces)


def check(case: Case, programs: Programs) -> Outcome:
    """All parameters at once on torch and native; a direction of each by differences."""
    outcome, recording = Outcome(), programs.run("reference")
    if isinstance(recording, Exception):
        return outcome
    loss, random = Loss(case, recording), np.random.default_rng([case.seed, 6])
    options = {"surrogate": str(random.choice(SLOPES)), "detach_reset": bool(random.random() < 0.7)}
    found = {name: attempt(lambda n=name: gradient(case, programs, n, loss, options)) for name in ("torch", "native")}
    for name, result in found.items():
        if isinstance(result, UnsupportedError):
            outcome.refusals.append((name, result.why))
        elif isinstance(result, Exception) and not expected(result):
            outcome.failures.append(Failure(NAME, f"{name} raises {type(result).__name__}", summary(result)))
    if any(isinstance(result, Exception) for result in found.values()):
        return outcome
    compare(case, programs, loss, options, found, "torch and native", outcome)
    if has_blocks(case, TURN):
        in_any_order(case, programs, loss, options, found["native"], outcome)
    if not (any(p.neuron.threshold for p in case.network.populations) or borrows_slopes(case.network)):
        finite_differences(case, programs, loss, found["torch"], outcome)
    rules(case, programs, loss, outcome)
    return outcome


def borrows_slopes(network: Network) -> bool:
    """Values with slopes that aren't theirs: differences show their own."""
    texts = (line.text for m in models(network) for lines in blocks(m).values() for line in lines if line.text)
    return any("straight_through(" in text for text in texts)


def gradient(
    case: Case, programs: Programs, backend: str, loss: Loss, options: Mapping[str, Any], given: Any = None
) -> Gradients:
    """Of the loss, for every parameter of the network."""
    program = programs.get(backend, **options)
    if isinstance(program, Exception):
        raise program
    given = values(case.network) if given is None else given
    size = {"steps": case.steps, "batch": case.batch}
    found: Gradients = program.value_and_grad(loss.torch, given, case.inputs(), sorted(given), case.record(), **size)[1]
    return found


def errors(a: Gradients, b: Gradients) -> dict[str, float]:
    """Largest difference by parameter, relative to its largest gradient; NaN where only one is finite."""
    found = {}
    for name in a:
        x, y = np.asarray(a[name]), np.asarray(b[name])
        both = np.isfinite(x) & np.isfinite(y)
        scale = max(float(np.abs(x[both]).max(initial=0.0)), 1e-300)
        found[name] = float(np.abs(x - y)[both].max(initial=0.0)) / scale
        if (np.isfinite(x) != np.isfinite(y)).any():
            found[name] = np.nan
    return found


def owed(gradients: Gradients, given: Mapping[str, Any]) -> dict[str, float]:
    """What the loss owes to each parameter, as a share of the largest: gradients times values."""
    found = {n: float(np.abs(np.nan_to_num(g) * given[n]).max(initial=0.0)) for n, g in gradients.items()}
    largest = max(found.values(), default=0.0) or 1.0
    return {n: x / largest for n, x in found.items()}


def compare(
    case: Case,
    programs: Programs,
    loss: Loss,
    options: Any,
    found: Mapping[str, Gradients],
    who: str,
    outcome: Outcome,
) -> None:
    """Two backends against each other. who: what they are called. A tie where rounding moves the gradient of one of them as far: what sums leave that cancel is each one's own."""
    first, second = found.values()
    if any(not np.isfinite(g).all() for g in first.values()):
        outcome.notes.append(f"gradient not finite on {next(iter(found))}")
    share = owed(first, values(case.network))
    off_by = {n: e for n, e in errors(first, second).items() if not e <= BOUND and not e * share[n] <= 1e-14}
    if not off_by:
        return
    for number, (name, own_gradients) in product(range(TRIES), found.items()):
        if not off_by:
            break
        random = np.random.default_rng([case.seed, 8, number])
        moved = values(case.network, {n: off(v, random) for n, v in own_values(case.network).items()})
        again = attempt(lambda m=moved, b=name: gradient(case, programs, b, loss, options, m))
        if not isinstance(again, Exception):
            own = errors(own_gradients, again)
            off_by = {n: e for n, e in off_by.items() if not (own[n] * 100 >= e or np.isnan(own[n]))}
    if not off_by:
        outcome.notes.append("tie: gradients")
        return
    worst = max(off_by, key=lambda n: off_by[n] if off_by[n] == off_by[n] else np.inf)
    kind = f"is finite on one of {who}" if np.isnan(off_by[worst]) else f"differs between {who}"
    outcome.failures.append(Failure(NAME, kind, f"{worst} by {off_by[worst]:.2g} of its largest, {options}"))


def in_any_order(case: Case, programs: Programs, loss: Loss, options: Any, native: Gradients, outcome: Outcome) -> None:
    """CUDA's text, its threads in one order and in the other, or in two runs. Trials are added in another order than C's, which rounds."""
    a, b = (attempt(lambda n=name: gradient(case, programs, n, loss, options)) for name in cuda_twice())
    for name, result in zip(cuda_twice(), (a, b), strict=True):
        if isinstance(result, UnsupportedError):
            outcome.refusals.append((name, result.why))
        elif isinstance(result, Exception):
            outcome.failures.append(Failure(NAME, f"{name} raises {type(result).__name__}", summary(result)))
    if isinstance(a, Exception) or isinstance(b, Exception):
        return
    if not same_bits(a, b):
        outcome.failures.append(Failure(NAME, "the order of CUDA's threads matters", f"{options}"))
    compare(case, programs, loss, options, {"native": native, cuda_twice()[0]: a}, "native and CUDA's text", outcome)


def finite_differences(case: Case, programs: Programs, loss: Loss, found: Gradients, outcome: Outcome) -> None:
    """Along a random direction of each of some parameters, on the reference."""
    program, given, groups = programs.get("reference"), own_values(case.network), sharing(parameters(case.network))
    random = np.random.default_rng([case.seed, 7])
    for name in random.permutation(sorted(given))[:4]:
        direction = np.abs(given[name]) * random.choice((-1.0, 1.0), np.shape(given[name]))
        if not np.any(direction):
            continue

        def along(h: float, name: str = name, direction: Any = direction) -> tuple[float, float]:
            ends = [case.run(program, parameters={name: given[name] + s * h * direction}) for s in (1, -1)]
            up, down = (loss.numpy(end) for end in ends)
            return (up - down) / (2 * h), (up - 2 * loss.numpy(loss.recording) + down) / h

        measured = attempt(lambda f=along: [f(STEP), f(STEP / 2)])
        if isinstance(measured, Exception):
            outcome.notes.append(f"finite differences: {type(measured).__name__}")
            continue
        (wide, bend), (narrow, inner_bend) = measured
        computed = float(sum((np.asarray(found[n]) * direction).sum() for n in groups.get(name, (name,))))
        scale = max(abs(computed), abs(wide), 1e-3 * terms(loss))
        if abs(computed) * STEP / 2 > terms(loss):
            outcome.notes.append("finite differences: steeper than any step resolves")
        elif abs(wide - narrow) > FINITE * scale:
            outcome.notes.append("finite differences: a kink or jump is near")
        elif abs(inner_bend) > max(0.75 * abs(bend), FINITE * scale):  # of smooth functions it halves with the step
            outcome.notes.append("finite differences: a kink is just there")
        elif not abs(computed - narrow) <= 3 * FINITE * scale:
            kind, detail = "differs from finite differences", f"{name}: {computed:.8g}, by differences {narrow:.8g}"
            outcome.failures.append(Failure(NAME, kind, detail))
        else:
            outcome.notes.append("finite differences agree")


def terms(loss: Loss) -> float:
    """Size of the loss's terms: what rounding in it is relative to."""
    parts = {**loss.recording.traces, **loss.recording.spikes}
    return float(sum(np.abs(np.asarray(parts[n]) * w).sum() for n, w in loss.weights.items()))


def rules(case: Case, programs: Programs, loss: Loss, outcome: Outcome) -> None:
    """RTRL against BPTT for the weights, wherever RTRL takes the network."""
    from neuro import learning

    if isinstance(
        attempt(lambda: learning.get("rtrl").check_network(case.network, case.network.populations[-1].name)),
        UnsupportedError,
    ):
        outcome.notes.append("rtrl refuses")
        return

    output = case.network.populations[-1].name
    traces = tuple(f"{output}.{v}" for v in case.network.population(output).neuron.scope.states)
    trained = any(n.endswith(".w") and not p.frozen for n, p in parameters(case.network).items())
    if not traces or not complete(case) or not trained:
        return
    task, batch = Task(loss, output, traces), Batch(complete(case), np.zeros(case.batch))
    program = programs.get("torch", detach_reset=True)
    if isinstance(program, Exception):
        return
    learn: Callable[[str], Any] = lambda name: learning.get(name, trainable=("*.w",)).gradient(
        program, values(case.network), batch, task
    )
    found = {name: attempt(lambda n=name: learn(n)) for name in ("rtrl", "bptt")}
    for name, result in found.items():
        if isinstance(result, Exception):
            if not expected(result):
                outcome.failures.append(Failure(NAME, f"{name} raises {type(result).__name__}", summary(result)))
            return
    outcome.notes.append("rtrl compared")
    shared = {n: g for n, g in found["bptt"].items() if n in found["rtrl"]}
    share = owed(shared, values(case.network))
    off_by = {n: e for n, e in errors(shared, found["rtrl"]).items() if not e <= BOUND and not e * share[n] <= 1e-14}
    if off_by:
        worst = max(off_by, key=lambda n: off_by[n])
        outcome.failures.append(
            Failure(NAME, "differs between rtrl and bptt", f"{worst} by {off_by[worst]:.2g} of its largest")
        )


def complete(case: Case) -> dict[str, Any]:
    """Inputs with the Poisson ones drawn; a network without inputs has none that could say how long it runs."""
    from backends.common.arrays import draw_poisson

    drawn = {
        i.name: draw_poisson(case.network, i, 0, case.batch, case.steps)
        for i in case.network.inputs
        if i.kind == "poisson"
    }
    return {**case.inputs(), **drawn}
