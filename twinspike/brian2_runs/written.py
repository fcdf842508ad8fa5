"""An import as files: its network, and what its inputs bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backends.brian.importing.importer import Imported
from neuro.io.files import replaced, replaced_text
from neuro.io.serialisation import to_json
from twinspike import cli

LARGEST = 2**31  # bytes of all inputs


def write(path: Path, made: Imported, duration: float) -> Path | None:
    """The network as JSON, and beside it, as .npz, the inputs of so many seconds, [time, channel] each, of a network that has any.

    Gives the latter file. Raises UserError where the inputs take too much memory.
    """
    steps = round(duration / float(made.network.dt.value))
    size = sum(array.nbytes for array in made.inputs(1).values()) * steps
    if size > LARGEST:
        raise cli.UserError(
            f"the inputs of {steps} steps take {size / 2**30:.3g} GiB; give a shorter time, such as --duration '1 s'"
        )
    replaced_text(path, to_json(made.network))
    if not size:
        return None
    beside = path.with_suffix(".npz")
    arrays = {name: array[0] for name, array in made.inputs(steps).items()}

    def save(place: Path) -> None:
        with place.open("wb") as file:
            np.savez_compressed(file, **arrays)

    replaced(beside, save)
    return beside
