"""What a sweep's folder knows: `sweep.json` names all trials that were ever asked for, with their settings; everything else is said by the trials' files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from twinspike import cli
from twinspike.sweeping.spec import Spec, label
from twinspike.sweeping.trials import Trial

SCHEMA = "twinspike-sweep-1"
NAME = "sweep.json"


def held(path: Path, share: str = "") -> AbstractContextManager[Any]:
    """The right to carry out the sweep of a folder, or a share of it. Raises UserError where somebody has it."""
    from neuro.io.hdf5 import InUseError, alone

    try:
        path.mkdir(parents=True, exist_ok=True)
        return alone(path / f"sweep{share}.lock")
    except InUseError:
        raise cli.UserError(
            f"another sweep is under way in '{path}'; wait until it ends, or choose another folder with --out"
        ) from None
    except OSError as error:
        raise cli.UserError(f"can't write to '{path}': {error.strerror}") from None


class Folder:
    """The folder of a sweep. trials: by the checksum of their settings. asked: those checksums as a search chose them, of which several may be the same. files: checksums of what
    trials read."""

    def __init__(self, path: Path) -> None:
        self.path, self.trials, self.asked = path, dict[str, Trial](), list[str]()
        self.files = dict[str, str]()
        self._spec: Mapping[str, Any] = {}
        self._read()

    def check(self, spec: Spec) -> None:
        """Raises UserError where the folder is of another search, whose trials were chosen otherwise."""
        if not self.trials or (not spec.search and "search" not in self._spec):
            return
        if _of_search(self._spec) != _of_search(spec.data):
            raise cli.UserError(
                f"'{self.path}' has the trials of another sweep, and those of a search depend on each other: only its number of trials and the rows of [best]"
                " may change; choose another folder with --out"
            )

    def check_files(self, spec: Spec) -> None:
        """Raises UserError where trials would read another file than those before them."""
        for path in spec.files():
            name, now = str(path), _checksum(path)
            if self.files.setdefault(name, now) != now:
                raise cli.UserError(
                    f"'{name}' isn't what it was when trials in '{self.path}' began, which can't be compared with those to come; put it back, or choose another folder with --out"
                )

    def check_asked(self, number: int, trial: Trial) -> None:
        """Raises UserError where a search has chosen another one at this number."""
        if self.asked[number] != trial.key:
            raise cli.UserError(
                f"'{self.path / NAME}' is damaged: what the search chose for trial {number} isn't in its settings; choose another folder with --out"
            )

    def trial(self, spec: Spec, chosen: Mapping[str, Any]) -> Trial:
        """The one with these settings, under the name that it has in the folder, or with the next number. Raises UserError."""
        settings = json.loads(json.dumps(spec.settings(chosen)))
        key = label(settings)
        name = self.trials[key].name if key in self.trials else f"{len(self.trials):04d}-{key}"
        self.trials[key] = Trial(self.path / "trials", name, dict(chosen), settings)
        return self.trials[key]

    def write(self, spec: Spec) -> None:
        """Keep what is asked for, before anything of it runs."""
        from neuro.io.files import replaced_text

        (self.path / "trials").mkdir(exist_ok=True)
        rows = [{"name": t.name, "chosen": t.chosen, "settings": t.settings} for t in self.trials.values()]
        data = {"schema": SCHEMA, "spec": spec.data, "trials": rows, "asked": self.asked, "files": self.files}
        replaced_text(self.path / NAME, json.dumps(data, indent=1) + "\n")
        self._spec = spec.data

    def _read(self) -> None:
        path = self.path / NAME
        if not path.exists():
            return
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["schema"] != SCHEMA:
                raise KeyError(data["schema"])
            self._spec = dict(data["spec"])
            self.files = {str(n): str(v) for n, v in data.get("files", {}).items()}
            for row in data["trials"]:
                name, key = str(row["name"]), label(row["settings"])
                if name != f"{len(self.trials):04d}-{key}":
                    raise KeyError(f"trial '{name}' has other settings than its name stands for")
                self.trials[key] = Trial(self.path / "trials", name, dict(row["chosen"]), dict(row["settings"]))
            self.asked = [key for key in data["asked"] if self.trials[key]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise cli.UserError(
                f"'{path}' is damaged, or of another version ({error!r}); choose another folder with --out"
            ) from None


def _checksum(path: Path) -> str:
    """Of the network that a text gives, with the files that it names; of the bytes of any other file."""
    import hashlib

    from neuro.io.serialisation import content_hash, read_network
    from neuro.language.equations import ModelError

    if path.suffix in (".toml", ".json"):
        try:
            return content_hash(read_network(path))
        except ModelError:  # another text
            pass
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_search(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a search's trials depend on."""
    found = json.loads(json.dumps(data))
    for table, name in (("search", "trials"), ("best", "rows")):
        if isinstance(found.get(table), dict):
            found[table].pop(name, None)
            if not found[table]:
                del found[table]
    return dict(found)
