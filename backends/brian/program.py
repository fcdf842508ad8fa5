"""Brian2: gets the continuous equations and the method's name, and integrates them with its own code.

Nothing here reads our discretised step. Inputs, noise and Poisson spikes are written into variables at the start of each
time step, so that one built simulation serves any parameters and inputs. Batches and populations of parameter sets are
tiled copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.brian.build import Builder
from backends.brian.built import Built
from backends.brian.errors import OTHERS, objections
from backends.brian.exact import DegenerateError, Tie
from backends.brian.functions import session
from backends.brian.given import Columns, Numbers, arrays, held_numbers, initial_values
from backends.brian.integrators import Integrators
from backends.brian.names import Names, finite_steps, may_diverge
from backends.brian.plan import Watched, watched_by
from backends.brian.refusals import refuse
from backends.brian.simulations import InProcess, Simulation, Standalone
from backends.brian.state import Kept
from backends.brian.traces import values_of
from backends.brian.zeros import with_units
from backends.common.arrays import Feed, check_parameters
from backends.common.options import at_least_one, choice
from backends.common.recording import Wanted, check_record
from backends.common.simulator import Simulator, feed_of
from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve
from neuro.compiler.semantics import Semantics, semantics
from neuro.language.foreign import shown
from neuro.model import Network
from neuro.protocols import Capabilities, Recording, Request, RunError, UnsupportedError

Array = npt.NDArray[Any]

TARGETS = ("numpy", "cython", "cpp_standalone")
_KEPT = 4  # built simulations


class BrianProgram(Simulator):
    """See neuro.protocols.Program. A simulation is built for a batch size and what is recorded, then kept.

    builds: how many were built. Programs in C++ are built for a number of steps as well.
    """

    backend = "brian2"

    def __init__(self, network: Network, target: str, trials: int = 1) -> None:
        self.network, self.target, self.trials = network, target, trials
        self.capabilities = Capabilities(plasticity=True, populations=True, state=target != "cpp_standalone")
        self.semantics: Semantics = semantics(network, "float64")
        self.builds = 0
        self._merged = with_units(resolve(network).network)
        refuse(self._merged, target)
        self._kept: dict[tuple[Any, ...], Simulation] = {}
        self._names, self._integrators = Names(self._merged), Integrators()
        self._numbers = Numbers(self._merged, self._names, parameters(self._merged))
        copies = trials if target == "numpy" else 1  # only numpy's is kept
        with session("numpy"), objections(self._names):  # refusals come now
            built = self._builder(copies).build()
            self._propagators = built.propagators
            columns = self._numbers.columns(check_parameters(self._merged, None), (copies,))
            ties = self._numbers.ties(columns, self._propagators)
            built = self._builder(copies, ties).build() if ties else built
            try:
                self._checked(built, columns, ties)
            except DegenerateError as error:
                raise UnsupportedError("brian2", error.owner, str(error), OTHERS) from None
            trial = InProcess(self._merged, built)
        if target == "numpy":
            self._kept[self._key(copies, ties, (), 0)] = trial

    def _builder(self, copies: int, ties: Mapping[str, Tie] | None = None) -> Builder:
        return Builder(self._merged, copies, ties=ties, integrators=self._integrators)

    def __reduce__(self) -> tuple[Any, ...]:
        return BrianProgram, (self.network, self.target, self.trials)

    def _run(self, asked: Request) -> Recording:
        if asked.state is not None and self.target == "cpp_standalone":
            why = "its programs begin at step 0 with nothing on its way; use target='numpy' or target='cython'"
            raise UnsupportedError("brian2", "a given state with target='cpp_standalone'", why, OTHERS)
        feed = feed_of(asked, self._merged)
        wanted = check_record(self._merged, asked.record, asked.every)
        watched = tuple(watched_by(self._merged, wanted, int(np.prod(feed.lead))))
        values = check_parameters(self._merged, asked.parameters, asked.population)
        columns = self._numbers.columns(values, feed.lead)
        with session(self.target), objections(self._names):
            ties = self._numbers.ties(columns, self._propagators)
            simulation = self._simulation(int(np.prod(feed.lead)), ties, watched, feed.steps)
            built = simulation.built
            try:
                self._checked(built, columns, ties)
            except DegenerateError as error:
                raise RunError(f"{error.owner}: {error}") from None
            given = initial_values(built, columns) | held_numbers(built, values, feed.lead)
            simulation.run(given, arrays(self._merged, built, feed), feed.steps, watched, feed.state)
            self._check(built, feed)
            spikes = self._spikes(built, feed)
            kept = Kept.of(self._merged, built, feed, spikes, values)
            return self._recording(built, wanted, watched, asked.every, kept, spikes)

    def _key(self, copies: int, ties: Mapping[str, Tie], record: tuple[Watched, ...], steps: int) -> tuple[Any, ...]:
        """What a simulation is built for."""
        return copies, tuple(ties.items()), (record, steps) if self.target == "cpp_standalone" else None

    def _simulation(self, copies: int, ties: Mapping[str, Tie], record: tuple[Watched, ...], steps: int) -> Simulation:
        key = self._key(copies, ties, record, steps)
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept))).close()
            if self.target == "cpp_standalone":
                self._kept[key] = Standalone(self._merged, copies, ties, record, steps)
            else:
                self._kept[key] = InProcess(self._merged, self._builder(copies, ties).build())
            self.builds += 1
        return self._kept[key]

    def _checked(self, built: Built, columns: Columns, ties: Mapping[str, Tie]) -> None:
        """Checks Brian2's formulas. Raises DegenerateError."""
        self._numbers.add_rates(columns, self._propagators, ties)
        self._numbers.check(columns, built.propagators)

    # -- what comes out ------------------------------------------------------------------------------------

    def _check(self, built: Built, feed: Feed) -> None:
        """Raises RunError naming the state that first left the finite numbers."""
        first: tuple[int, str, int] | None = None
        for population in self._merged.populations:
            for name in may_diverge(population.neuron.scope):
                counted = (
                    built.groups[population.name]
                    .variables[finite_steps(built.names[population.name][name])]
                    .get_value()
                )
                cell = int(np.argmin(counted))
                if counted[cell] < feed.start + feed.steps and (first is None or counted[cell] < first[0]):
                    first = (int(counted[cell]), f"{population.name}.{name}", cell)
        if first is not None:
            step, name, cell = first
            copy, index = divmod(cell, self._merged.population(name.partition(".")[0]).size)
            raise RunError(
                f"'{name}' is not finite at step {step} (trial {copy % feed.batch}, cell {index}); "
                "use a smaller dt, another method, or weaker input"
            )

    def _spikes(self, built: Built, feed: Feed) -> dict[str, Array]:
        found = {}
        for name, monitor in built.spikes.items():
            size = self._merged.population(name).size
            raster = np.zeros((feed.steps, int(np.prod(feed.lead)) * size), bool)
            k = np.round(np.asarray(monitor.t) / self.semantics.dt).astype(int) - feed.start
            raster[k, np.asarray(monitor.i)] = True
            found[name] = np.moveaxis(raster.reshape(feed.steps, *feed.lead, size), 0, -2)
        return found

    def _recording(
        self,
        built: Built,
        wanted: Wanted,
        watched: tuple[Watched, ...],
        every: int,
        kept: Kept,
        spikes: dict[str, Array],
    ) -> Recording:
        traces = {w.name: values_of(built, w, wanted.traces[w.name], every, kept) for w in watched}
        plastic = [p.name for p in self._merged.projections if "w" in p.synapse.scope.states]
        final = {f"{name}.w": kept.variable(f"{name}.w") for name in plastic}
        return Recording(self.semantics.dt, wanted.fired(spikes), traces, every, final, kept.state, wanted.chosen)


class BrianBackend:
    """Compiles to Brian2."""

    name = "brian2"

    def compile(
        self, network: Network, *, dtype: str = "float64", target: str = "numpy", trials: int = 1, **options: Any
    ) -> BrianProgram:
        """See Backend.compile. target: numpy, cython or cpp_standalone, whose runs give a state but begin with none.

        trials: the number for which target='numpy' builds its simulation now; any other is built when a run asks for it.
        """
        if options:
            raise UnsupportedError(
                self.name, f"option '{next(iter(options))}'", "its options are dtype, target and trials", OTHERS
            )
        if not isinstance(dtype, str) or dtype != "float64":
            raise UnsupportedError(self.name, f"dtype {shown(dtype)}", "it computes in float64", OTHERS)
        choice(self.name, "target", target, tuple(TARGETS), OTHERS)
        return BrianProgram(network, target, at_least_one(self.name, "trials", trials, OTHERS))
