"""Trained numbers back into the objects that they came from."""

from __future__ import annotations

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


def to_brian2(imported: Imported, parameters: Parameters | None = None) -> tuple[str, ...]:
    """Sets weights, parameters and initial values in the Brian2 objects that a network was imported from. Returns "object.name" of all that was set.

    parameters: SI numbers by our names, as a run takes them; what is left out gets the network's own. A number that the objects' text takes from
    outside goes into the object's namespace, which Brian2 asks first, where it has changed. Nothing is set before everything is known to have a
    place. Raises RunError naming the parameter that has none.
    """
    network = imported.network
    values = check_parameters(network, parameters)
    own = {name: parameter.value for name, parameter in declared(network).items()}
    places, found = _places(imported), []
    for name, value in {**initial_state(network), **values}.items():
        changed = name not in own or not np.array_equal(np.broadcast_to(value, np.shape(own[name])), own[name])
        if name in places:
            found.append((places[name], _numbers(imported, places[name], value)))
        elif changed and name in own:
            found.append(_constant(imported, name, value))
    for (group, item), value in found:
        if item in imported.objects[group].variables:
            imported.objects[group].variables[item].set_value(value)
        else:
            imported.objects[group].namespace[item] = value
    return tuple(f"{group}.{item}" for (group, item), _ in found)


def _places(imported: Imported) -> dict[str, tuple[str, str]]:
    """Our name -> the object that holds its numbers, and Brian2's name of the variable. Subgroups hold none of their own."""
    found = {}
    for theirs, ours in imported.variables.items():
        group, _, variable = theirs.partition(".")
        held = getattr(imported.objects.get(group), "variables", {})
        if variable in held and hasattr(held[variable], "set_value"):
            found[ours] = group, variable
    return found


def _numbers(imported: Imported, place: tuple[str, str], value: Array) -> Array:
    """As that variable holds them."""
    variable = imported.objects[place[0]].variables[place[1]]
    return np.broadcast_to(value, np.shape(variable.get_value())).astype(variable.dtype)


def _constant(imported: Imported, name: str, value: Array) -> tuple[tuple[str, str], Any]:
    """A number of a namespace."""
    theirs = next((theirs for theirs, ours in imported.constants.items() if ours == name), None)
    if theirs is None:
        raise RunError(
            f"'{name}' has changed, and Brian2's objects hold no number that it came from; leave it out of what is trained"
        )
    group, _, constant = theirs.partition(".")
    dimension = get_or_create_dimension([float(e) for e in declared(imported.network)[name].dimension.exponents])
    return (group, constant), brian2.Quantity(float(value), dim=dimension)
