"""The run file that a training run keeps, and its progress bar: of several processes that train together the first one has both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twinspike import cli, launching


@contextmanager
def kept_if_begun(run: Any, fresh: bool) -> Iterator[None]:
    """Leaves no file of a fresh run that ends with an error before its first update."""
    try:
        yield
    except Exception:
        if fresh and not any(run.history.values()):
            run.discard()
        raise


def written(begin: Callable[[], Any]) -> Any:
    """The run file that the first process begins; the others write none."""
    from neuro.learning.loop import Unwritten

    runs = []
    launching.from_first(lambda: runs.append(begin()))
    return runs[0] if runs else Unwritten()


def resumed(out: Path, changes: dict[str, Any], metrics: Sequence[str]) -> tuple[Any, Any]:
    """The run file that goes on, and the state that it had."""
    from neuro.io.results import Run
    from twinspike.continuing import say_what_leaves

    states = []

    def begin() -> Any:
        say_what_leaves(out)
        run, state = Run.resume(out, changes, metrics)
        states.append(state)
        return run

    run = written(begin)
    return run, launching.from_first(lambda: states[0])


def check_beside(folder: Path | None) -> None:
    """Raises UserError where event files can't stand in a folder, MissingPackageError where nothing writes them."""
    if folder is None:
        return
    from neuro.io.event_files import check_writer

    check_writer()
    if folder.exists() and not folder.is_dir():
        raise cli.UserError(f"--tensorboard {folder} is a file; name a folder")


def beside(run: Any, folder: Path | None) -> Any:
    """A run that is also written for TensorBoard, by the first process; itself without a folder."""
    if folder is None or not launching.first():
        return run
    from neuro.io.event_files import Beside

    return Beside(run, folder)


@contextmanager
def shown(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Progress, which the first process shows."""
    if launching.first():
        with cli.progress(what) as update:
            yield update
    else:
        yield lambda done, total, text: None
