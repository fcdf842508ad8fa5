"""Time constants, thresholds and delays as a target's codes, and the values that the codes stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import sympy as sp

from neuro.compiler.parameters import parameters
from neuro.compiler.resolve import resolve, steps_of
from neuro.export.leaky import LeakyCell, LeakyNumbers, NotLeakyError, leaky_network
from neuro.export.profile import Decay, Integers
from neuro.export.quantisation.quantisers import Array, Codes, Quantised, QuantiseError
from neuro.language.units import Quantity, unit
from neuro.model import Connectivity, Distance, Network, Pairs, Probability, Projection
from neuro.protocols import Parameters

Rounded = tuple[Array, Quantised]  # values, SI, and their codes
_METHODS = {"euler": True, "exact": False, "exponential_euler": False}  # is a step's decay 1 - dt/tau, or exp(-dt/tau)


def decay_codes(tau: Array, dt: float, decay: Decay, *, euler: bool) -> Rounded:
    """What one step takes away, as codes, and the time constants of those codes. A code never stands for no decay at all,
    nor, unless `euler`, for the loss of everything."""
    taken = dt / tau if euler else -np.expm1(-dt / tau)
    if decay.kind == "linear":
        scale = 2.0**-decay.bits
        codes = np.clip(np.rint(taken / scale), 1, 2**decay.bits - (not euler))
        part = codes * scale
    else:
        codes = np.clip(np.rint(-np.log2(taken)), 0 if euler else 1, 2**decay.bits - 1)
        scale, part = 1.0, 2.0**-codes
    found = dt / part if euler else -dt / np.log1p(-part)
    return found, Quantised(codes.astype(np.int64), np.asarray(scale), decay.bits)


def decays(network: Network, given: Parameters, decay: Decay) -> Iterator[tuple[str, Rounded]]:
    """Every time constant of a population. Raises QuantiseError for an integrator whose decay is no factor."""
    methods = {p.name: p.neuron.method for p in network.populations}
    for key, parameter in parameters(network).items():
        owner = key.partition(".")[0]
        if owner not in methods or parameter.dimension != unit("second").dimension:
            continue
        if methods[owner] not in _METHODS:
            known = ", ".join(_METHODS)
            raise QuantiseError(
                f"population '{owner}': the decay of method '{methods[owner]}' has no code; use one of {known}"
            )
        tau = np.asarray(given[key], np.float64)
        yield key, decay_codes(tau, float(network.dt.value), decay, euler=_METHODS[methods[owner]])


def thresholds(
    network: Network, given: Parameters, range_: Integers, scales: Mapping[str, Array]
) -> Iterator[tuple[str, Rounded]]:
    """Thresholds above rest as multiples of the weights' scale times the cell's gain. scales: by "projection.w"."""
    try:
        model = leaky_network(network)
        numbers = model.numbers(given)
    except NotLeakyError as error:
        raise QuantiseError(
            f"{error.where}: its threshold has no integer, because of its {error.field}: {error.why}"
        ) from None
    for cell in model.cells.values():
        names = [f"{x.name}.w" for x in model.links if x.synapses.post == cell.name and f"{x.name}.w" in scales]
        if cell.threshold is None or not names:
            continue
        first, *others = (scales[n] for n in names)
        if not all(np.array_equal(first, scale) for scale in others):
            raise QuantiseError(
                f"population '{cell.name}': {' and '.join(names)} have scales of their own; use shared = true"
            )
        yield _threshold(cell, numbers[cell.name], given, range_, first)


def _threshold(
    cell: LeakyCell, numbers: LeakyNumbers, given: Parameters, range_: Integers, scale: Array
) -> tuple[str, Rounded]:
    if cell.threshold is None or not isinstance(cell.threshold, sp.Symbol):
        raise QuantiseError(f"population '{cell.name}': its threshold {cell.threshold} is not one parameter")
    key = f"{cell.name}.{cell.threshold.name}"
    codes = np.clip(np.rint(numbers.threshold / scale), max(range_.low, 0), range_.high)
    found, step = numbers.rest + numbers.gain * scale * codes, numbers.gain * scale
    if np.ndim(given[key]) == 0:
        if not np.allclose(found, found[0], rtol=1e-12, atol=0):
            raise QuantiseError(f"parameter '{key}' is one number, but its codes differ; give it one value per cell")
        found, codes, step = found[0], codes[0], step[0]
    return key, (np.asarray(found), Quantised(np.asarray(codes, np.int64), np.asarray(step), range_.bits))


def delays(network: Network, range_: tuple[int, int]) -> tuple[Network, dict[str, Codes]]:
    """The network with every delay within the range, in steps, and the steps by "projection.delay"."""
    found, kept, dt = {}, [], network.dt
    for p in network.projections:
        steps = found[f"{p.name}.delay"] = np.clip(_steps(network, p), *range_)
        delay = replace(dt, value=np.float64(dt.value) * steps)
        kept.append(replace(p, delay=delay, connectivity=_listed(network, p) if steps.ndim else p.connectivity))
    return replace(network, projections=tuple(kept)), found


def _steps(network: Network, p: Projection) -> Codes:
    """Delays as they are given, in steps; those of a distribution in the shape of the wiring."""
    if isinstance(p.delay, Quantity):
        return steps_of(p.delay, network.dt)
    resolved = resolve(network)
    return np.broadcast_to(resolved.delays[p.name], resolved.wires[p.name].shape)


def _listed(network: Network, p: Projection) -> Connectivity:
    """Connectivity that can have one delay for each synapse."""
    wires = resolve(network).wires[p.name]
    return (
        Pairs(wires.pre_index, wires.post_index)
        if isinstance(p.connectivity, Probability | Distance)
        else p.connectivity
    )
