"""The printed Step of every library model, held in tests/golden.

After an intended change, write the files again with `UPDATE_GOLDEN=1 pytest tests/library/test_golden.py` and read
the difference before committing it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from neuro import library, lower
from tests.library.networks import one_population, two_populations

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", library.names())
def test_step_is_as_recorded(name: str) -> None:
    network = one_population(name) if name in library.neurons() else two_populations(name)
    text, path = str(lower(network)), GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.exists(), f"no golden file for '{name}'; see the docstring of this module"
    assert text == path.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(library.names())
