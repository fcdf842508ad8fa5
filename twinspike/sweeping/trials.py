"""One trial: train.py's own run, in a process of its own. What comes of it is said by its files alone, so that nothing is lost with a process.

NAME.json: settings, as train.py takes them. NAME.h5: the run. NAME.log: what it printed. NAME.error: why it failed, where it did.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinspike import cli, launching

COMPLETE, FAILED, STOPPED, WAITING, ELSEWHERE = "complete", "failed", "stopped", "waiting", "in use"


NOT_HERE = "it ended without leaving a whole run here: all machines must see the folder under the same name"


@dataclass(frozen=True)
class Trial:
    """A trial in a folder. chosen: those of its settings that the sweep is over."""

    folder: Path
    name: str
    chosen: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The checksum of its settings."""
        return self.name.rpartition("-")[2]

    def file(self, ending: str) -> Path:
        return self.folder / f"{self.name}.{ending}"

    @property
    def run(self) -> Path:
        return self.file("h5")

    @property
    def error(self) -> str:
        """Why it failed, in one line; empty where it didn't."""
        path = self.file("error")
        text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
        return text.splitlines()[-1] if text else ""

    def fail(self, why: str) -> None:
        from neuro.io.files import replaced_text

        replaced_text(self.file("error"), why + "\n")

    def check(self) -> None:
        """Raises UserError where its file is of a run with other settings."""
        from neuro.io.results import open_run
        from twinspike.run_settings import differing
        from twinspike.sweeping.spec import split

        config, _ = split(self.settings)
        if (differs := differing(open_run(self.run).config, config)) is not None:
            name, own, value = differs
            raise cli.UserError(
                f"'{self.run}' has {name} {own!r}, and trial '{self.name}' asks for {value!r}; move the file away, or choose another folder with --out"
            )

    def standing(self) -> str:
        """What its files say."""
        from neuro.io.checkpoints import checkpoint_path
        from neuro.io.hdf5 import in_use
        from neuro.io.results import ResultsError, open_run

        if self.run.exists():
            try:
                if open_run(self.run).complete:
                    return COMPLETE
            except ResultsError:  # cut off anywhere
                pass
            if in_use(self.run):
                return ELSEWHERE
        if self.file("error").exists():
            return FAILED
        return STOPPED if self.run.exists() or checkpoint_path(self.run).exists() else WAITING

    def settled(self, why: str) -> str:
        """What its files say once it has ended. why: it ended, if not by itself; kept as its error."""
        found = self.standing()
        if found in (STOPPED, WAITING):
            self.fail(why or NOT_HERE)
            return FAILED
        return found


def carry_out(trial: Trial, code: str) -> None:
    """Train from where the trial stands, in this process, which does nothing else. code: the "module:Class" that it may name as its task."""
    launching.end_with_starter()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started this
    with trial.file("log").open("a", encoding="utf-8") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    sys.stdout, sys.stderr = (open(n, "w", encoding="utf-8", buffering=1, closefd=False) for n in (1, 2))  # noqa: SIM115
    if not _free(trial):
        print("somebody else writes this run")
        return
    trial.file("error").unlink(missing_ok=True)
    try:
        train_it(trial, code)
    except Exception as error:
        known = cli.is_user_error(error)
        traceback.print_exc()
        trial.fail(" ".join(str(error).split()) if known else "".join(traceback.format_exception(error)))


def train_it(trial: Trial, code: str) -> None:
    """Train from where it stands: a complete run stays, a stopped one goes on, any other begins. Raises what train.py raises."""
    from neuro.io.files import replaced_text
    from neuro.io.results import ResultsError, Run
    from twinspike import train
    from twinspike.sweeping.spec import split

    config, options = split(trial.settings)
    replaced_text(trial.file("json"), json.dumps(config, indent=1) + "\n")
    if config.get("task") == code:
        options["task"] = code
    try:
        complete, _ = Run.stopped(trial.run)
        if complete:
            return
        options["resume"] = True
    except ResultsError:  # nothing to go on from
        options["overwrite"] = trial.run.exists()
    sys.argv = command(trial, options)
    print(shlex.join(sys.argv), flush=True)
    train.main(config=trial.file("json"), out=trial.run, **options)


def command(trial: Trial, options: Mapping[str, Any]) -> list[str]:
    """The call of train.py that does the same; with more processes it is what they are started with."""
    given = [part for n, v in options.items() if v for part in ((f"--{n}",) if v is True else (f"--{n}", str(v)))]
    return ["twinspike", "train", "--config", str(trial.file("json")), *given, "--out", str(trial.run)]


def _free(trial: Trial) -> bool:
    """Whether nobody else writes the run; waits a while for the process of a sweep that was killed a moment ago."""
    from neuro.io.hdf5 import InUseError, alone

    if not trial.run.exists():
        return True
    try:
        alone(trial.run, wait=True).close()
    except InUseError:
        return False
    return True
