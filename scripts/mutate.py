"""Plant defects one at a time and see whether the fixed budget of the differential tests notices them.

python scripts/mutate.py
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from twinspike import cli
from twinspike.fuzzing.mutations import MUTATIONS, judged


def main(
    only: Annotated[str, typer.Option(help="those whose names hold this text")] = "",
) -> None:
    """Print which were noticed, after how many seconds of the processor and by what; exit code 1 where the budget fails without any, or one goes unnoticed."""
    chosen = [None, *(m for m in MUTATIONS if only in m.name)]
    verdicts = []
    for mutation in chosen:
        verdict = judged(mutation)
        verdicts.append(verdict)
        print(f"{verdict.name}: {verdict.what or 'nothing noticed'} ({verdict.seconds:.0f} s)", flush=True)
        if mutation is None and verdict.what:
            raise cli.UserError("the budget fails without any defect; mend that first")
    rows = [(v.name, "yes" if v.what else "no", round(v.seconds), v.what) for v in verdicts[1:]]
    cli.table("defects", ("planted", "noticed", "after s", "by"), rows)
    sys.exit(not all(v.what for v in verdicts[1:]))


if __name__ == "__main__":
    cli.run(main)
