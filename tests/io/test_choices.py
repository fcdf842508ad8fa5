"""Variables of synapses and chosen cells in a file that grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro.io.results import ResultsError, append_recording, open_run, write_recording
from tests.io.test_appending import STEPS, Long
from tests.io.test_recordings import same
from tests.io.test_results import complete

CHOICES: dict[str, Any] = {
    "synapses": ["cells.v", "feed.w", "feed.x"],
    "chosen": {"cells.v": [3, 1], "feed.w": [(6, 0), (0, 4)], "feed.x": None, "cells": [4, 0]},
    "no spikes": {"cells": [], "feed.w": [(6, 0)]},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_synapses_and_chosen_cells_are_appended(choice: str, tmp_path: Path) -> None:
    """In one go, and after an end in the midst of it."""
    run, path, written = Long(), tmp_path / "run.h5", complete(tmp_path / "written.h5")
    run.options["record"] = CHOICES[choice]
    whole = run.program.run(inputs=run.inputs(0, STEPS), steps=STEPS, **run.options)
    with pytest.raises(KeyboardInterrupt), append_recording(path, run.network) as file:
        for part in run.parts(last=64):
            file.append(part)
        raise KeyboardInterrupt
    with append_recording(path, resume=True) as file:
        for part in run.parts(done=file.steps, state=file.state):
            file.append(part)
    same(open_run(path).recording(), whole)
    part = open_run(path).recording(32, 64)
    for name, trace in whole.traces.items():
        np.testing.assert_array_equal(part.traces[name], trace[:, 16:32])
    for name, raster in whole.spikes.items():
        np.testing.assert_array_equal(part.spikes[name], raster[:, 32:64])
    write_recording(written, whole, {})
    same(open_run(written).recording(), whole)


def test_parts_with_another_choice_are_refused(tmp_path: Path) -> None:
    run = Long()
    run.options["record"] = {"cells.v": [3, 1], "cells": [2]}
    first, second = list(run.parts())[:2]
    with append_recording(tmp_path / "run.h5", run.network) as file:
        file.append(first)
        for other in ({"cells.v": np.array([1, 3])}, {"cells": np.array([3])}):
            with pytest.raises(ResultsError, match=f"other cells or synapses of '{next(iter(other))}' than the file"):
                file.append(replace(second, chosen={**second.chosen, **other}))
        with pytest.raises(ResultsError, match="other cells or synapses"):
            file.append(replace(second, chosen={}))
        file.append(second)
