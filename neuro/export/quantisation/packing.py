"""Binary codes as bits, eight a byte, and their products by XOR and popcount: a.w = K - 2 popcount(a xor w).

Source: Hubara et al. (2018), JMLR 18(187).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.export.quantisation.quantisers import QuantiseError

Bytes = npt.NDArray[np.uint8]
_POPCOUNT = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def pack(codes: Any) -> Bytes:
    """Bits of codes -1 and 1 [..., K] as bytes [..., ceil(K/8)], padded with zeros. Raises QuantiseError on other codes."""
    codes = np.asarray(codes)
    if not np.isin(codes, (-1, 1)).all():
        raise QuantiseError("only the codes -1 and 1 fit into one bit; quantise with kind 'binary'")
    return np.packbits(codes > 0, axis=-1)


def unpack(packed: Bytes, length: int) -> npt.NDArray[np.int64]:
    """Inverse of pack: codes [..., length]."""
    return 2 * np.unpackbits(packed, axis=-1, count=length).astype(np.int64) - 1


def binary_product(a: Bytes, w: Bytes, length: int) -> npt.NDArray[np.int64]:
    """Products [m, n] of packed rows a [m, bytes] and w [n, bytes] of `length` codes; equal pad bits cancel."""
    found = np.empty((len(a), len(w)), np.int64)
    for i, row in enumerate(a):
        found[i] = length - 2 * _POPCOUNT[row ^ w].sum(axis=-1)
    return found
