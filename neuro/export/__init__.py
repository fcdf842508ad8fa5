"""Files for other simulators and chips. An exporter writes what its format can express and refuses the rest by name."""

from __future__ import annotations


class ExportError(Exception):
    """A network that a format can't express. where: population, projection or input; field: what doesn't fit."""

    def __init__(self, where: str, field: str, why: str) -> None:
        self.where, self.field, self.why = where, field, why
        super().__init__(f"can't export {where}, {field}: {why}")


class ForeignFileError(Exception):
    """A file that can't be read. where: the file or a node of it; field: what is wrong there."""

    def __init__(self, where: str, field: str, why: str) -> None:
        self.where, self.field, self.why = where, field, why
        super().__init__(f"can't read {where}, {field}: {why}")
