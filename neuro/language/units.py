"""Physical quantities: SI numbers with a dimension. Text and unit names are read by pint."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.mixins import NDArrayOperatorsMixin

from neuro.language.foreign import NumbersError, leaves, numbers, shown

if TYPE_CHECKING:
    import pint

FloatArray = npt.NDArray[np.float64]

BASES = ("length", "mass", "time", "current", "temperature", "substance", "luminosity")
BASE_UNITS = ("meter", "kilogram", "second", "amp", "kelvin", "mole", "candela")

# Unit names allowed in equation text: Brian2's, so that `m`, `g` or `h` stay free for variables.
_LONG = (
    *("volt", "amp", "ampere", "ohm", "siemens", "farad", "second", "hertz", "meter", "metre", "gram", "mole", "mol"),
    *("molar", "kelvin", "joule", "coulomb", "watt", "newton", "pascal"),
)
_SHORT = ("V", "A", "s", "S", "F", "Hz", "M", "m", "W", "J", "C")
_PREFIXES = ("", "k", "M", "G", "c", "m", "u", "n", "p", "f")
_UNIT_NAME = re.compile(
    rf"(?:(?:{'|'.join(_PREFIXES)})(?:{'|'.join(_LONG)})|(?:k|M|G|c|m|u|n|p|f)(?:{'|'.join(_SHORT)})|Hz|kilogram)"
)


# What pint may see: it evaluates powers, so "9**9**9" must not reach it. Names, *, /, parentheses, small plain exponents.
_EXPONENT = re.compile(
    r"(?:\*\*|\^)\s*(?:-?\d{1,2}(?:\.\d{1,3})?|\(\s*-?\d{1,2}(?:\.\d{1,3})?(?:\s*/\s*\d{1,2})?\s*\))(?![\d.]|\s*(?:\*\*|\^))"
)
_UNIT_WORDS = re.compile(r"(?:[^\W\d_]\w*|%|\b1\b|[*/()\s])+")
_UNIT_LENGTH = 200


class UnitError(ValueError):
    """Text or object that can't be read as a quantity; the message names it and the fix."""


@dataclass(frozen=True)
class Dimension:
    """Exponents of the seven SI base dimensions."""

    exponents: tuple[Fraction, ...] = (Fraction(0),) * 7

    def __mul__(self, other: Dimension) -> Dimension:
        return Dimension(tuple(a + b for a, b in zip(self.exponents, other.exponents, strict=True)))

    def __truediv__(self, other: Dimension) -> Dimension:
        return Dimension(tuple(a - b for a, b in zip(self.exponents, other.exponents, strict=True)))

    def __pow__(self, power: float | Fraction) -> Dimension:
        exponent = Fraction(power).limit_denominator(1000)
        return Dimension(tuple(a * exponent for a in self.exponents))

    @property
    def dimensionless(self) -> bool:
        """Whether it is that of a plain number."""
        return not any(self.exponents)

    def __str__(self) -> str:
        if self in _named():
            return _named()[self]
        parts = [
            name if power == 1 else f"{name}**{power}" if power.denominator == 1 else f"{name}**({power})"
            for name, power in zip(BASE_UNITS, self.exponents, strict=True)
            if power
        ]
        return "*".join(parts) or "1"


@dataclass(frozen=True, eq=False)
class Whole(Dimension):
    """No unit, and a whole number: `: integer`, indices of cells. Equal to what has no unit."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dimension) and self.exponents == other.exponents

    __hash__ = Dimension.__hash__


class Truth(Whole):
    """No unit, and 0 or 1: `: boolean`, a condition that a variable holds."""


DIMENSIONLESS = Dimension()
_KINDS = {"1": DIMENSIONLESS, "integer": Whole(), "boolean": Truth()}


@cache
def _named() -> dict[Dimension, str]:
    names = ["1", "volt", "amp", "ohm", "siemens", "farad", "second", "hertz", "meter", "kilogram", "coulomb", "joule"]
    names += [f"{name}/second" for name in ("volt", "siemens")]
    names += [f"{name}/meter**2" for name in ("amp", "siemens", "farad")]
    return {unit(name).dimension: name for name in reversed(names)}


@dataclass(frozen=True, eq=False)
class Quantity(NDArrayOperatorsMixin):
    """A number or array in SI, its dimension, and the unit that the user wrote.

    value: float or float64 array, in SI units. unit: text that `unit()` reads. Arithmetic with numbers, arrays and other
    quantities gives quantities; 0 fits every dimension. == asks for the same whole, < and > look at each element.
    Raises UnitError where dimensions don't fit.
    """

    value: float | FloatArray
    dimension: Dimension = DIMENSIONLESS
    unit: str = "1"

    @property
    def shape(self) -> tuple[int, ...]:
        """That of its value, () for one number."""
        return np.shape(self.value)

    def to(self, text: str) -> Any:
        """Magnitude in another unit; UnitError when the dimensions differ."""
        other = unit(text)
        if other.dimension != self.dimension:
            raise UnitError(f"can't convert {self.dimension} to {text!r} ({other.dimension})")
        return self.value / other.value

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Quantity)
            and self.dimension == other.dimension
            and self.shape == other.shape
            and bool(np.array_equal(self.value, other.value, equal_nan=True))
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        value = np.asarray(self.value) + 0.0  # -0.0 equals 0.0
        return hash((np.where(np.isnan(value), np.nan, value).tobytes(), self.dimension))

    def __bool__(self) -> bool:
        return bool(self.value)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"{self} is one number and has no length")
        return self.shape[0]

    def __getitem__(self, index: Any) -> Quantity:
        if not self.shape:
            raise UnitError(f"{self} is one number; only arrays of quantities can be indexed")
        return _like(self, np.asarray(self.value)[index])

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """numpy would drop the unit."""
        raise UnitError(f"an array of numbers can't hold {self} with its unit; say which: .to('{self.unit}')")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options.get("out") is not None:
            raise UnitError(f"{ufunc.__name__}.{method} does not take quantities; use the numbers: .to('{self.unit}')")
        items = [quantity(item) for item in inputs]
        dimension, text = _result(ufunc.__name__, items)
        found = ufunc(*(item.value for item in items), **options)
        return found if dimension is None else Quantity(_plain(found), dimension, text)

    def __str__(self) -> str:
        magnitude = self.to(self.unit)
        text = f"{magnitude:.6g}" if not self.shape else f"array{self.shape}"
        return text if self.unit == "1" else f"{text} {self.unit}"

    __repr__ = __str__


_SAME = {"add", "subtract", "remainder", "fmod", "minimum", "maximum", "fmin", "fmax", "hypot"}
_KEEP = {"negative", "positive", "absolute", "fabs"}
_COMPARE = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal"}
_TEST = {"isfinite", "isnan", "isinf", "sign", "signbit"}
_ROOTS = {"sqrt": Fraction(1, 2), "cbrt": Fraction(1, 3), "square": Fraction(2), "reciprocal": Fraction(-1)}


def _result(name: str, items: list[Quantity]) -> tuple[Dimension | None, str]:
    """Dimension and unit of what a numpy function gives; None where it gives truth values or signs. Raises UnitError."""
    first, last = items[0], items[-1]
    if name in _SAME | _COMPARE and first.dimension != last.dimension:
        if not _is_zero(first) and not _is_zero(last):
            verb = name if name in ("add", "subtract") else "compare"
            raise UnitError(
                f"can't {verb} {first} ({first.dimension}) and {last} ({last.dimension}); give both one unit"
            )
        first = last if _is_zero(first) else first
    if name in _COMPARE | _TEST:
        return None, "1"
    if name in _SAME | _KEEP:
        return first.dimension, first.unit
    if name in ("multiply", "divide", "true_divide"):
        dimension = first.dimension * last.dimension if name == "multiply" else first.dimension / last.dimension
        scaled = first if last.unit == "1" else last if first.unit == "1" and name == "multiply" else None
        return dimension, str(dimension) if scaled is None else scaled.unit
    if name in _ROOTS:
        dimension = first.dimension ** _ROOTS[name]
        return dimension, str(dimension)
    if name in ("power", "float_power") and last.dimension.dimensionless and not last.shape:
        dimension = first.dimension ** float(last.value)
        return dimension, str(dimension)
    if all(item.dimension.dimensionless for item in items):
        return DIMENSIONLESS, "1"
    raise UnitError(f"{name} takes numbers without a unit, not {first}; divide by a quantity first")


def _is_zero(item: Quantity) -> bool:
    """A plain 0 fits every dimension."""
    return item.dimension.dimensionless and not item.shape and item.value == 0


def _plain(value: Any) -> float | FloatArray:
    return float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float64)


def _like(item: Quantity, value: Any) -> Quantity:
    """The same unit, another SI value."""
    return Quantity(_plain(value), item.dimension, item.unit)


@cache
def registry() -> pint.UnitRegistry[Any]:
    import pint

    return pint.UnitRegistry(cache_folder=None)


def _from_pint(found: Any, text: str) -> Quantity:
    base = found.to_base_units()
    powers = {str(k).strip("[]"): Fraction(v).limit_denominator(1000) for k, v in base.dimensionality.items()}
    unknown = set(powers) - set(BASES)
    if unknown:
        raise UnitError(f"{text!r} has the dimension {sorted(unknown)[0]!r}, which no model variable can have")
    magnitude = base.magnitude
    value = float(magnitude) if np.ndim(magnitude) == 0 else np.asarray(magnitude, dtype=np.float64)
    return Quantity(value, Dimension(tuple(powers.get(name, Fraction(0)) for name in BASES)), text)


def unit(text: str) -> Quantity:
    """One unit as a Quantity: "mV", "nS", "msiemens/cm**2", "1". Raises UnitError for anything else."""
    if not isinstance(text, str):
        raise UnitError(f"{shown(text)} is not a unit; write for example 'mV', 'nS', 'msiemens/cm**2' or '1'")
    return _unit(text.strip())


@cache
def _unit(text: str) -> Quantity:
    if text in _KINDS:
        return Quantity(1.0, _KINDS[text], text)
    broken = UnitError(f"{text!r} is not a unit; write for example 'mV', 'nS', 'msiemens/cm**2' or '1'")
    if len(text) > _UNIT_LENGTH or not _UNIT_WORDS.fullmatch(_EXPONENT.sub("", text)) or not text:
        raise broken
    try:
        found = registry().parse_expression(text)
        if isinstance(found, int | float):
            raise UnitError(f"{text!r} is a number, not a unit; write for example 'mV' or '1'")
        one = _from_pint(1 * found, text)
    except UnitError:
        raise
    except Exception:  # pint and its tokenizer raise many kinds on broken text
        raise broken from None
    if not 0 < one.value < float("inf"):
        raise broken
    return one


_USUAL = {"volt": "mV", "amp": "nA", "second": "ms", "siemens": "nS", "ohm": "Mohm", "farad": "pF", "hertz": "Hz"}


def usual_unit(dimension: Dimension) -> str:
    """A unit of this dimension in which cells are described."""
    return _USUAL.get(str(dimension), str(dimension))


def is_unit_name(name: str) -> bool:
    """True for the unit names that equation text may use (Brian2's: mV, nS, msiemens, second ...)."""
    return _UNIT_NAME.fullmatch(name) is not None


_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf|nan)\s*\*?\s*(.*)", re.S)


def is_quantity(text: str) -> bool:
    """Whether a text is meant as a number and a unit, and not as an expression."""
    match = _NUMBER.fullmatch(text)
    if match is None or (match[1][-1].isalpha() and text[match.end(1) : match.end(1) + 1].isidentifier()):  # "infected"
        return False
    bound = "*" in text[match.end(1) : match.start(2)]  # 2*dt are two steps, not two decitonnes
    try:
        unit(match[2].strip() or "1")
    except UnitError:
        return match[2].isidentifier() and not bound  # a unit with a mistake in it
    return not bound or all(map(is_unit_name, re.findall(r"[A-Za-z_]\w*", match[2])))


def quantity(value: Any, unit_text: str | None = None) -> Quantity:
    """Read a quantity: "20 ms", a number, array, list or tensor (with `unit_text`), a pint or a Brian2 quantity.

    Returns SI values. Raises UnitError naming the text and what would be right.
    """
    try:
        one = unit("1" if isinstance(unit_text, str | None) and not unit_text else unit_text)
        if has_unit(value):
            if unit_text is not None:
                raise UnitError(f"{shown(value)} has a unit already; leave {unit_text!r} out")
            return _with_unit(value)
        return Quantity(_plain(numbers(value).astype(np.float64) * one.value), one.dimension, one.unit)
    except NumbersError as error:
        raise UnitError(f"{error}; {_EXAMPLE}") from None
    except (UnitError, MemoryError):
        raise
    except Exception:  # whatever a foreign object raises when it is asked for its numbers
        raise UnitError(f"can't read {shown(value)} as a quantity; {_EXAMPLE}") from None


_EXAMPLE = "write a number and a unit, like '20 ms', or quantity(array, 'ms')"


def has_unit(value: Any) -> bool:
    """True for what says its unit itself: quantities of this library, pint and Brian2, text, stored data, lists of them."""
    if isinstance(value, list | tuple):
        return any(has_unit(item) for item in leaves(value))
    if isinstance(value, np.ndarray) and value.dtype == object:
        return has_unit(value.tolist())
    return (
        isinstance(value, Quantity | str | Mapping)
        or hasattr(getattr(value, "dim", None), "_dims")
        or hasattr(value, "to_base_units")
    )


def _with_unit(value: Any) -> Quantity:
    if isinstance(value, Quantity):
        return value
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            raise NumbersError(f"can't read {value!r} as a quantity")
        one = unit(match[2].strip() or "1")
        return Quantity(float(match[1]) * one.value, one.dimension, one.unit)
    if isinstance(value, Mapping):
        return from_data(value)
    if hasattr(value, "to_base_units"):
        return _from_pint(value, f"{value.units:~}" or "1")
    if hasattr(value, "dim"):  # a Brian2 quantity: SI inside, same seven dimensions
        dimension = Dimension(tuple(Fraction(float(d)).limit_denominator(1000) for d in value.dim._dims))
        return Quantity(_plain(np.asarray(value, dtype=np.float64)), dimension, str(dimension))
    items = [quantity(item) for item in value]
    for item in items:
        if item.dimension != items[0].dimension or item.shape != items[0].shape:
            raise UnitError(f"{items[0]} and {item} stand in one list; give all the same unit and shape")
    return _like(items[0], np.array([item.value for item in items]))


def to_data(item: Quantity) -> Any:
    """JSON form: "20 ms" when that reads back to the same bits, else SI numbers with the unit."""
    if not item.shape:
        text = f"{float(item.to(item.unit))!r}" + ("" if item.unit == "1" else f" {item.unit}")
        same = struct.pack("d", quantity(text).value) == struct.pack("d", item.value)
        return text if same else {"si": float(item.value), "unit": item.unit}
    from neuro.language.arrays import encode

    return {"si": encode(np.asarray(item.value)), "unit": item.unit}


def from_data(data: Any) -> Quantity:
    """Inverse of to_data. Raises UnitError on anything else."""
    if isinstance(data, Mapping):
        if set(data) != {"si", "unit"}:
            raise UnitError(f"a quantity needs the keys 'si' and 'unit', not {sorted(data)}")
        one = unit(str(data["unit"]))
        if isinstance(data["si"], int | float):
            return Quantity(float(data["si"]), one.dimension, one.unit)
        from neuro.language.arrays import decode

        return Quantity(decode(data["si"]), one.dimension, one.unit)
    return quantity(data)
