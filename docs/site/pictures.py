"""Draws the gallery: runs studies and keeps the figures that they draw as SVG, with the command in each.

python docs/site/pictures.py NAME ...          # full runs
python docs/site/pictures.py --quick NAME ...  # quick ones; all that draw, where no study is named
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs" / "gallery"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "twinspike", "path.simplify_threshold": 0.5}


def drawing() -> tuple[str, ...]:
    """Names of the studies that draw figures, but for what takes a night."""
    from twinspike import studies

    texts = {
        n: (ROOT / "twinspike" / "studies" / f"{n.replace('-', '_')}.py").read_text("utf-8") for n in studies.names()
    }
    return tuple(n for n, text in texts.items() if "study.figure(" in text and not n.endswith("-night"))


def draw(name: str, quick: bool, folder: Path = GALLERY, work: Path = ROOT / "runs" / "gallery") -> list[Path]:
    """The pictures of one study, written to `folder` as NAME-FIGURE.svg. Raises what the study raises."""
    import matplotlib as mpl

    from twinspike import studies
    from twinspike.study import Study

    drawn: list[Path] = []
    kept = {"Date": None, "Description": f"twinspike reproduce {name}{' --quick' if quick else ''}"}

    class Drawing(Study):
        def figure(self, name: str, figure: Any) -> None:
            drawn.append(folder / f"{self.name}-{name.replace(' ', '-')}.svg")
            with mpl.rc_context(STYLE):
                figure.savefig(drawn[-1], format="svg", bbox_inches="tight", metadata=kept)

    work.mkdir(parents=True, exist_ok=True)
    study = Drawing(name, work, quick=quick, minutes=studies.minutes(name))
    import_module(f"twinspike.studies.{name.replace('-', '_')}").run(study)
    study.finish()
    return drawn


def main(names: Sequence[str]) -> None:
    """Draw those of these studies, or of all that draw."""
    quick = "--quick" in names
    names = [name for name in names if name != "--quick"]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(ROOT))
    import matplotlib as mpl

    mpl.use("Agg")
    for name in names or drawing():
        for path in draw(name, quick):
            print(path, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
