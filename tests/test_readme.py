"""The README's example runs and does what it prints; `make wheel` runs it from the wheel."""

from __future__ import annotations

from pathlib import Path

from tests.packaging.readme_example import example, output


def test_example_runs_and_backends_agree() -> None:
    count, same, error = output(example(Path(__file__).parents[1] / "README.md"))
    assert count > 20
    assert same
    assert error < 1e-9
