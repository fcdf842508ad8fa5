"""Batches of examples of similar length, so that little of a batch is what fills its shorter examples up.

Groups of several batches, each sorted by length: what torchtext calls a pool, and transformers' `group_by_length` a mega-batch.
"""

from __future__ import annotations

import numpy as np

from neuro.options import counts
from neuro.protocols import Array


def batches(lengths: Array, batch: int, buckets: int, rng: np.random.Generator) -> list[Array]:
    """One epoch: every example once, as the indices [example] of each batch, in an order that follows from rng alone.

    lengths: int [example]. buckets: batches whose examples are sorted by length together; 0 or 1 for none, which draws the examples' order and nothing else. What
    fills no batch is drawn from all lengths, so that its examples, which weigh more, are no longer or shorter than others.
    """
    order = rng.permutation(len(lengths))
    whole = len(order) - len(order) % batch
    if buckets > 1:
        for group in np.split(order[:whole], range(batch * buckets, whole, batch * buckets)):
            group[:] = group[np.argsort(lengths[group], kind="stable")]
    found = [order[first : first + batch] for first in range(0, len(order), batch)]
    return [found[k] for k in rng.permutation(len(found))] if buckets > 1 else found


def check_buckets(buckets: int) -> None:
    """Raises OptionError on what is no number of batches, nor 0."""
    if buckets:
        counts(buckets=buckets)
