"""Networks from files that declare more than they hold: refused by name, before anything is allocated."""

from __future__ import annotations

import copy
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neuro import ModelError
from neuro.io.serialisation import from_json, read_network

NETWORK: dict[str, Any] = {
    "schema": 1,
    "dt": "1 ms",
    "inputs": [{"name": "x", "size": 4}],
    "populations": [{"name": "a", "neuron": "lif", "size": 3}],
    "projections": [{"name": "xa", "pre": "x", "post": "a", "synapse": "pulse", "weights": "1 nA"}],
}
Change = Callable[[dict[str, Any]], Any]


def array(shape: Any, body: str = "", dtype: str = "float64") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "base64": body}


def weights(values: Any) -> Change:
    return lambda data: data["projections"][0].update(weights={"values": values, "unit": "nA"})


def pairs(pre: Any) -> Change:
    return lambda data: data["projections"][0].update(connectivity={"type": "Pairs", "pre": pre, "post": [0]})


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


HOSTILE: dict[str, tuple[Change, str]] = {
    "terabytes of weights": (weights(array([10**12])), "'xa', weights: the bytes of an array don't fit its shape"),
    "more than any machine": (weights(array([2**40, 2**40])), "'xa', weights: the bytes of an array don't fit"),
    "no values, endless axes": (weights(array([0, 2**62, 2**62])), "'xa', weights: the bytes of an array don't fit"),
    "a hundred axes": (weights(array([1] * 100, "AAAAAAAA8D8=")), "'xa', weights: the bytes of an array don't fit"),
    "a negative axis": (weights(array([-1])), "is not a shape"),
    "axes of fractions": (weights(array([1.5])), "is not a shape"),
    "a shape of text": (weights(array("3")), "is not a shape"),
    "bytes that are none": (weights(array([1], "?")), "the bytes of an array don't fit"),
    "lists in lists": (weights(nested(90)), "a list of numbers was expected"),
    "rows of unequal length": (weights([[1, 2], [3]]), "a list of numbers was expected"),
    "terabytes of indices": (pairs(array([10**12], dtype="int64")), "'xa', connectivity, pre: the bytes of an array"),
    "an index without end": (pairs([10**30]), "'xa', connectivity, pre: a list of whole numbers was expected"),
    "an index of a terabyte": (pairs([10**12]), "projection 'xa': a pre index is outside 0..3"),
    "terabytes of time constants": (
        lambda data: data["populations"][0].update(parameters={"tau_m": {"values": array([10**12]), "unit": "ms"}}),
        "'a', parameters 'tau_m': the bytes of an array",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_network_is_refused_before_anything_is_allocated(name: str) -> None:
    change, message = HOSTILE[name]
    from_json(json.dumps(NETWORK))  # it is good before, and the library is loaded
    data = copy.deepcopy(NETWORK)
    change(data)
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match=message):
            from_json(json.dumps(data))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_number_of_five_thousand_digits() -> None:
    with pytest.raises(ModelError, match="this is not JSON"):
        from_json('{"dt": ' + "9" * 5000 + "}")


def test_files_that_hold_files_many_times_are_bounded(tmp_path: Path) -> None:
    """Seven levels of ten parts each would be ten million networks, from a few hundred bytes."""
    for level in range(7):
        parts = "\n".join(f'[parts.p{i}]\nfile = "n{level + 1}.toml"' for i in range(10))
        (tmp_path / f"n{level}.toml").write_text(f'dt = "1 ms"\n{parts}\n')
    (tmp_path / "n7.toml").write_text('dt = "1 ms"\npopulations = [{name = "a", neuron = "lif", size = 1}]\n')
    with pytest.raises(ModelError, match="more than 2000 parts in all"):
        read_network(tmp_path / "n0.toml")
