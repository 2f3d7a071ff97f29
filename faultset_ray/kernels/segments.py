"""Segments of several columns put together into one, each where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

Counts = NDArray[np.int64]


def place_segments(
    pool: NDArray[np.uint32], counts: Counts, taken: Counts, to: Counts, out: NDArray[np.uint32]
) -> None:
    """Copy segments that lie one after the other to where each belongs.

    Parameters
    ----------
    pool : uint32[sum(counts)]
        May be read-only.
    counts : int64[g]
        How long each segment is.
    taken : int64[g]
        How much of each is copied, from its begin on; at most ``counts``.
    to : int64[g]
        Where in ``out`` each begins.
    out : uint32[n]
        Changed in place.
    """
    if HAVE_NUMBA:
        _place(pool, counts, taken, to, out)
        return
    steps = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    out[steps + np.repeat(to, taken)] = pool[steps + np.repeat(np.cumsum(counts) - counts, taken)]


@kernel()
def _place(pool: Any, counts: Any, taken: Any, to: Any, out: Any) -> None:
    begin = 0
    for g in range(len(counts)):
        for i in range(taken[g]):
            out[to[g] + i] = pool[begin + i]
        begin += counts[g]
