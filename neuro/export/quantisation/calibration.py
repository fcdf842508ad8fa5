"""A network's parameters as integers: which quantiser for which projection, scales, and how much that loses.

The result is two things that stand for the same numbers: parameters that every backend runs, and the integers. States are not
rounded here: no backend runs such a cell from floating-point equations; a target's integer network does that exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.parameters import for_all, parameters, sharing
from neuro.compiler.resolve import resolve
from neuro.compiler.wiring import Wiring
from neuro.export import targets
from neuro.export.profile import Decay, Integers, Profile
from neuro.export.quantisation import cell_codes, quantisers
from neuro.export.quantisation.packing import pack, unpack
from neuro.export.quantisation.quantisers import Array, Codes, Quantised, QuantiseError, Quantiser
from neuro.model import Network
from neuro.options import OptionError, checked
from neuro.protocols import Parameters


@dataclass(frozen=True)
class Scheme:
    """What is quantised, and how; what is None stays as it is.

    weights: projection or pattern -> quantiser, the last that fits counts. decays: codes of time constants. thresholds: integers
    in the scale of the weights that reach the cell. delays: shortest and longest, steps. shared: projections that add to the
    same cells with one quantiser have one scale, as an accumulator of integers needs it.
    """

    weights: Mapping[str, Quantiser] = field(default_factory=dict)
    decays: Decay | None = None
    thresholds: Integers | None = None
    delays: tuple[int, int] | None = None
    shared: bool = True

    @staticmethod
    def of(options: Mapping[str, Any]) -> Scheme:
        """From plain data: "target", the name of a profile to begin with, and these fields. Raises QuantiseError."""
        known = ("target", *(f for f in Scheme.__dataclass_fields__))
        for name in options:
            if name not in known:
                raise QuantiseError(f"quantise: unknown option '{name}'; known: {', '.join(known)}")
        given = {n: v for n, v in options.items() if n != "target"}
        if "weights" in given:
            example = '"*": {"kind": "linear", "bits": 4}'
            _check(given["weights"], "weights", f"a table of quantisers by projection or pattern, such as {example}")
            for pattern, quantiser in given["weights"].items():
                _check(quantiser, f"weights of '{pattern}'", f"a table, as in {example}")
            given["weights"] = {n: Quantiser.of(q) for n, q in given["weights"].items()}
        for name, kind, example in (
            ("decays", Decay, "kind = linear or dash, bits"),
            ("thresholds", Integers, "low, high"),
        ):
            if name in given:
                _check(given[name], name, f"a table of {example}")
                try:
                    given[name] = kind(**checked(kind, given[name]))
                except OptionError as error:
                    raise QuantiseError(f"quantise: {name} = {given[name]}; it has {example}: {error}") from None
        if "delays" in given:
            given["delays"] = tuple(given["delays"])
        if "target" not in options:
            return Scheme(**given)
        return replace(of_profile(targets.get(options["target"]).profile), **given)

    def of_projection(self, name: str) -> Quantiser | None:
        """The last quantiser whose pattern fits."""
        return next((q for pattern, q in reversed([*self.weights.items()]) if fnmatch(name, pattern)), None)


def _check(value: Any, name: str, what: str) -> None:
    if not isinstance(value, Mapping):
        raise QuantiseError(f"quantise: {name} = {value!r}; it is {what}")


def options_of(text: str) -> dict[str, Any]:
    """Options of Scheme from one word: a quantiser of all weights with its bits ("binary", "linear4"), or a target's name."""
    kinds = "|".join(map(re.escape, quantisers.names()))
    found = re.fullmatch(rf"({kinds})(\d*)", text)
    if found is None:
        return {"target": text}
    if text in targets.names():
        raise QuantiseError(
            f"'{text}' is a target and a quantiser too; write its bits apart: weights with kind '{found[1]}'"
        )
    return {"weights": {"*": {"kind": found[1], "bits": int(found[2] or 0)}}}


def of_profile(profile: Profile, per: str = "tensor") -> Scheme:
    """Everything that a target holds as integers."""
    if profile.weight is None:
        raise QuantiseError(f"target '{profile.name}' computes in floating point; there is nothing to quantise")
    ranges = profile.mixed_weight or (profile.weight,)
    bits = max(r.bits for r in ranges)
    return Scheme({"*": Quantiser("linear", bits, per)}, profile.decay, profile.threshold, profile.delays)


@dataclass(frozen=True)
class Calibration:
    """Of one quantised array. scale: smallest and largest, SI. saturated: part of it beyond the range of the codes.

    error: root mean square, over that of the array. zeros: part whose code is 0.
    """

    bits: int
    scale: tuple[float, float]
    saturated: float
    error: float
    zeros: float


@dataclass(frozen=True)
class Calibrated:
    """parameters: all, SI, quantised where the scheme says so. codes: their integers; of a time constant what one step takes
    away, of a threshold its height above rest. scales: of weights, by "projection.w". delays: steps. network: with them.

    report: by parameter. accumulators: population -> bits, two's complement, that hold a step in which every input spikes.
    """

    network: Network
    parameters: dict[str, npt.NDArray[Any]]
    codes: dict[str, Quantised]
    scales: dict[str, Array]
    delays: dict[str, Codes]
    report: dict[str, Calibration]
    accumulators: dict[str, int]

    def to_data(self) -> dict[str, Any]:
        """Nested mapping for the store."""
        codes = {n: {**_stored(q), "scale": self.scales.get(n, q.scale), "bits": q.bits} for n, q in self.codes.items()}
        report = {n: vars(c) for n, c in self.report.items()}
        return {"codes": codes, "delays": self.delays, "report": report, "accumulators": self.accumulators}

    def rows(self) -> list[tuple[Any, ...]]:
        """One a parameter: name, bits, smallest and largest scale, saturated, error, zeros."""
        return [(n, c.bits, *c.scale, c.saturated, c.error, c.zeros) for n, c in self.report.items()]


class NetworkQuantiser:
    """Quantises parameter sets of one network under one scheme. Raises QuantiseError where the scheme doesn't fit it."""

    def __init__(self, network: Network, scheme: Scheme) -> None:
        self.network, self.scheme = network, scheme
        self.declared = parameters(network)
        self.wires = {p.name: resolve(network).wires[p.name] for p in network.projections}
        self.weights = {
            f"{p.name}.w": q
            for p in network.projections
            if f"{p.name}.w" in self.declared and (q := scheme.of_projection(p.name))
        }
        for name, group in sharing(self.declared).items():
            if len({self.weights.get(n) for n in group}) > 1:
                what = ", ".join(f"'{n.removesuffix('.w')}'" for n in group)
                raise QuantiseError(f"quantise: {what} have the weights '{name}' in common; give them one quantiser")
        for pattern in scheme.weights:
            if not any(fnmatch(p.name, pattern) for p in network.projections):
                known = ", ".join(p.name for p in network.projections)
                raise QuantiseError(f"quantise: no projection fits '{pattern}'; known: {known}")

    def scales(self, given: Parameters, known: Mapping[str, Array] = MappingProxyType({})) -> dict[str, Array]:
        """One scale for each set of projections that share it: (), or [post] where it is one per neuron. known: those that are settled."""
        found: dict[str, Array] = {}
        for names in self._together():
            settled = all(name in known for name in names)
            found |= {n: known[n] for n in names} if settled else dict.fromkeys(names, self._scale(names, given))
        return found

    def _scale(self, names: Sequence[str], given: Parameters) -> Array:
        quantiser, parts, groups = self.weights[names[0]], [], []
        for name in names:
            wires, x = self.wires[name.removesuffix(".w")], np.asarray(given[name], np.float64)
            parts.append(x.ravel() if wires.mask is None else x[wires.mask])
            if quantiser.per == "neuron":
                groups.append(_post(wires).ravel() if wires.mask is None else _post(wires)[wires.mask])
        if not groups:
            return quantiser.scale(np.concatenate(parts))
        scale = quantiser.scale(np.concatenate(parts), np.concatenate(groups))
        size = self.network.population(self._post_of(names[0])).size  # some cells may have no synapse
        return np.concatenate([scale, np.ones(size - len(scale))])

    def codes(self, given: Parameters, scales: Mapping[str, Array] | None = None) -> dict[str, Quantised]:
        """Integers of the weights, in their layout; 0 where there is no synapse."""
        found, scales = {}, scales or self.scales(given)
        for name, quantiser in self.weights.items():
            wires, scale = self.wires[name.removesuffix(".w")], scales[name]
            spread = scale[_post(wires)] if quantiser.per == "neuron" else scale
            codes = quantiser.codes(given[name], spread)
            if wires.mask is not None:
                codes = np.where(wires.mask, codes, 0)
            found[name] = Quantised(codes, spread, quantiser.bits)
        return found

    def values(self, given: Parameters, scales: Mapping[str, Array] | None = None) -> dict[str, npt.NDArray[Any]]:
        """The parameters that change, SI, as their integers stand for them."""
        return {name: values for name, (values, _) in self._rounded(given, scales or self.scales(given)).items()}

    def windows(self, scales: Mapping[str, Array]) -> dict[str, tuple[Array, Array]]:
        """Smallest and largest weight that the codes of a scale can stand for."""
        found = {}
        for name, quantiser in self.weights.items():
            post = _post(self.wires[name.removesuffix(".w")])
            found[name] = quantiser.window(scales[name][post] if quantiser.per == "neuron" else scales[name])
        return found

    def calibrate(self, given: Parameters, scales: Mapping[str, Array] | None = None) -> Calibrated:
        """Quantise all parameters; see Calibrated."""
        given = {**{n: p.value for n, p in self.declared.items()}, **for_all(self.declared, given)}
        chosen = dict(scales or self.scales(given))
        rounded = self._rounded(given, chosen)
        codes = {name: found for name, (_, found) in rounded.items()}
        report = {n: self._report(n, np.asarray(given[n]), *found) for n, found in rounded.items()}
        network: Network = self.network
        steps: dict[str, Codes] = {}
        if self.scheme.delays is not None:
            network, steps = cell_codes.delays(network, self.scheme.delays)
        values = {**given, **{name: values for name, (values, _) in rounded.items()}}
        return Calibrated(network, values, codes, chosen, steps, report, self._accumulators(codes))

    def _rounded(self, given: Parameters, scales: Mapping[str, Array]) -> dict[str, cell_codes.Rounded]:
        """Values and codes. Thresholds come last: they are rounded for the rounded decays."""
        given = {**{n: p.value for n, p in self.declared.items()}, **for_all(self.declared, given)}
        found = {n: (q.values, q) for n, q in self.codes(given, scales).items()}
        if self.scheme.decays is not None:
            found |= dict(cell_codes.decays(self.network, given, self.scheme.decays))
        if self.scheme.thresholds is not None:
            given |= {name: values for name, (values, _) in found.items()}
            found |= dict(cell_codes.thresholds(self.network, given, self.scheme.thresholds, scales))
        return found

    # -- weights ---------------------------------------------------------------------------------------------------

    def _post_of(self, name: str) -> str:
        return self.network.projection(name.removesuffix(".w")).post

    def _together(self) -> list[list[str]]:
        sets: list[list[str]] = []
        for name in self.weights:
            near = [s for s in sets if any(self._alike(name, other) for other in s)]
            sets = [s for s in sets if s not in near[1:]] if near else [*sets, []]
            first = near[0] if near else sets[-1]
            first += [*(n for s in near[1:] for n in s), name]
        return sets

    def _alike(self, name: str, other: str) -> bool:
        """Whether two weights have one scale: they are the same ones, or the scheme wants one for all into a cell."""
        if len({self.declared[n].shares or n for n in (name, other)}) == 1:
            return True
        kinds = {(self._post_of(n), self.weights[n], self.declared[n].dimension) for n in (name, other)}
        return self.scheme.shared and len(kinds) == 1

    def _report(self, name: str, x: Array, values: Array, found: Quantised) -> Calibration:
        mask = self.wires[name.removesuffix(".w")].mask if name in self.weights else None
        kept = np.ones(x.shape, bool) if mask is None else mask
        beyond = np.zeros(x.shape, bool)
        if name in self.weights:
            beyond = self.weights[name].beyond(x, found.scale)
        scale = float(np.min(found.scale)), float(np.max(found.scale))
        if not kept.any():
            return Calibration(found.bits, scale, 0.0, 0.0, 0.0)
        size, error = (float(np.sqrt(np.mean(v[kept] ** 2))) for v in (x, values - x))
        zeros = float(np.mean(found.codes[kept] == 0))
        return Calibration(found.bits, scale, float(np.mean(beyond[kept])), error / size if size else 0.0, zeros)

    def _accumulators(self, codes: Mapping[str, Quantised]) -> dict[str, int]:
        """Bits for the sum of all weights of one sign into one cell."""
        found = {}
        for population in self.network.populations:
            into = [n for n in self.weights if self._post_of(n) == population.name]
            if into and (self.scheme.shared or len(into) == 1):
                sums = np.zeros((2, population.size), np.int64)
                for name in into:
                    post, c = _post(self.wires[name.removesuffix(".w")]), codes[name].codes
                    for row, part in zip(sums, (np.maximum(c, 0), np.maximum(-c, 0))):
                        np.add.at(row, post, part)
                found[population.name] = int(sums.max()).bit_length() + 1
        return found


def _stored(found: Quantised) -> dict[str, Any]:
    """Codes in the smallest signed type; binary ones, where every pair has a synapse, as bits."""
    if found.bits == 1 and found.codes.ndim and found.codes.all():
        return {"packed": pack(found.codes), "length": found.codes.shape[-1]}
    largest = int(np.abs(found.codes).max(initial=0))
    kind = next(t for t in (np.int8, np.int16, np.int32, np.int64) if largest <= np.iinfo(t).max)
    return {"codes": found.codes.astype(kind)}


def stored_codes(data: Mapping[str, Any]) -> Codes:
    """The codes of one parameter from what `Calibrated.to_data` keeps of it."""
    return unpack(data["packed"], int(data["length"])) if "packed" in data else np.asarray(data["codes"], np.int64)


def _post(wires: Wiring) -> npt.NDArray[np.int64]:
    """The postsynaptic cell of each weight, in the weights' layout."""
    if wires.kind == "dense":
        return np.broadcast_to(np.arange(wires.shape[1]), wires.shape)
    return wires.post_index.reshape(wires.shape)
