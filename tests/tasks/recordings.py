"""Tests of tasks on recordings that may be missing."""

from __future__ import annotations

from typing import Any

import pytest

import tasks
from neuro.options import OptionError

LACKS = ("there is no file", "there is no program", "install the extra")


def needs(name: str, **options: Any) -> None:
    """Skips the test, with the reason, where a task's files are missing, or the program or package that makes them."""
    try:
        tasks.get(name, **options).test_batch()
    except (OptionError, tasks.UnknownTaskError) as error:
        if not any(lacks in str(error) for lacks in LACKS):
            raise
        pytest.skip(str(error))
