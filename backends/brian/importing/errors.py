"""What can't come in is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neuro.language.equations import ModelError


class NotImportedError(Exception):
    """A Brian2 object that can't come in. owner: its name in Brian2; reason: why; fix: what to write instead."""

    def __init__(self, owner: str, reason: str, fix: str) -> None:
        self.owner, self.reason, self.fix = owner, reason, fix
        super().__init__(f"'{owner}' can't be imported: {reason}\n  fix: {fix}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Comes out of a worker process as it was."""
        return type(self), (self.owner, self.reason, self.fix)


@contextmanager
def refused_as(owner: str) -> Iterator[None]:
    """What the language doesn't have, with the name of the object whose text has it."""
    try:
        yield
    except ModelError as error:
        first = error.problems[0]
        said = "\n".join(str(first).splitlines()[:-1])
        raise NotImportedError(owner, said, first.fix) from error
