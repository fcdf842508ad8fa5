"""The README's example runs and does what it prints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_example_runs_and_backends_agree(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 1
    exec(compile(blocks[0], "README.md", "exec"), {})
    count, same, error = capsys.readouterr().out.split()
    assert int(count) > 20
    assert same == "True"
    assert float(error) < 1e-9
