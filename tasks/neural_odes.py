"""Neural ordinary differential equations: networks whose cells and units without states are one system, to be fitted to a trajectory.

`spiral`: dy/dt = W2 tanh(W1 y^3), to a cubic spiral. `robertson`: dy/ds of the logarithm of time, s = log(t/t_0), by a multilayer perceptron, to
Robertson's stiff reactions over ten decades of time. Source: Chen et al. (2018), NeurIPS 31 (spiral); Robertson (1966), Numerical
Analysis: An Introduction, p. 178; as a neural ODE: Kim et al. (2021), Chaos 31:093122, whose scaling of the rate this is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.language.units import quantity
from neuro.model import Input, Network, Neuron, Normal, Population, Projection, Synapse
from neuro.options import OptionError
from neuro.protocols import Batch, Recording, Settings
from neuro.state import State
from tasks.synthetic import SameBatch

Array = npt.NDArray[np.float64]
RATES = (0.04, 3e7, 1e4)  # of Robertson's three reactions

flow = Neuron(
    "flow",
    "dy/dt = f/tau : 1\nf : 1",
    parameters={"tau": "1 second"},
    method="rk4",
    source="what arrives is the rate of change",
)
tanh_unit = Neuron("tanh_unit", "r = tanh(z) : 1\nz : 1", source="a unit without a state")
gelu_unit = Neuron(
    "gelu_unit",
    "r = 0.5*x*(1 + tanh(0.7978845608028654*(x + 0.044715*x**3))) : 1\nx = z + b : 1\nz : 1",
    parameters={"b": "0"},
    source="Hendrycks & Gimpel (2016), arXiv:1606.08415, by its tanh",
)
cubed = Synapse("cubed", "w : 1", transmits="w*y_pre**3", target="z", source="Chen et al. (2018), NeurIPS 31")
plain = Synapse("plain", "w : 1", transmits="w*y_pre", target="z", source="weighted sum")
among = Synapse("among", "w : 1", transmits="w*r_pre", target="z", source="weighted sum of outputs")
out = Synapse("out", "w : 1", transmits="w*r_pre", target="f", source="weighted sum of outputs")


def normal(std: float) -> Normal:
    return Normal(quantity(0.0, ""), quantity(std, ""))


def begun(dt: float, y: Array) -> State:
    """Trials that begin at these points, [batch, dimension]."""
    return State(dt, 0, (len(y),), variables={"y.y": y})


class _Fitted:
    """What both tasks share: the mean absolute distance from points that are known. Metric: minus that."""

    name: str
    version = 1
    output = "y"
    readout = ("out.w",)
    dt: float

    def record(self) -> Sequence[str]:
        return ("y.y",)

    def scale(self) -> Any:
        """What distances are divided by, [dimension]."""
        return 1.0

    def chosen(self, values: Any) -> Any:
        """Of values [batch, step, dimension] after each step, those at known points."""
        return values

    def loss(self, spikes: Mapping[str, Any], traces: Mapping[str, Any], batch: Batch) -> Any:
        import torch

        found = self.chosen(traces["y.y"])
        targets, scale = (torch.as_tensor(a).to(found) for a in (batch.targets, self.scale()))
        return ((found - targets) / scale).abs().mean()

    def metric(self, recording: Recording, batch: Batch) -> float:
        return -float(np.abs((self.chosen(recording.traces["y.y"]) - batch.targets) / self.scale()).mean())


class Spiral(_Fitted):
    """y' = y^3 A from (2, 0) over 25 s; batches of random pieces of 9 steps. `hidden` units, weights N(0, 0.1^2)."""

    name = "spiral"
    updates = 50
    settings = Settings(
        epochs=8, batch=20,
        rules={
            "bptt": {"optimiser": "rmsprop", "learning_rate": 1e-3, "scheduler": "exponential", "schedule_options": {"gamma": 0.99}},
            "es": {"samples": 50, "sigma": 0.01, "optimiser": "rmsprop", "learning_rate": 1e-3, "shaping": "none", "learning_power": 0.5, "stability": 100.0},
        },
    )  # fmt: skip
    steps, piece = 999, 9
    matrix = np.array([[-0.1, 2.0], [-2.0, -0.1]])

    def __init__(self, hidden: int = 200) -> None:
        if hidden < 1:
            raise OptionError(f"hidden={hidden}; at least one unit")
        self.hidden = hidden
        self.dt = 25.0 / self.steps

    def network(self, seed: int) -> Network:
        return Network(
            (
                Population("y", flow, 2, initial={"y": quantity(np.array([2.0, 0.0]), "")}),
                Population("hidden", tanh_unit, self.hidden),
            ),
            (
                Projection("inner", "y", "hidden", cubed, normal(0.1)),
                Projection("out", "hidden", "y", out, normal(0.1)),
            ),
            (Input("push", 2, "current", "y.f"),),
            dt=quantity(self.dt, "second"),
            seed=seed,
            name=self.name,
            couplings="stages",
        )

    @cached_property
    def truth(self) -> Array:
        """[step, 2] at all 1,000 times, by an integrator of order 8."""
        from scipy.integrate import solve_ivp

        times = self.dt * np.arange(self.steps + 1)
        solved = solve_ivp(
            lambda t, y: y**3 @ self.matrix, (0, times[-1]), [2.0, 0.0], "DOP853", times, rtol=1e-9, atol=1e-11
        )
        return np.asarray(solved.y.T)

    def train_batches(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        for _ in range(self.updates):
            starts = rng.integers(0, self.steps - self.piece, batch)
            yield self.pieces(starts)

    def test_batch(self) -> Batch:
        """The whole spiral, in pieces."""
        starts = np.arange(0, self.steps - self.piece, self.piece)
        return self.pieces(starts)

    def pieces(self, starts: npt.NDArray[np.integer[Any]]) -> Batch:
        """Those that begin at these points of the spiral."""
        targets = self.truth[starts[:, None] + np.arange(1, self.piece + 1)]
        return Batch({"push": np.zeros(targets.shape)}, targets, state=begun(self.dt, self.truth[starts]))

    def perfect(self, batch: Batch) -> Recording:
        return Recording(self.dt, traces={"y.y": batch.targets})


def robertson(times: Array) -> Array:
    """Concentrations [time, 3] from (1, 0, 0), by an implicit integrator."""
    from scipy.integrate import solve_ivp

    a, b, c = RATES

    def rate(t: float, y: Array) -> list[float]:
        back = c * y[1] * y[2]
        return [-a * y[0] + back, a * y[0] - back - b * y[1] ** 2, b * y[1] ** 2]

    solved = solve_ivp(rate, (0.0, times[-1]), [1.0, 0.0, 0.0], "Radau", times, rtol=1e-8, atol=1e-12)
    return np.asarray(solved.y.T)


class Robertson(_Fitted, SameBatch):
    """50 points from 1e-5 to 1e5 s, equally far apart in the logarithm of time, which is the network's own: y' = NN(y) scale / t_end.

    Six hidden layers of `width` units. The first point is where the trial begins. Distances are in units of each concentration's largest.
    """

    name = "robertson"
    updates = 50
    points, between = 50, 8  # known points, and steps from one to the next
    settings = Settings(
        epochs=8, batch=1,
        rules={
            "bptt": {"learning_rate": 5e-3, "trainable": ("*.w", "*.b"), "clip": 1.0},
            "es": {"samples": 32, "sigma": 0.05, "learning_rate": 0.01, "shaping": "none", "trainable": ("*.w", "*.b")},
        },
    )  # fmt: skip

    def __init__(self, width: int = 5, layers: int = 6) -> None:
        if width < 1 or layers < 1:
            raise OptionError(f"width={width}, layers={layers}; at least one of each")
        self.width, self.layers = width, layers
        self.dt = 10 * np.log(10) / (self.points - 1) / self.between

    @cached_property
    def truth(self) -> Array:
        """[point, 3]."""
        return robertson(np.logspace(-5, 5, self.points))

    def network(self, seed: int) -> Network:
        decades = quantity(10 * float(np.log(10)), "second")
        cell = Neuron(
            "log_time_flow", "dy/dt = exp((t - end)/tau)*scale*f/tau : 1\nf : 1",
            parameters={"tau": "1 second", "end": decades, "scale": "1"}, method="rk4", source="dy/dlog(t) = t dy/dt",
        )  # fmt: skip
        names = [f"layer{i + 1}" for i in range(self.layers)]
        zeros = quantity(np.zeros(self.width), "")
        hidden = [Population(n, gelu_unit, self.width, {"b": zeros}) for n in names]
        y = Population("y", cell, 3, {"scale": quantity(self.scale(), "")}, {"y": quantity(self.truth[0], "")})
        deep = normal(1 / np.sqrt(self.width))
        links = [Projection("inner", "y", names[0], plain, normal(1 / np.sqrt(3)))]
        links += [Projection(f"to_{b}", a, b, among, deep) for a, b in pairwise(names)]
        links += [Projection("out", names[-1], "y", out, deep)]
        push = Input("push", 3, "current", "y.f")
        return Network((y, *hidden), tuple(links), (push,), dt=quantity(self.dt, "second"), seed=seed, name=self.name, couplings="stages")  # fmt: skip

    def scale(self) -> Array:
        return np.asarray(np.abs(self.truth).max(axis=0))

    def chosen(self, values: Any) -> Any:
        return values[:, self.between - 1 :: self.between]

    def batch(self) -> Batch:
        steps = (self.points - 1) * self.between
        return Batch({"push": np.zeros((1, steps, 3))}, self.truth[None, 1:])

    def perfect(self, batch: Batch) -> Recording:
        return Recording(self.dt, traces={"y.y": np.repeat(batch.targets, self.between, axis=1)})
