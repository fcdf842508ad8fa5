"""Numbers in the units in which cells are described."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.language.units import UnitError, unit, usual_unit


def in_usual(values: Any, text: str | None) -> tuple[Any, str]:
    """SI values of something in its usual unit (volt: mV) and its name. Of an unknown or foreign unit as they are, with the text that there is, or "SI"."""
    array = np.asarray(values, np.float64)
    if not text:
        return array, "SI"
    try:
        usual = usual_unit(unit(text).dimension)
    except UnitError:
        return array, text
    return array / unit(usual).value, usual
