"""Devices for native's kernels: one that isn't there, and a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

import backends
from backends.native import devices
from tests.backends.native.driver import GPU, TEXT, Compile, Doubling, doubled, native


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[Doubling]:
    with doubled(monkeypatch) as found:
        yield found


@pytest.fixture(params=["double", GPU])
def on_device(request: pytest.FixtureRequest) -> Compile:
    """Compiles for a device: the one that isn't there, or a GPU."""
    if request.param == "double":
        request.getfixturevalue("double")
        return partial(native, dialect=TEXT)
    why = devices.lacking("cuda")
    if why:
        pytest.skip(why)
    return lambda network, dtype="float64": backends.get("native").compile(network, dtype=dtype, device="cuda")  # type: ignore[no-any-return, call-arg]
