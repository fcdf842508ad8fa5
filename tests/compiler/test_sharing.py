"""Work in parts: in order, by threads that are lent, little ahead of whoever asks."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from neuro.compiler.sharing import lent, mapped, spans


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_little_ahead(threads: int) -> None:
    taken: list[int] = []

    def items() -> object:
        for n in range(50):
            taken.append(n)
            yield n

    with lent(threads):
        for n, square in enumerate(mapped(lambda n: n * n, items())):  # type: ignore[arg-type]
            assert square == n * n and len(taken) <= n + 1 + threads
    assert taken == list(range(50))


def test_threads_are_used_where_they_are_lent_and_not_within_them() -> None:
    here = threading.current_thread()
    inner = lambda _: set(mapped(lambda _: threading.current_thread(), range(4)))
    assert set(mapped(lambda _: threading.current_thread(), range(4))) == {here}
    with lent(2):
        found = list(mapped(inner, range(4)))
    assert all(len(threads) == 1 and here not in threads for threads in found)
    assert inner(0) == {here}


def test_an_error_of_a_part_reaches_whoever_asked() -> None:
    def fails(n: int) -> int:
        if n == 3:
            raise OverflowError("three")
        return n

    with lent(2), pytest.raises(OverflowError, match="three"):
        list(mapped(fails, range(9)))


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11])
def test_spans(size: int) -> None:
    parts = list(spans(size, 5))
    assert np.array_equal(np.concatenate([np.zeros(0, int), *(np.arange(size)[p] for p in parts)]), np.arange(size))
    assert all(p.stop - p.start <= 5 for p in parts)
