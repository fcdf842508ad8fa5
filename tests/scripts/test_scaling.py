"""The model of what an update costs: its terms, its fit, what follows; the page's tables are those of its measurements; processes that meet to be timed."""

from __future__ import annotations

import json
import os
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro import RunError
from twinspike import bench, cli
from twinspike.scaling import cost, page
from twinspike.scaling.cost import Link, Row
from twinspike.scaling.group import Group

DOCS = Path(__file__).parents[2] / "docs"
VALUES = {
    "base: small": 2e-3, "example: small": 1e-4, "base: large": 0.5, "example: large": 1e-2, "weight": 3e-9, "message": 4e-5, "byte": 5e-10,
    "log": 1e-3, "kept": 2e-8, "search": 1e-3, "candidate: small": 0.1, "number": 8e-9, "call: ray": 1e-3, "shared: ray": 2e-9,
}  # fmt: skip
WEIGHTS = {"small": 10_000, "large": 10_000_000}


def invented() -> dict[str, Any]:
    """Measurements of a machine whose terms are known."""

    def took(terms: cost.Terms) -> list[float]:
        return [factor * sum(VALUES[n] * c for n, c in terms.items()) for factor in (0.5, 1.0, 3.0)]

    updates = [
        {"case": c, "weights": n, "steps": 10, "batch": b, "processes": p, "seconds": took(cost.gradient_terms(c, n, b, p)), "communication": [0.1] * 3, "bytes": 4 * n}
        for c, n in WEIGHTS.items() for b in (16, 64) for p in (1, 2)
    ]  # fmt: skip
    sums = [
        {"processes": p, "bytes": s, "seconds": took(cost.sum_terms(s, p))} for s in (4096, 40_000_000) for p in (2, 4)
    ]
    sums[1]["seconds"] = [9.0] * 3  # four processes: not in the fit
    searches = [
        {"case": "small", "weights": 10_000, "steps": 10, "batch": 8, "candidates": c, "workers": w, "engine": e, "seconds": took(cost.population_terms("small", 10_000, c, w, e))}
        for c in (8, 32) for w, e in ((1, "joblib"), (2, "ray"))
    ]  # fmt: skip
    return {
        "updates": updates, "sums": sums, "searches": searches,
        "writing": [{"weights": n, "seconds": took(cost.writing_terms(n))} for n in WEIGHTS.values()],
        "asking": [{"weights": 10_000, "candidates": 64, "seconds": took({"number": 640_000})}],
        "calls": [{"engine": "ray", "calls": 100, "seconds": took({"call: ray": 100})}],
        "sending": [{"engine": "ray", "bytes": 2**24, "calls": 4, "seconds": took({"shared: ray": 2**24, "call: ray": 4})}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def fit() -> cost.Fit:
    return cost.fitted(cost.rows_of(invented()))


def test_the_fit_finds_the_terms_of_medians(fit: cost.Fit) -> None:
    assert fit.values.keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert fit.values[name] == pytest.approx(value, rel=1e-6), name
    outside = [(row, error) for row, error in fit.errors() if not row.fitted]
    assert [error for row, error in fit.errors() if row.fitted] == pytest.approx([1.0] * (len(fit.rows) - 2))
    assert len(outside) == 2 and outside[0][1] == pytest.approx((6 * 4e-5 + 1.5 * 4096 * 5e-10) / 9)


def test_no_term_is_negative() -> None:
    rows = [Row("", "", {"a": 1.0, "b": count}, seconds, 1) for count, seconds in ((1.0, 3.0), (2.0, 2.0), (3.0, 1.0))]
    found = cost.fitted(rows).values
    assert found["b"] == 0 and found["a"] > 0


def test_updates_by_processes_are_the_sum_of_their_terms(fit: cost.Fit) -> None:
    n, batch, processes, link = WEIGHTS["large"], 100, 8, Link(10)
    ring = 14 * 4e-5 + 14 / 8 * 4 * n * (5e-10 + 8 / 10e9)
    wanted = 0.5 + 1e-2 * ceil(100 / 8) + 1e-3 + 2e-8 * n + 3e-9 * n + ring
    seconds, communication = cost.training(fit, "large", n, batch, processes, link)
    assert (seconds, communication) == (pytest.approx(wanted), pytest.approx(ring))
    own, _ = cost.training(fit, "large", n, batch, processes, link, growing=True)
    assert own == pytest.approx(wanted + 1e-2 * (100 - 13))
    bare, _ = cost.training(fit, "large", n, batch, processes, Link(10, software=False))
    assert bare == pytest.approx(wanted - ring + 14 / 8 * 4 * n * 8 / 10e9)
    alone, silent = cost.training(fit, "large", n, batch, 1, link)
    assert alone == pytest.approx(0.5 + 1e-2 * 100 + 1e-3 + 2e-8 * n) and silent == 0


@pytest.mark.parametrize(("workers", "chunk"), [(2, 8), (1000, 5)])
def test_updates_by_workers_are_the_sum_of_their_terms(workers: int, chunk: int, fit: cost.Fit) -> None:
    calls = ceil(4096 / chunk)
    seconds, parts = cost.searching(fit, "small", 10_000, 4096, workers, Link(10))
    wanted = {
        "search": 1e-3,
        "candidate": 0.1 * chunk * ceil(calls / workers),
        "number": 8e-9 * 2 * 4096 * 10_000,
        "call": 1e-3 * calls,
    }
    wanted |= {"shared": 2e-9 * 80_000, "link": workers * 80_000 * 8 / 10e9}
    assert parts == pytest.approx(wanted) and seconds == pytest.approx(sum(wanted.values()))


def test_half_is_of_use_up_to_the_last_number_before_it_is_not() -> None:
    found = cost.efficiency([(1, 8.0), (2, 5.0), (4, 4.0), (8, 2.0)])
    assert found == {1: 1.0, 2: 0.8, 4: 0.5, 8: 0.5} and cost.useful(found) == 8
    assert cost.useful({1: 1.0, 2: 0.4, 4: 0.6}) == 1
    assert cost.efficiency([(1, 2.0), (4, 4.0)], growing=True) == {1: 1.0, 4: 0.5}


def test_the_page_has_the_tables_of_its_measurements() -> None:
    text = (DOCS / "scaling.md").read_text(encoding="utf-8")
    found = json.loads((DOCS / "scaling.json").read_text(encoding="utf-8"))
    assert page.BLOCK.search(text) and {m[1] for m in page.BLOCK.findall(text)} == set(page.TABLES)
    assert page.written(text, found) == text
    found["updates"][0]["seconds"] = [2 * s for s in found["updates"][0]["seconds"]]
    assert page.written(text, found) != text


def test_a_table_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(cli.UserError, match="there is no table 'weather' of measurements; known: machine, gradients"):
        page.written("<!-- measured: weather -->\n<!-- end -->", invented())
    with pytest.raises(cli.UserError, match=r"--page is of benchmark 'distributed'"):
        bench.main("training", page=tmp_path / "page.md")
    with pytest.raises(cli.UserError, match=r"there is no file '.*none.json'"):
        bench.main("distributed", measured=tmp_path / "none.json")


def met(number: int) -> tuple[int, float, int]:
    from neuro.learning.common.processes import here

    together = here()
    return together.rank, float(together.summed(np.array([number + together.rank]))[0]), os.getpid()


def broken() -> None:
    from neuro.learning.common.processes import here

    if here().rank == 1:
        raise ValueError("that one")
    here().summed(np.zeros(1))


def test_the_first_so_many_processes_meet() -> None:
    """Again and again, until one has an error, for which nobody waits."""
    with Group(2) as group:
        (first, total, own), (second, other, another) = group.call(2, met, 10)
        assert (first, second, total, other) == (0, 1, 21.0, 21.0) and own != another
        assert group.call(1, met, 10) == [(0, 10.0, own)]
        assert [found[1] for found in group.call(2, met, 1)] == [3.0, 3.0]
        with pytest.raises(RunError, match=r"process 1 of 2: (?s:.*)ValueError: that one"):
            group.call(2, broken)
