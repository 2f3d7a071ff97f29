"""Segments of a column in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

Counts = NDArray[np.int64]


def reorder_segments(
    pool: NDArray[np.uint32], counts: NDArray[np.integer[Any]], order: NDArray[np.uint32]
) -> tuple[Counts, NDArray[np.uint32]]:
    """Put segments that lie one after the other into an order.

    Parameters
    ----------
    pool : uint32[sum(counts)]
        May be read-only.
    counts : integer[g]
        How long each segment is.
    order : uint32[g]
        Which segment comes first, which next; each once.

    Returns
    -------
    starts : int64[g + 1]
        Where each begins in the order.
    out : uint32[sum(counts)]
    """
    starts = np.zeros(len(order) + 1, np.int64)
    if not HAVE_NUMBA:
        taken, begins = counts[order], np.cumsum(counts, dtype=np.int64) - counts
        np.cumsum(taken, out=starts[1:])
        return starts, pool[np.arange(starts[-1]) + np.repeat(begins[order] - starts[:-1], taken)]
    out = np.empty_like(pool)
    narrow = counts if counts.dtype == np.uint8 else counts.astype(np.int64)  # two kernels are enough
    _reorder(pool, narrow, order, np.empty(len(counts), np.int64), starts, out)
    return starts, out


@kernel()
def _reorder(pool: Any, counts: Any, order: Any, begins: Any, starts: Any, out: Any) -> None:
    begin = 0
    for g in range(len(counts)):
        begins[g] = begin
        begin += counts[g]
    end = 0
    for place in range(len(order)):
        g = order[place]
        begin = begins[g]
        for i in range(counts[g]):
            out[end + i] = pool[begin + i]
        end += counts[g]
        starts[place + 1] = end
