"""How a run begins: afresh, or as one that was stopped. Either knows its settings, completes them once there is the task, and gives the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from twinspike import cli, launching, spreading
from twinspike.keeping import resumed, written
from twinspike.run_settings import asked, recommended, unchanged


@dataclass(frozen=True)
class Wish:
    """What a command line asks for. given: settings, None where it names none. own: see `run_settings.own_data`. places: options of the backend that say where it
    computes."""

    out: Path
    config: Path | None
    given: dict[str, Any]
    own: dict[str, Any] | None
    places: dict[str, Any]
    processes: int | None
    overwrite: bool


class Beginning(Protocol):
    """settings: of the run. name: what they are called in messages. fresh: whether nothing of it is there yet."""

    settings: dict[str, Any]
    name: str
    fresh: bool

    def complete(self, task: Any, added: Mapping[str, Any]) -> None:
        """Settings that the task recommends, and `added` to the rule's options. Raises UserError."""

    def file(self, task: Any, program: Any, metrics: Sequence[str]) -> tuple[Any, Any]:
        """The run file, and the state that learning goes on from; from here on the place is the run's. Raises UserError."""


class Fresh:
    """See Beginning."""

    fresh, name = True, "the settings"

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.settings = asked(wish.config, wish.given)
        if launching.launched():
            self.settings |= launching.shared(wish.processes)

    def complete(self, task: Any, added: Mapping[str, Any]) -> None:
        self.settings = recommended(self.settings, task)
        for name, more in (("backend_options", self.wish.places), ("rule_options", added)):
            self.settings[name] = {**self.settings[name], **more}

    def file(self, task: Any, program: Any, metrics: Sequence[str]) -> tuple[Any, Any]:
        from neuro.io.results import Run
        from neuro.io.serialisation import to_json

        config = {**self.settings, "task_version": task.version, "command": cli.command_line()}
        run = written(
            lambda: Run.create(
                self.wish.out, model=to_json(program.network), semantics=program.semantics.to_data(), config=config,
                seed=self.settings["seed"], metrics=metrics, overwrite=self.wish.overwrite,
            )
        )  # fmt: skip
        return run, None


class Resumed:
    """See Beginning. The run may be asked for more epochs, by other processes, and its files may have moved: see `continuing`."""

    fresh = False

    def __init__(self, wish: Wish) -> None:
        from twinspike.continuing import continued

        shared = launching.shared(wish.processes) | spreading.moved(wish.given)
        header, self._changes = launching.from_first(
            lambda: continued(wish.out, wish.given["epochs"], wish.own, shared)
        )
        self.wish, self.name, self._model = wish, f"run '{wish.out}'", header["model"]
        self.settings = header["config"]

    def complete(self, task: Any, added: Mapping[str, Any]) -> None:
        from twinspike.continuing import same_version

        places = {"backend_options": self.wish.places} if self.wish.places else {}
        unchanged(self.settings, self.wish.config, self.wish.given | places, dict(added))
        same_version(self.settings, task)

    def file(self, task: Any, program: Any, metrics: Sequence[str]) -> tuple[Any, Any]:
        from twinspike.continuing import same_network

        same_network(self._model, program.network, task)
        return resumed(self.wish.out, self._changes, metrics)
