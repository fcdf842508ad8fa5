"""A stranger's path, run where the wheel is installed and the checkout is not: python -I stranger.py FOLDER

The folder, which is made, holds packages of somebody's own called `backends` and `tasks`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OWN_ARRAYS = """
import numpy as np, neuro
cell = neuro.Neuron("cell", "dv/dt = (I - v)/(10*ms) : 1\\nI : 1", threshold="v > 1", reset="v = 0")
network = neuro.Network((neuro.Population("cells", cell, 5),), (), dt="1 ms", inputs=(neuro.Input("drive", 5, "current", "cells.I"),))
spikes = [neuro.compile(network, b).run(inputs={"drive": np.full((1, 100, 5), 1.5)}).spikes["cells"] for b in ("native", "reference")]
assert spikes[0].sum() > 10 and (spikes[0] == spikes[1]).all()
assert neuro.task("xor").name == "xor"

from neuro.io.serialisation import to_json
lif, pulse = neuro.library.get("lif"), neuro.library.get("pulse")
feed = neuro.Projection("feed", "x", "out", pulse, weights=neuro.Normal("0.5 nA", "0.5 nA"))
network = neuro.Network((neuro.Population("out", lif, 2),), (feed,), (neuro.Input("x", 20),), dt="1 ms")
with open("net.json", "w") as file:
    file.write(to_json(network))
labels = np.arange(60) % 2
np.savez("x.npz", x=np.random.default_rng(0).random((60, 30, 20)) < 0.07 + 0.1 * labels[:, None, None], y=labels)
"""


def main(folder: Path) -> str:
    """What doesn't work, or nothing."""
    for name in ("backends", "tasks"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise ImportError('somebody else')\n")
    command = str(Path(sys.prefix) / "bin" / "twinspike")
    for words in (
        [command, "--help"],
        [command, "doctor"],
        [command, "train", "--task", "xor", "--epochs", "1", "--out", "run.h5"],
        [command, "inspect", "run.h5", "--summary"],
        [command, "compare", "run.h5", "--backends", "native,reference"],
        [sys.executable, "-c", OWN_ARRAYS],
        [command, "train", "--network", "net.json", "--data", "x.npz", "--epochs", "2", "--out", "mine.h5"],
        [command, "report", "mine.h5"],
    ):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{' '.join(words)[:200]}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        if "report" in words:
            size = (folder / "mine.html").stat().st_size
            if not 10_000 < size < 5_000_000:
                return f"the report has {size} bytes"
        print("from the wheel:", Path(words[0]).name, *words[1:4] if words[1] != "-c" else ["own arrays"])
    return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) or None)
