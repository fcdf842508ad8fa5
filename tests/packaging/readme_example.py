"""The README's example, run where the wheel is installed and the checkout is not: python -I readme_example.py README.md"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
from pathlib import Path

FOREIGN = ("snntorch", "nir", "cma", "pytest")  # what its extras don't bring


def example(readme: Path) -> str:
    """The first block of Python."""
    return str(re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)[0])


def output(code: str) -> tuple[int, bool, float]:
    """What it prints: spikes, whether the rasters agree, the largest difference of the traces."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {})
    count, same, error = shown.getvalue().split()
    return int(count), same == "True", float(error)


def main(readme: Path) -> str:
    """Why it fails, or nothing."""
    there = [name for name in FOREIGN if importlib.util.find_spec(name)]
    if there:
        return f"the environment has more than the example's extras: {', '.join(there)}"
    spec = importlib.util.find_spec("neuro")
    if spec is None or not str(spec.origin).startswith(sys.prefix):
        return f"neuro is not the wheel's: {spec and spec.origin}"
    count, same, error = output(example(readme))
    print(f"README's example from the wheel: {count} spikes, rasters identical: {same}, traces within {error:.1e}")
    return "" if count > 20 and same and error < 1e-9 else "the example gives other numbers"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) or None)  # "" would count as a failure
