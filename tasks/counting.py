"""What a loss over the steps of sequences is divided by, and so what a part of a batch counts in the whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from neuro.options import one_of
from neuro.protocols import Array, Batch

PER = ("frame", "sequence")


def check_per(per: str) -> None:
    """Raises OptionError."""
    one_of("per", per, PER)


def number(counted: Array, sequences: int, per: str) -> int:
    """What the sum over all steps that count is divided by: their number, or that of the sequences. counted: bool, of any shape."""
    return int(np.count_nonzero(counted)) if per == "frame" else sequences


def frames(batch: Batch) -> float:
    """The steps that count, of all examples: the weight of a batch whose loss is the mean over them."""
    return float(np.count_nonzero(np.asarray(batch.mask)))


def divided(each: Any, counted: Array, sequences: int, per: str) -> Any:
    """The sum of losses divided by their number, or by that of the sequences. each: tensor, one of each step that counts."""
    return each.mean() if per == "frame" else each.sum() / number(counted, sequences, per)
