"""What of a network a target can't hold, before anybody trains it: every misfit at once, by name, with what to change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export.chain import complete, forward_links, starts_at_rest, stray_links
from neuro.export.leaky import LeakyCell, LeakyNetwork, LeakyNumbers, Link, NotLeakyError, leaky_parts
from neuro.export.profile import Profile
from neuro.model import Network
from neuro.protocols import Parameters

Array = npt.NDArray[Any]

_SAME = 1e-9  # relative: rounding of equal values
_LOST = 1e-3  # of a decay factor: what rounding to a code may change without a warning
_FIXES = {
    "noise": "remove the noise term",
    "drive": "draw the spikes beforehand and send them through a projection",
    "refractory": "set refractory to 0",
    "every_step": "write it as a differential equation, or leave it out",
    "regularly": "write it as a differential equation, or leave it out",
    "events": "make them the spikes of a population of their own, or leave them out",
    "start": "fix the weights after training: a synapse without regularly",
    "equations": "use lif, cuba_lif or leaky_integrator of the library",
    "inputs": "let one current drive each population",
    "on_pre": "use the synapse pulse (lif) or current_jump (cuba_lif)",
    "on_post": "fix the weights after training: a synapse without on_post",
    "transmits": "send spikes",
    "couplings": "use couplings='step'",
    "integrate": "fix the weights after training",
    "reset": "use 'v = v_reset' with v_reset = E_L",
    "threshold": "use 'v > v_th' with v_th above E_L",
}


@dataclass(frozen=True)
class Problem:
    """One misfit. where: population, projection or input. warning: it fits, but computes something a little different."""

    where: str
    field: str
    why: str
    fix: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{'warning' if self.warning else 'error'}: {self.where}, {self.field}: {self.why}; {self.fix}"


def lint(network: Network, profile: Profile, parameters: Parameters | None = None) -> tuple[Problem, ...]:
    """Misfits of a network with these parameters (its own where left out); none: the target's writer takes it.

    Raises ExportError on parameters that aren't the network's.
    """
    return misfits(network, profile, parameters)[2]


def misfits(
    network: Network, profile: Profile, parameters: Parameters | None
) -> tuple[LeakyNetwork, dict[str, Array], tuple[Problem, ...]]:
    """The same with the network as far as it consists of leaky integrators, and all parameters. Raises ExportError."""
    model, found = leaky_parts(network)
    problems = [_from(error) for error in found]
    given = complete(network, parameters)
    for name, cell in model.cells.items():
        problems += _cell(cell, profile)
        try:
            problems += _values(cell, model.numbers_of(name, given), profile)
        except NotLeakyError as error:
            problems.append(_from(error))
    problems += _currents(model, profile)
    problems += _delays(model, profile)
    problems += _topology(model, profile)
    problems += _counts(model, profile)
    problems += _fans(model, profile)
    if not profile.self_connections:
        problems += _self_connections(model, given)
    return model, given, tuple(problems)


def _from(error: NotLeakyError) -> Problem:
    return Problem(error.where, error.field, error.why, _FIXES.get(error.field, "leave it out"))


# -- populations --------------------------------------------------------------------------------------------------


def _cell(cell: LeakyCell, profile: Profile) -> Iterator[Problem]:
    where = f"population '{cell.name}'"
    if cell.kind not in profile.neurons:
        fix = f"use one of {', '.join(profile.neurons)}"
        if cell.kind == "leaky_integrator":
            fix = "let the host integrate what the last spiking layer sends"
        yield Problem(where, "neuron", f"{profile.name} has no {cell.kind}", fix)
        if cell.kind == "leaky_integrator":
            return
    if cell.reset not in profile.resets:
        wanted = " or ".join(f"'{r}'" for r in profile.resets)
        why = f"'{cell.reset}'; {profile.name} has {wanted}"
        texts = {"zero": "'v = v_reset' with v_reset = E_L", "subtract": "'v -= v_th' with E_L = 0", "none": "no reset"}
        yield Problem(where, "reset", why, f"use {' or '.join(texts[r] for r in profile.resets)}")
    if not cell.strict and ">=" not in profile.thresholds:
        yield Problem(where, "threshold", f"'>='; {profile.name} has '>'", "use 'v > v_th'")
    elif cell.strict and ">" not in profile.thresholds and cell.threshold is not None:
        yield Problem(where, "threshold", f"'>'; {profile.name} has '>='", "use 'v >= v_th'", warning=True)


def _values(cell: LeakyCell, numbers: LeakyNumbers, profile: Profile) -> Iterator[Problem]:
    where = f"population '{cell.name}'"
    if not (numbers.threshold > 0).all():
        yield Problem(where, "threshold", "it must lie above the resting value", "raise v_th above E_L")
    if not starts_at_rest(cell, numbers):
        yield Problem(where, "initial", f"{profile.name} starts at the resting value, without currents", "use E_L")
    decays = {"tau_mem": numbers.beta, "tau_syn": numbers.alpha}
    for name, decay in decays.items():
        if decay is None:
            continue
        if (decay == 1).any() and not (profile.leak_free and name == "tau_mem"):
            yield Problem(where, name, "a variable without a leak has no finite time constant", "give it a leak")
        elif name not in profile.per_neuron and _differ(decay):
            yield Problem(
                where, name, f"it differs between cells; {profile.name} has one per layer", "give all one value"
            )
        yield from _coded(where, name, decay, profile)
    if (
        "threshold" not in profile.per_neuron
        and cell.threshold is not None
        and _differ(numbers.gain * numbers.threshold)
    ):
        yield Problem(where, "threshold", f"it differs between cells; {profile.name} has one per layer", "give all one")


def _differ(values: Array) -> bool:
    return bool(np.ptp(values) > _SAME * np.abs(values).max())


def _coded(where: str, name: str, decay: Array, profile: Profile) -> Iterator[Problem]:
    """Decays that the target's codes change."""
    code = profile.decay
    if code is None:
        return
    taken = 1 - decay
    with np.errstate(divide="ignore"):
        power = np.round(-np.log2(np.maximum(taken, 2.0**-63)))
    if code.kind == "dash":
        held, fix = 2.0 ** -np.clip(power, 0, 2**code.bits - 1), "use a time constant of 2, 4, 8, ... steps by euler"
    else:
        held, fix = np.round(taken * 2**code.bits) / 2**code.bits, "train with the decay that the target holds"
    lost = float(np.abs(held - taken).max(initial=0.0))
    if lost > _LOST:
        why = f"a step takes {taken[np.abs(held - taken).argmax()]:.4g} away, its code {lost:.2g} more or less"
        yield Problem(where, name, why, fix, warning=True)


# -- graph --------------------------------------------------------------------------------------------------------


def _currents(model: LeakyNetwork, profile: Profile) -> Iterator[Problem]:
    if profile.currents:
        return
    for population, names in model.currents.items():
        for name in names:
            why = f"a current into '{population}'; {profile.name}'s input is spikes"
            yield Problem(f"input '{name}'", "kind", why, "encode it as spikes, or shift E_L where it is constant")


def _delays(model: LeakyNetwork, profile: Profile) -> Iterator[Problem]:
    low, high = profile.delays
    for link in model.links:
        found = np.atleast_1d(link.synapses.delay)
        if found.size and not (low <= found.min() and found.max() <= high):
            why = f"{found.min()} to {found.max()} steps; {profile.name} has {low} to {high}"
            yield Problem(f"projection '{link.name}'", "delay", why, f"use {low} to {high} steps")


def _topology(model: LeakyNetwork, profile: Profile) -> Iterator[Problem]:
    for link in model.links:
        if link.synapses.pre == link.synapses.post and not profile.recurrence:
            where = f"projection '{link.name}'"
            yield Problem(where, "recurrence", f"{profile.name} has no recurrent layers", "leave it out")
    if not profile.chain:
        return
    if len(model.step.sources) != 1:
        why = f"{len(model.step.sources)} of them; {profile.name} has one"
        yield Problem("the network", "inputs", why, "use one spike input")
    for link, why in stray_links(model):
        yield Problem(f"projection '{link.name}'", "layers", why, "connect each layer to the next one only")
    fed = {link.synapses.post for link in forward_links(model)}
    for name in model.names:
        if name not in fed:
            yield Problem(f"population '{name}'", "layers", "nothing feeds it", "project onto it, or leave it out")
    for name in _outputs(model) if not profile.output_recurrence else ():
        for link in model.links:
            if link.synapses.pre == link.synapses.post == name:
                why = f"{profile.name}'s last layer has no recurrence"
                yield Problem(f"projection '{link.name}'", "recurrence", why, "leave it out, or add a layer behind")
    low, high = profile.layers
    if not (low <= len(model.names) and (high is None or len(model.names) <= high)):
        wanted = f"{low} or more" if high is None else f"{low} to {high}" if high > low else f"{low}"
        why = f"{len(model.names)} populations; {profile.name} has {wanted}"
        yield Problem("the network", "layers", why, f"use {wanted}")


def _outputs(model: LeakyNetwork) -> list[str]:
    sending = {link.synapses.pre for link in forward_links(model)}
    return [name for name in model.names if name not in sending]


def _self_connections(model: LeakyNetwork, parameters: Parameters) -> Iterator[Problem]:
    for link in model.links:
        if link.synapses.pre == link.synapses.post and np.diagonal(model.matrix(link, parameters)).any():
            where = f"projection '{link.name}'"
            yield Problem(where, "self-connections", "a cell sends to itself", "AllToAll(self_connections=False)")


# -- counts -------------------------------------------------------------------------------------------------------


def _counts(model: LeakyNetwork, profile: Profile) -> Iterator[Problem]:
    outputs = _outputs(model)
    hidden = [name for name in model.names if name not in outputs]
    sizes = {cells.name: cells.size for cells in model.step.cells}
    groups: Sequence[tuple[str, str, Mapping[str, int], int | None]] = (
        ("input", "channels", model.step.sources, profile.inputs),
        ("population", "hidden cells", {n: sizes[n] for n in hidden}, profile.hidden),
        ("population", "output cells", {n: sizes[n] for n in outputs}, profile.outputs),
    )
    for kind, what, found, limit in groups:
        total = sum(found.values())
        if limit is not None and total > limit:
            where = ", ".join(f"{kind} '{name}'" for name in found)
            yield Problem(where, "size", f"{total} {what}; {profile.name} has {limit}", f"use {limit} or fewer")
    per_core, cores = profile.cells_per_core, profile.cores
    if per_core is not None and cores is not None:
        needed = sum(-(-size // per_core) for size in sizes.values())
        if needed > cores:
            why = f"{sum(sizes.values())} cells need {needed} cores of {per_core}; {profile.name} has {cores}"
            yield Problem("the network", "size", why, "use fewer cells")


def _fans(model: LeakyNetwork, profile: Profile) -> Iterator[Problem]:
    for limit, field, end in ((profile.fan_in, "fan-in", "post"), (profile.fan_out, "fan-out", "pre")):
        if limit is None:
            continue
        names = [*model.names, *model.step.sources]
        for name in names:
            links = [link for link in model.links if getattr(link.synapses, end) == name]
            most = int(np.max(np.sum([_fan(link, end) for link in links], axis=0))) if links else 0
            if most > limit:
                kind = "input" if name in model.step.sources else "population"
                why = f"{most} synapses a cell; {profile.name} has {limit}"
                yield Problem(f"{kind} '{name}'", field, why, "use sparser connectivity, or fewer cells")


def _fan(link: Link, end: str) -> Array:
    """Synapses of each cell at this end."""
    synapses = link.synapses
    size = synapses.ends[0] if end == "pre" else synapses.ends[1]
    if synapses.kind == "dense":
        mask = np.ones(synapses.shape, bool) if synapses.mask is None else synapses.mask
        return mask.sum(axis=1 if end == "pre" else 0)  # type: ignore[no-any-return]
    return np.bincount(synapses.pre_index if end == "pre" else synapses.post_index, minlength=size)
