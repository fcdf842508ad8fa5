"""Sequences of unequal lengths into noisy cells, whose gradients and curves mustn't depend on how many processes share a batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from neuro.protocols import Array, Batch

EXAMPLES, BATCH, STEPS, CHANNELS, OUTPUTS = 27, 7, 24, 5, 2  # 27 = 3 * 7 + 6: no batch divides evenly by 2 and 4
LENGTHS = (24, 3, 17, 9, 24, 1, 6)
SEED, UPDATES = 0, 20
Gradient = dict[str, Array]


@dataclass(frozen=True)
class Arm:
    """A rule, the backend and precision that it is on, and what losses are divided by. slices: as the rule's own."""

    rule: str
    backend: str = "native"
    dtype: str = "float64"
    per: str = "frame"
    slices: int = 0

    def __str__(self) -> str:
        own = f", {self.slices} slices" if self.slices else ""
        return f"{self.rule}, {self.backend}, {self.dtype}, per {self.per}{own}"

    def made(self) -> Any:
        from neuro import learning

        rate = 0.05 if self.rule == "bptt" else 1e-3
        return learning.get(self.rule, learning_rate=rate, clip=1.0, slices=self.slices)


@lru_cache
def task_of(per: str) -> Any:
    """Noisy LIF cells, recurrent, and a readout that follows numbers step by step."""
    import tasks
    from neuro import Input, Network, Neuron, Normal, Population, Projection, library, quantity

    noisy = Neuron(
        "noisy_lif", "dv/dt = (E_L - v + R*I)/tau_m + 2*mV*xi/tau_m**0.5 : volt\nI : amp", threshold="v > v_th", reset="v = E_L",
        parameters={"E_L": "-70 mV", "R": "100 Mohm", "tau_m": "10 ms", "v_th": "-50 mV"}, initial={"v": "-70 mV"}, method="euler",
    )  # fmt: skip
    pulse = library.get("pulse")

    def normal(mean: float, std: float) -> Normal:
        return Normal(quantity(mean, "nA"), quantity(std, "nA"))

    network = Network(
        (Population("hidden", noisy, 6), Population("output", library.get("leaky_integrator"), OUTPUTS)),
        (
            Projection("feed", "x", "hidden", pulse, normal(3.0, 3.0)),
            Projection("loop", "hidden", "hidden", pulse, normal(0.5, 1.0)),
            Projection("out", "hidden", "output", pulse, normal(0.0, 0.5)),
        ),
        (Input("x", CHANNELS),), dt="1 ms", seed=SEED,
    )  # fmt: skip
    rng = np.random.default_rng(SEED)
    x = rng.random((EXAMPLES, STEPS, CHANNELS)) < 0.3
    y = -0.07 + 1e-2 * rng.standard_normal((EXAMPLES, STEPS, OUTPUTS))
    mask = np.arange(STEPS) < np.resize(LENGTHS, EXAMPLES)[:, None]
    return tasks.from_arrays(x, y, network, mask=mask, x_test=x[:1], y_test=y[:1], output="output.v", per=per)


@lru_cache
def program_of(backend: str, dtype: str) -> Any:
    import backends

    return backends.get(backend).compile(task_of("frame").network(SEED), dtype=dtype)


def batch_of(per: str) -> Batch:
    found: Batch = task_of(per).train[np.arange(BATCH)].batch
    return found


def gradient(arm: Arm, batch: Batch | None = None) -> Gradient:
    """That of a batch, by all processes that have met. batch: the first examples, where none is given."""
    from neuro.compiler.parameters import values

    program, task = program_of(arm.backend, arm.dtype), task_of(arm.per)
    found: Gradient = arm.made().gradient(program, dict(values(program.network)), batch or batch_of(arm.per), task)
    return found


def curve(arm: Arm, number: int = UPDATES) -> tuple[Array, Mapping[str, Array]]:
    """Losses of so many updates, and the parameters after them."""
    from neuro.compiler.parameters import values

    program, task, rule = program_of(arm.backend, arm.dtype), task_of(arm.per), arm.made()
    state, losses, epoch = rule.init(program), list[float](), 0
    parameters: Mapping[str, Array] = dict(values(program.network))
    while len(losses) < number:
        for batch in task.train_batches(np.random.default_rng((SEED, epoch)), BATCH):
            parameters, state, metrics = rule.step(program, parameters, state, batch, task)
            losses.append(metrics["loss"])
        epoch += 1
    return np.array(losses[:number]), parameters


def all_of(
    gradients: tuple[Arm, ...], curves: tuple[Arm, ...]
) -> tuple[dict[Arm, Gradient], dict[Arm, tuple[Array, Any]]]:
    """What a process finds of all of them."""
    return {arm: gradient(arm) for arm in gradients}, {arm: curve(arm) for arm in curves}


def mistaken(arm: Arm, parts: int) -> tuple[Gradient, Gradient]:
    """Two errors that a ragged batch shows: the plain mean of what so many processes find, each of its own examples; and their sum rightly divided, of random
    streams that begin anew in each."""
    from neuro.learning.common.slices import cut, divided, shares

    batch, spans = batch_of(arm.per), divided(BATCH, parts)
    own = [cut(batch, span) for span in spans]
    plain = [gradient(arm, part) for part in own]
    anew = [gradient(arm, replace(part, trial=batch.trial)) for part in own]
    weights = shares(task_of(arm.per), batch, spans)
    return (
        {n: np.mean([g[n] for g in plain], axis=0) for n in plain[0]},
        {n: np.asarray(sum(w * g[n] for w, g in zip(weights, anew, strict=True))) for n in anew[0]},
    )


def apart(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> float:
    """The largest difference, relative to the largest number of each array."""
    return max(float(np.abs(found[n] - wanted[n]).max() / np.abs(wanted[n]).max()) for n in wanted)


def same(found: tuple[Array, Mapping[str, Array]], wanted: tuple[Array, Mapping[str, Array]]) -> bool:
    """Whether two curves end with the same bits all along."""
    return np.array_equal(found[0], wanted[0]) and all(np.array_equal(found[1][n], wanted[1][n]) for n in wanted[1])
