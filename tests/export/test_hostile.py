"""More than fifty broken or hostile files: each a clear error that names its culprit, at once, and nothing is run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from neuro.export import ForeignFileError
from neuro.export.fixture import read_fixture
from neuro.export.nir.file import read_file
from neuro.export.nir.importer import import_nir
from neuro.export.nir.lint import undetermined
from tests.export import hostile

SECONDS = 5.0  # most of them take milliseconds; a hang takes for ever


@pytest.mark.parametrize("name", hostile.NIR)
def test_nir_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    damage, message = hostile.NIR[name]
    path = hostile.whole(tmp_path / "net.nir")
    import_nir(path)  # it is good before
    damage(path)
    start = time.perf_counter()
    with pytest.raises(ForeignFileError, match=message):
        import_nir(path)
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("name", hostile.FIXTURE)
def test_fixture_is_refused_by_name(name: str, tmp_path: Path) -> None:
    damage, message = hostile.FIXTURE[name]
    path = tmp_path / "fixture.npz"
    hostile.saved(about=hostile.META, **{"input:x": hostile.SPIKES})(path)
    read_fixture(path)
    damage(path)
    with pytest.raises(ForeignFileError, match=message):
        read_fixture(path)


def test_there_are_enough_of_them() -> None:
    assert len(hostile.NIR) + len(hostile.FIXTURE) >= 50


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_give_an_error_or_a_network(seed: int, tmp_path: Path) -> None:
    """Any byte may be wrong: the file is refused, or what it now says is read; nothing else is raised."""
    path = hostile.whole(tmp_path / "net.nir")
    data, random = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in random.integers(0, len(data), 20):
        data[place] = random.integers(256)
    path.write_bytes(bytes(data))
    for read in (import_nir, undetermined):
        try:
            read(path)
        except ForeignFileError as error:
            assert error.where and error.field and error.why


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_in_a_fixture(seed: int, tmp_path: Path) -> None:
    path, random = tmp_path / "fixture.npz", np.random.default_rng(seed)
    hostile.saved(about=hostile.META, **{"input:x": random.integers(0, 2, (2, 50, 40), np.uint8)})(path)
    data = bytearray(path.read_bytes())
    for place in random.integers(0, len(data), 10):
        data[place] = random.integers(256)
    path.write_bytes(bytes(data))
    try:
        read_fixture(path)
    except ForeignFileError as error:
        assert error.where and error.field and error.why


def test_a_limit_on_all_arrays(tmp_path: Path) -> None:
    path = hostile.whole(tmp_path / "net.nir")
    with pytest.raises(ForeignFileError, match="past 50 bytes"):
        read_file(path, limit=50)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        import_nir(tmp_path / "none.nir")
    with pytest.raises(IsADirectoryError):
        import_nir(tmp_path)
