"""Tests of tasks on recordings that may be missing."""

from __future__ import annotations

from typing import Any

import pytest

import tasks
from neuro.options import OptionError


def needs(name: str, **options: Any) -> None:
    """Skips the test, with the reason, where a task's files are missing."""
    try:
        tasks.get(name, **options).test_batch()
    except (OptionError, tasks.UnknownTaskError) as error:
        if "there is no file" not in str(error):
            raise
        pytest.skip(str(error))
