"""What a run is given, made into SI arrays or refused by name: numbers, lists, tensors, and quantities of any library.

Plain numbers are SI. What has a unit is converted; another dimension is refused. Every rule of the definition (signs, bounds,
positive time constants, finite numbers) holds here too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.compiler.parameters import Parameter, different, for_all, sharing
from neuro.events import Events
from neuro.language.foreign import NumbersError, is_plain, numbers, shown
from neuro.language.units import Dimension, UnitError, has_unit, quantity, usual_unit
from neuro.model import Input, Network
from neuro.options import hint
from neuro.protocols import RunError

Array = npt.NDArray[Any]
MOST = 2**53
ROUNDING = 1e-6  # of a bound: single precision


def known(name: Any, names: Iterable[str], what: str) -> None:
    """Raises RunError unless the name is one of these."""
    names = list(names)
    if name not in names:
        raise RunError(f"there is no {what} {name!r}; {hint(name, names)}")


def named(given: Any, option: str) -> Mapping[str, Any]:
    """What run(parameters=...) or run(inputs=...) got, by name. Raises RunError."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise RunError(f"{option} is {shown(given)}; it is a table: write {option}={{'name': array}}")
    return given


def whole(name: str, value: Any, least: int = 1) -> int:
    """An option that counts something. Raises RunError."""
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST:
        raise RunError(
            f"{name}={shown(value)} is no count; give a whole number from {least} to {MOST}, like {name}=100"
        )
    return value


def si(value: Any, wanted: Callable[[], tuple[str, Dimension | None, str]]) -> Array:
    """A value as an array of SI numbers, its dtype kept where it has no unit.

    wanted: what it is for, its dimension (None where no unit fits), and the call that works; made where somebody needs them.
    Raises RunError.
    """
    if is_plain(value):
        return value  # type: ignore[no-any-return]
    what, dimension, call = wanted()
    try:
        if not has_unit(value):
            return numbers(value)
        found = quantity(value)
    except (NumbersError, UnitError) as error:
        raise RunError(f"{what}: {str(error).partition('; write a number')[0]}; write {call}") from None
    except MemoryError:
        raise
    except Exception:  # whatever a foreign object raises when it is asked for its numbers
        raise RunError(f"{what}: can't read {shown(value)}; write {call}") from None
    if dimension is None:
        raise RunError(f"{what} has no unit, but got {shown(value)}; write {call}")
    if found.dimension != dimension:
        unit = "has no unit" if found.dimension.dimensionless else f"is in {found.dimension}"
        raise RunError(f"{what} {unit}, but {_unit(dimension)} is needed; write {call}")
    return np.asarray(found.value)


def _unit(dimension: Dimension) -> str:
    return "a number without a unit" if dimension.dimensionless else str(dimension)


def _call(option: str, name: str, unit: str, dimension: Dimension, one: bool) -> str:
    """The text that gives a value for this name."""
    item = "number" if one else "array"
    if dimension.dimensionless:
        return f"{option}={{'{name}': {item}}}"
    return f"{option}={{'{name}': quantity({item}, '{unit}')}}, or give plain numbers in {dimension}"


def given_parameters(declared: Mapping[str, Parameter], given: Any, population: int | None) -> dict[str, Array]:
    """SI arrays of the given parameters alone, float64, in their shapes; with a population its axis first. Raises RunError."""
    found: dict[str, Array] = {}
    for name, value in with_shared(declared, given).items():
        if name not in declared:
            known(name, declared, "parameter")
        parameter = declared[name]
        array = si(value, partial(_of_parameter, parameter, name)).astype(np.float64, copy=False)
        found[name] = array = _fitted(parameter, name, array, population)
        for problem in parameter.problems(array, name, ROUNDING):
            raise RunError(f"parameter '{name}': {problem.message}; {problem.fix}")
    if wrong := different(declared, found):
        raise RunError("; ".join(wrong))
    return found


def with_shared(declared: Mapping[str, Parameter], given: Any) -> Mapping[str, Any]:
    """What a run got as parameters; where projections share weights, what one of them got for all. Raises RunError."""
    return for_all(declared, named(given, "parameters"))


def following(declared: Mapping[str, Parameter], wrt: Sequence[str]) -> set[str]:
    """Names that a derivative isn't asked for, whose values are those of one that it is."""
    groups = [group for group in sharing(declared).values() if not set(group).isdisjoint(wrt)]
    return {n for group in groups for n in group} - set(wrt)


def _of_parameter(parameter: Parameter, name: str) -> tuple[str, Dimension, str]:
    call = _call("parameters", name, parameter.unit, parameter.dimension, not parameter.shape)
    return f"parameter '{name}'", parameter.dimension, call


def _fitted(parameter: Parameter, name: str, array: Array, population: int | None) -> Array:
    """The array in the shape that this run needs; the weights that a run of one trial left are taken too."""
    own = parameter.shape
    lead = () if population is None else (population,)
    shape = (*lead, *own)
    if array.shape == shape:
        return array
    trials = array.shape[len(lead)] if own and array.ndim == len(shape) + 1 else 0
    if trials and array.shape == (*lead, trials, *own):
        if trials == 1:
            return array.reshape(shape)
        raise RunError(
            f"parameter '{name}' has shape {array.shape}, one of each of {trials} trials; this run needs {shape} for all: "
            f"write parameters={{'{name}': array[{':, ' * len(lead)}0]}}"
            + ("" if lead else f", or run(..., population={trials}) for one parameter set each")
        )
    axes = "" if not own else f" [{', '.join((*(('population',) if lead else ()), *parameter.axes))}]"
    what, _, call = _of_parameter(parameter, name)
    raise RunError(f"{what} has shape {array.shape}; this run needs {shape}{axes}: write {call}")


def of_input(network: Network, item: Input) -> tuple[str, Dimension | None, str]:
    """What an input is in an error text, the dimension of its numbers, and the text that gives them to a run."""
    what = f"{'spike ' if item.sends else ''}input '{item.name}'"
    if item.kind == "drive":
        return what, None, f"inputs={{'{item.name}': array}}, with whole numbers of events, [batch, time, {item.size}]"
    if item.sends:
        return what, None, f"inputs={{'{item.name}': array}}, with 0 and 1, [batch, time, {item.size}]"
    owner, _, variable = item.target.partition(".")
    dimension = network.population(owner).neuron.scope.dimensions[variable]
    return what, dimension, _call("inputs", item.name, usual_unit(dimension), dimension, one=False)


def input_array(network: Network, item: Input, value: Any) -> Any:
    """An input as an SI array [batch, time, channel], its dtype kept, or as Events. Raises RunError."""
    wanted = partial(of_input, network, item)
    listed = isinstance(value, Events)
    if not item.sends and listed:
        raise RunError(f"input '{item.name}' is a {item.kind}, not a list of spikes; write {wanted()[2]}")
    array = value if listed or on_device(value) else si(value, wanted)
    if array.ndim != 3 or array.shape[2] != item.size:
        call = wanted()[2]
        needs = f"input '{item.name}' has shape {tuple(array.shape)}; it needs [batch, time, {item.size}]"
        short = array.ndim == 2 and item.size in (1, array.shape[1])
        axes = " (of [time, channel], array[None]; of [batch, time], array[:, :, None])" if short else ""
        raise RunError(f"{needs}{axes}: write {call}")
    if item.kind == "current":
        if not _all_finite(array):
            raise RunError(f"input '{item.name}' is not finite everywhere")
    elif item.kind == "drive":
        if not _all_counts(array):
            raise RunError(
                f"input '{item.name}' is a drive; its array holds numbers that count nothing; write {wanted()[2]}"
            )
    elif not isinstance(array, Events) and not _all_spikes(array):
        raise RunError(f"input '{item.name}' is a spike input; its array holds numbers other than 0 and 1")
    return array


def on_device(value: Any) -> bool:
    """Whether it is a plain tensor of real numbers in a device's memory, which is checked there."""
    torch = sys.modules.get("torch")
    return (
        torch is not None
        and isinstance(value, torch.Tensor)
        and value.device.type != "cpu"
        and value.layout == torch.strided
        and not value.is_complex()
    )


def _all_finite(array: Any) -> bool:
    return bool((array.isfinite() if on_device(array) else np.isfinite(array)).all())


def _all_counts(array: Any) -> bool:
    if 0 in array.shape:
        return True
    low, high = array.min().item(), array.max().item()  # compared by Python, whatever their type can hold
    return low >= 0 and high <= MOST and bool((array == array // 1).all())


def _all_spikes(array: Any) -> bool:
    if on_device(array):
        return bool(((array == 0) | (array == 1)).all())
    return array.dtype == np.bool_ or all(((trial == 0) | (trial == 1)).all() for trial in array)
