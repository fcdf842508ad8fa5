"""Gradient audit of rules on one network, data and loss: measures against the true gradient, guards, along training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from neuro.analysis import gradients as ga
from neuro.compiler.lowering import lower
from neuro.compiler.parameters import values
from neuro.episodes import acts
from neuro.learning.common.summed_inputs import silent
from neuro.learning.gradient.bptt import BPTT
from neuro.learning.gradient.gradient_rule import GradientRule
from neuro.learning.search.spread import portable
from neuro.learning.traces.eprop import EProp
from neuro.protocols import Array, Batch, Parameters, UnsupportedError


@dataclass(frozen=True)
class Snapshot:
    """One moment of training: the truth, each rule's mean estimate and its measures, spreads of rules with several draws."""

    update: int
    truth: ga.Gradient
    estimates: Mapping[str, ga.Gradient]
    measures: Mapping[str, Mapping[str, ga.Measures]]
    spreads: Mapping[str, ga.Spread]
    problems: tuple[str, ...]


@dataclass
class Audit:
    """rules: name -> rule that has a `gradient`. driver: the rule that trains while the others watch. draws: of rules that are
    random; the others give the same each time. spread: a program of the same network that has `each`, whose workers make the estimates.
    """

    program: Any
    task: Any
    rules: Mapping[str, Any]
    draws: int = 30
    truth: Any = None
    spread: Any = None
    snapshots: list[Snapshot] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, rule in self.rules.items():
            if acts(self.task) and getattr(rule, "acting", False):
                why = f"it follows the return of what the network does in task '{self.task.name}', the truth that is compared with is another loss's"
                raise UnsupportedError("any", f"an audit of rule '{name}'", why)
        some = next((r for r in self.rules.values() if isinstance(r, GradientRule)), GradientRule())
        self.truth = self.truth or BPTT(trainable=some.trainable)

    def look(self, parameters: Parameters, batch: Batch, update: int = 0) -> Snapshot:
        """Measure all rules at these parameters; keeps and returns the snapshot."""
        now = values(self.program.network, parameters)
        batch = replace(batch, inputs=silent(self.program.network, batch.inputs))
        truth = self.truth.gradient(self.program, now, batch, self.task)
        estimates, spreads = {}, {}
        for name, drawn in self.drawn(now, batch).items():
            first = drawn[0]
            if len(drawn) > 1:
                spreads[name] = ga.spread(drawn, {n: truth[n] for n in first})
            estimates[name] = {n: np.mean([d[n] for d in drawn], axis=0) for n in first}
        found = {name: ga.measures(estimate, truth) for name, estimate in estimates.items()}
        problems = tuple(self.problems(now, batch, truth, estimates, spreads))
        self.snapshots.append(Snapshot(update, truth, estimates, found, spreads, problems))
        return self.snapshots[-1]

    def drawn(self, parameters: Parameters, batch: Batch) -> dict[str, list[ga.Gradient]]:
        """Estimates by rule: all draws of one that is random, one of another. The draws are what workers share."""
        twice = self._estimated([(name, d) for name in self.rules for d in (0, 1)], parameters, batch)
        pairs = {name: twice[2 * k : 2 * k + 2] for k, name in enumerate(self.rules)}
        random = [r for r, (a, b) in pairs.items() if any(not np.array_equal(a[n], b[n]) for n in a)]
        more = iter(self._estimated([(r, d) for r in random for d in range(2, self.draws)], parameters, batch))
        return {r: [*pair, *islice(more, self.draws - 2)] if r in random else pair[:1] for r, pair in pairs.items()}

    def _estimated(self, items: Sequence[tuple[str, int]], parameters: Parameters, batch: Batch) -> list[ga.Gradient]:
        """Estimates by rule and draw, in their order."""
        shared = self.rules, self.task, parameters, portable(batch)
        if self.spread is None:
            return [_estimate(self.program, *shared, *item) for item in items]
        found: list[ga.Gradient] = self.spread.each(_estimate, items, shared)
        return found

    def problems(
        self, parameters: Parameters, batch: Batch, truth: ga.Gradient, estimates: Mapping[str, ga.Gradient],
        random: Mapping[str, Any],
    ) -> Iterator[str]:  # fmt: skip
        """What makes the comparison worthless, by name."""
        step = lower(self.program.network)
        spiking = [c.name for c in step.cells if c.spikes]
        recording = self.program.run(parameters, batch.inputs, tuple(self.task.record()), state=batch.state)
        yield from ga.dead(recording, spiking)
        yield from ga.not_finite({"truth": truth, **estimates})
        upstream = [f"{s.name}.w" for s in step.synapses if s.post in spiking and s.post != self.task.output]
        yield from ga.surrogate_off(truth, upstream)
        if spiking and hasattr(self.program, "variant"):
            declared = bool(self.program.semantics.detach_reset)
            yield from ga.wrong_detach(truth, declared, self._with_reset(parameters, batch))
        hidden = {n: g for n, g in truth.items() if n in upstream or not spiking}
        loops = any(s.post not in (self.task.output,) and s.pre in {c.name for c in step.cells} for s in step.synapses)
        approximate = [
            n for n, r in self.rules.items() if isinstance(r, EProp) and r.recurrent == "none" and n not in random
        ]
        if loops and hidden:
            yield from ga.not_an_approximation(estimates, truth, approximate)

    def _with_reset(self, parameters: Parameters, batch: Batch) -> Callable[[bool], ga.Gradient]:
        """The true gradient with membranes' resets detached, or not."""

        def recompute(detached: bool) -> dict[str, Array]:
            program = self.program.variant(detach_reset=detached)
            found: dict[str, Array] = self.truth.gradient(program, parameters, batch, self.task)
            return found

        return recompute

    def along(
        self, driver: Any, batches: Sequence[Batch], every: int, progress: Callable[[int, int, str], None]
    ) -> None:
        """Train with one rule and look every so many updates; each look uses the batch that the next update gets."""
        state, parameters = driver.init(self.program), dict(values(self.program.network))
        for update, batch in enumerate(batches):
            if update % every == 0:
                self.look(parameters, batch, update)
            parameters, state, metrics = driver.step(self.program, parameters, state, batch, self.task)
            progress(update + 1, len(batches), f"loss {metrics['loss']:.4g}")


def _estimate(
    program: Any, rules: Mapping[str, Any], task: Any, parameters: Parameters, batch: Batch, name: str, draw: int
) -> ga.Gradient:
    """One rule's estimate, of one draw: here or in a worker."""
    found: ga.Gradient = rules[name].gradient(program, parameters, batch, task, draw)
    return found
