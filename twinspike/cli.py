"""What the commands share: options, one-line errors with exit code 2, progress bars, tables, run directories."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from neuro.display.html import cell as cell

EXIT_USER_ERROR, EXIT_INTERRUPTED = 2, 130
speaker = ""  # which of several processes it is whose error is printed


class UserError(Exception):
    """Something the caller can fix; printed as one line."""


def run(
    command: Callable[..., None] | typer.Typer,
    arguments: Sequence[str] | None = None,
    unheard: Callable[[BaseException], bool] = lambda error: False,
) -> None:
    """Run a command line. Wrong options, missing files and models that don't fit end in one line and exit code 2.

    command: a function, or the whole of `twinspike`, whose arguments begin with a subcommand. arguments: this process's where left out.
    unheard: whether somebody else says what went wrong; this process then ends in silence.
    """
    if isinstance(command, typer.Typer):
        app, name = command, "twinspike"
    else:
        app, name = typer.Typer(add_completion=False, pretty_exceptions_enable=False), None
        app.command()(command)
    try:
        code = app(arguments, prog_name=name, standalone_mode=False) or 0
        if code == EXIT_INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code)
    except typer.TyperException as error:
        if unheard(error):
            sys.exit(0)
        fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (typer.Abort, KeyboardInterrupt):
        if unheard(KeyboardInterrupt()):
            sys.exit(0)
        fail("interrupted; a run file continues with --resume", code=EXIT_INTERRUPTED)
    except Exception as error:
        if unheard(error):
            sys.exit(0)
        if not is_user_error(error):
            raise
        fail(_absent(error) or str(error).strip())


def is_user_error(error: Exception) -> bool:
    """Errors that name culprit and fix. Their modules are looked at only if somebody has loaded them."""
    kinds: list[type[BaseException]] = [UserError, OSError]
    for module, names in {
        "neuro.beside": ("ClashError",),
        "neuro.language.equations": ("ModelError",),
        "neuro.protocols": ("UnsupportedError", "RunError"),
        "neuro.io.hdf5": ("ResultsError",),
        "neuro.io.results": ("FinishedError",),
        "neuro.language.units": ("UnitError",),
        "neuro.options": ("OptionError",),
        "neuro.registry": ("MissingPackageError",),
        "neuro.events": ("EventsError",),
        "neuro.export": ("ExportError", "ForeignFileError"),
        "neuro.export.bundle": ("LossError",),
        "neuro.export.targets": ("UnknownTargetError",),
        "neuro.export.quantisation.quantisers": ("QuantiseError",),
        "neuro.analysis.energy": ("EnergyError",),
        "neuro.analysis.lyapunov": ("LyapunovError",),
        "neuro.learning": ("UnknownRuleError",),
        "neuro.learning.loop": ("TrainingError",),
        "neuro.learning.gradient.gradient_rule": ("RuleError",),
        "neuro.learning.common.parametrisation": ("ParameterError",),
        "neuro.learning.common.processes": ("ProcessesError",),
        "neuro.learning.local.plasticity": ("PlasticityError",),
        "neuro.library": ("UnknownModelError",),
        "neuro.analysis.comparison": ("ComparisonError",),
        "neuro.analysis.refinement": ("RefinementError",),
        "neuro.analysis.spike_trains": ("RasterError",),
        "neuro.plot": ("PlotError",),
        "backends": ("UnknownBackendError",),
        "backends.brian.importing.errors": ("NotImportedError",),
        "neuro.compiler.surrogates": ("UnknownSurrogateError",),
        "tasks": ("UnknownTaskError",),
    }.items():
        loaded = sys.modules.get(module)
        kinds += [getattr(loaded, name) for name in names if hasattr(loaded, name)]
    return isinstance(error, tuple(kinds)) or bool(_absent(error))


def _absent(error: Exception) -> str:
    """What to do about a package of an extra that isn't installed."""
    from neuro.registry import EXTRAS, missing, package_of

    package = package_of(error) if isinstance(error, ModuleNotFoundError) else ""
    return missing("this", package) if package in EXTRAS else ""


def command_line() -> str:
    """How this process was called."""
    import shlex

    return shlex.join(["twinspike", *sys.argv[1:]] if _installed() else ["python", *sys.argv])


def arguments() -> list[str]:
    """This process's, behind the subcommand."""
    return sys.argv[2 if _installed() else 1 :]


def _installed() -> bool:
    """Whether this is the command `twinspike`, not a script that stands for one of its subcommands."""
    return Path(sys.argv[0]).stem in ("twinspike", "__main__")


def note(message: str) -> None:
    """Print to stderr what the caller should know, and go on."""
    print(f"note: {message}", file=sys.stderr)


def fail(message: str, code: int = EXIT_USER_ERROR) -> None:
    """Print one error to stderr and leave."""
    print(f"error: {speaker}{message}", file=sys.stderr)
    sys.exit(code)


def existing(path: Path) -> Path:
    """A file that must be there."""
    if not path.is_file():
        raise UserError(f"there is no file '{path}'")
    return path


def writable(path: Path) -> Path:
    """A path whose folder exists (it is made) and can be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't write '{path}': {error.strerror}") from None
    if path.is_dir():
        raise UserError(f"can't write '{path}': it is a folder")
    return path


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = Table(title=escape(title), title_justify="left")
    for i, name in enumerate(header):
        found.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        found.add_row(*(escape(cell(c)) for c in row))
    Console(width=None if sys.stdout.isatty() else 160).print(found)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """The caller gets a function that raises a Ctrl-C again that Python has swallowed: it does where one comes while a finaliser runs.

    Whoever handles it now, as Brian2 does while it runs, hears of it too.
    """
    asked, before = False, signal.getsignal(signal.SIGINT)

    def note_it(number: int, frame: Any) -> None:
        nonlocal asked
        asked = True
        if callable(before):
            before(number, frame)

    def check() -> None:
        if asked:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield check
        return
    signal.signal(signal.SIGINT, note_it)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress(description: str) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar; the caller gets update(done, total, text), which no Ctrl-C outlives. Plain lines where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = ("[progress.description]{task.description}", BarColumn(), "{task.completed}/{task.total}")
    bar = Progress(
        *columns,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
    )
    with interruptible() as check, bar:
        task = bar.add_task(description, total=None, text="")

        def update(done: int, total: int, text: str = "") -> None:
            bar.update(task, completed=done, total=total, text=text)
            check()

        yield update
