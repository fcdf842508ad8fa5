"""Settings that are drawn, and settings that Optuna chooses. Trial k has the same ones however many there are."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from twinspike import cli
from twinspike.sweeping.spec import Best, Search, Spec

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler"}  # those that know nothing but the trials that they are given


def listed(spec: Spec) -> Iterator[dict[str, Any]]:
    """What each trial of the grid and the samples has, in their order: the whole grid for each sample."""
    samples = [dict[str, Any]()]
    if spec.samples:
        samples = [drawn(spec.samples.seed, k, spec.samples.over) for k in range(spec.samples.count)]
    for sample in samples:
        for values in product(*spec.grid.values()):
            yield {**dict(zip(spec.grid, values, strict=True)), **sample}


def drawn(seed: int, trial: int, over: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The settings of a trial; each has a stream of its own, keyed by its name."""
    from neuro.compiler import streams

    found: dict[str, Any] = {}
    for name, how in over.items():
        ((kind, values),) = how.items()
        random = streams.generator(seed, f"sweep/{name}", trial)
        if kind == "choice":
            found[name] = values[int(random.integers(len(values)))]
        elif kind == "int":
            found[name] = int(random.integers(values[0], values[1], endpoint=True))
        elif kind == "uniform":
            found[name] = values[0] + (values[1] - values[0]) * float(random.random())
        else:
            low, high = (math.log(v) for v in values)
            found[name] = math.exp(low + (high - low) * float(random.random()))
    return found


def suggested(
    search: Search, best: Best, known: Sequence[tuple[Mapping[str, Any], float | None]], trial: int
) -> dict[str, Any]:
    """The settings of a trial, by those of trials before it and what came of them (None where nothing did).

    They depend on nothing else: the sampler is made anew for each trial, with a seed that is drawn for it. Raises UserError.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        from neuro.registry import missing

        raise cli.UserError(missing("a search", "optuna")) from None
    from neuro.compiler import streams

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(optuna, how) for name, how in search.over.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        seed = int(streams.generator(search.seed, "sweep/search", trial).integers(2**31))
        study = optuna.create_study(sampler=_sampler(optuna, search, seed), direction=best.direction)
        for chosen, value in known:
            state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
            given = {n: _internal(search.over[n], v) for n, v in chosen.items()}
            study.add_trial(
                optuna.trial.create_trial(state=state, value=value, params=given, distributions=distributions)
            )
        found = study.ask(distributions).params
    return {n: how["choice"][found[n]] if "choice" in how else found[n] for n, how in search.over.items()}


def _sampler(optuna: Any, search: Search, seed: int) -> Any:
    from neuro.options import OptionError, checked, hint

    if search.sampler not in SAMPLERS:
        raise cli.UserError(f"[search]: there is no sampler '{search.sampler}'; {hint(search.sampler, SAMPLERS)}")
    if "seed" in search.options:
        raise cli.UserError("[search.options]: the seed is the search's own; write it in [search]")
    make = getattr(optuna.samplers, SAMPLERS[search.sampler])
    try:
        return make(**checked(make, {**search.options, "seed": seed}))
    except (OptionError, ValueError) as error:
        raise cli.UserError(f"[search.options] of sampler '{search.sampler}': {error}") from None


def _distribution(optuna: Any, how: Mapping[str, Any]) -> Any:
    ((kind, values),) = how.items()
    made = optuna.distributions
    if kind == "choice":  # places in the list: Optuna takes no lists and tables themselves
        return made.CategoricalDistribution(range(len(values)))
    if kind == "int":
        return made.IntDistribution(*values)
    return made.FloatDistribution(*map(float, values), log=kind == "loguniform")


def _internal(how: Mapping[str, Any], value: Any) -> Any:
    if "choice" not in how:
        return value
    return [json.dumps(v) for v in how["choice"]].index(json.dumps(value))  # 1, 1.0 and true are equal, and others
