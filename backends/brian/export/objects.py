"""Trained numbers back into the objects that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from brian2.units.fundamentalunits import get_or_create_dimension

from backends.brian.devices import brian2  # pyright: ignore[reportAttributeAccessIssue]
from backends.brian.importing.imported import Imported
from backends.common.arrays import check_parameters
from neuro.compiler.parameters import initial_state
from neuro.compiler.parameters import parameters as declared
from neuro.protocols import Parameters, RunError

Array = npt.NDArray[Any]
Place = tuple[str, str]  # name of an object, and of what it holds


def to_brian2(imported: Imported, parameters: Parameters | None = None) -> tuple[str, ...]:
    """Sets weights, parameters and initial values in the Brian2 objects that a network was imported from. Returns "object.name" of all that was set.

    parameters: SI numbers by our names, as a run takes them; what is left out gets the network's own. A number that the objects' text takes from
    outside goes into the object's namespace, which Brian2 asks first, where it has changed. Nothing is set before everything is known to have a
    place. Raises RunError naming the parameter that has none, two that have one, or one that Brian2 has once for all and that differs.
    """
    network = imported.network
    values = {**initial_state(network), **check_parameters(network, parameters)}
    own = {name: parameter.value for name, parameter in declared(network).items()}
    changed = {n for n, value in own.items() if not np.array_equal(np.broadcast_to(values[n], value.shape), value)}
    variables, constants = _variables(imported), _places(imported, imported.constants)
    for name in sorted(changed - variables.keys() - constants.keys()):
        raise RunError(
            f"'{name}' has changed, and Brian2's objects hold no number that it came from; leave it out of what is trained"
        )
    _check_one_each(variables | constants, values)
    held = {name: imported.objects[group].variables[variable] for name, (group, variable) in variables.items()}
    arrays = {name: _fitting(name, values[name], variable) for name, variable in held.items()}
    for name, variable in held.items():
        variable.set_value(arrays[name])
    put = {name: constants[name] for name in changed & constants.keys()}
    for name, (group, constant) in put.items():
        dimension = get_or_create_dimension([float(e) for e in declared(network)[name].dimension.exponents])
        imported.objects[group].namespace[constant] = brian2.Quantity(float(values[name]), dim=dimension)
    return tuple(sorted({".".join(place) for place in (*variables.values(), *put.values())}))


def _places(imported: Imported, table: Mapping[str, str]) -> dict[str, Place]:
    """Our name -> where Brian2 has it. Synapses that are several projections here have each number once."""
    found: dict[str, Place] = {}
    for theirs, ours in table.items():
        group, _, item = theirs.partition(".")
        own = ours.partition(".")[2]
        if group in imported.objects:
            found[ours] = group, item
            others = imported.synapses[group].projections if group in imported.synapses else ()
            found |= {f"{other}.{own}": (group, item) for other in others}
    return found


def _variables(imported: Imported) -> dict[str, Place]:
    """Those that hold numbers: not subexpressions, nor what a subgroup shows of its group."""
    known = {*declared(imported.network), *initial_state(imported.network)}
    return {
        ours: (group, item)
        for ours, (group, item) in _places(imported, imported.variables).items()
        if ours in known and hasattr(imported.objects[group].variables.get(item), "set_value")
    }


def _fitting(name: str, given: Array, variable: Any) -> Array:
    """Numbers as Brian2's variable holds them: one where it is shared."""
    each = np.asarray(given)
    if variable.scalar and each.size:
        if (each != each.flat[0]).any():
            raise RunError(f"'{name}' is shared in Brian2, one number for all; give it the same number everywhere")
        each = each.ravel()[:1]
    return np.broadcast_to(each, np.shape(variable.get_value())).astype(variable.dtype)


def _check_one_each(places: Mapping[str, Place], values: Mapping[str, Array]) -> None:
    """Raises RunError where two of ours, which differ, are one of Brian2's."""
    first: dict[Place, str] = {}
    for name, place in places.items():
        other = first.setdefault(place, name)
        if not np.array_equal(values[other], values[name]):
            raise RunError(f"'{other}' and '{name}' are one in Brian2, {'.'.join(place)}; give both the same numbers")
