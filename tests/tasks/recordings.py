"""Tests of tasks on recordings that may be missing."""

from __future__ import annotations

import pytest

import tasks
from neuro.options import OptionError


def needs(name: str) -> None:
    """Skips the test, with the reason, where a task's files are missing."""
    try:
        tasks.get(name).test_batch()
    except OptionError as error:
        if "there is no file" not in str(error):
            raise
        pytest.skip(str(error))
