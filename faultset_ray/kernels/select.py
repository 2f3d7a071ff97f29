"""Which nodes survive a latency threshold, nearest first: the plain rule of failover.

The fast way sorts one integer a survivor. Non-negative float64 values are ordered like their bits, so a
key is made of the group, as many leading bits of the latency (above the lowest one) as there is room
for, and the node's position, which makes it unique and breaks ties in input order. numpy sorts uint64
with SIMD. Where two latencies of a group agree in the bits that went into the key, an insertion pass
puts them in order by their exact values; should that take long, all is sorted anew with numpy's
lexsort, which is exact and also serves where numba is not there.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

THREAD_NODES_MIN = 1 << 16
"""One more thread for each so many nodes; on fewer it would cost more than it saves."""
_SAMPLES = 256
_MOVES_PER_NODE = 8
_MAGNITUDE = np.uint64((1 << 63) - 1)
"""All bits of a float64 but the sign, so that -0.0 ranks as 0.0."""


def select(latency: Floats, threshold: float, threads: int = 1) -> Indices:
    """Return the indices of survivors, ascending by latency, ties in input order.

    Parameters
    ----------
    latency : float64[n]
        Not negative; NaN never survives. May be read-only.
    threshold : float
        Highest latency that survives; not negative, not NaN.
    threads : int
        How many threads may be used; one for each :data:`THREAD_NODES_MIN` nodes is.

    Returns
    -------
    int64[m]
    """
    starts = np.array([0, len(latency)], np.int64)
    threads = min(threads, len(latency) // THREAD_NODES_MIN)
    if threads < 2:
        return select_grouped(latency, None, starts, threshold)[0]
    bands = _bands(latency, _bits(threshold), threads)
    with ThreadPoolExecutor(len(bands)) as pool:  # kernels and numpy's sort hold no lock
        parts = pool.map(lambda band: _select_band(latency, None, starts, *band)[0], bands)
        return np.concatenate(list(parts))


def select_grouped(
    latency: Floats, order: Indices | None, starts: Indices, threshold: float
) -> tuple[Indices, Indices]:
    """Return the survivors of every group, group after group.

    Parameters
    ----------
    latency : float64[n]
        Not negative; NaN never survives. May be read-only.
    order : int64[p] or None
        Indices into ``latency``, group after group; None if the nodes themselves lie so.
    starts : int64[g + 1]
        Group g is ``order[starts[g]:starts[g + 1]]``.
    threshold : float
        Highest latency that survives; not negative, not NaN.

    Returns
    -------
    indices : int64[m]
        Indices into ``latency``; in each group ascending by latency, ties in the order of ``order``.
    counts : int64[g]
        Survivors of each group.
    """
    return _select_band(latency, order, starts, np.uint64(0), _bits(threshold))


def _bits(threshold: float) -> np.uint64:
    return np.float64(threshold).view(np.uint64) & _MAGNITUDE


def _bands(latency: Floats, limit: np.uint64, threads: int) -> list[tuple[np.uint64, np.uint64]]:
    """Cut the latencies up to ``limit`` into bands of about as many survivors, judged by a sample."""
    sample = latency[:: len(latency) // (_SAMPLES * threads)].view(np.uint64) & _MAGNITUDE
    sample = np.sort(sample[sample <= limit])
    tops = [*sample[np.arange(1, threads) * len(sample) // threads], limit] if len(sample) else [limit]
    floors = [np.uint64(0), *(top + np.uint64(1) for top in tops[:-1])]
    return list(zip(floors, tops, strict=True))


def _select_band(
    latency: Floats, order: Indices | None, starts: Indices, floor: np.uint64, limit: np.uint64
) -> tuple[Indices, Indices]:
    """Select where ``floor`` ≤ latency ≤ ``limit``, both given as bits."""
    if HAVE_NUMBA:
        bits = latency.view(np.uint64)
        counts = np.empty(len(starts) - 1, np.int64)
        layout = _Layout.of(int(starts[-1]), len(counts), *_survey(bits, order, starts, floor, limit, counts))
        keys = np.empty(counts.sum() + 1, np.uint64)  # one more: see _pack
        _pack(bits, order, starts, floor, limit, *layout[:4], keys)
        keys = keys[:-1]
        keys.sort()
        indices = np.empty(len(keys), np.int64)
        if _unpack(keys, bits, order, layout.position_mask, layout.exact, indices):
            return indices, counts
    return _lexsort(latency, order, starts, floor, limit)


def _lexsort(
    latency: Floats, order: Indices | None, starts: Indices, floor: np.uint64, limit: np.uint64
) -> tuple[Indices, Indices]:
    ordered = latency if order is None else latency[order]
    kept = np.flatnonzero((ordered >= floor.view(np.float64)) & (ordered <= limit.view(np.float64)))
    group = np.searchsorted(starts, kept, side="right") - 1
    indices = kept[np.lexsort((ordered[kept], group))]
    counts = np.bincount(group, minlength=len(starts) - 1)
    return indices if order is None else order[indices], counts


class _Layout(NamedTuple):
    """A key, from the top: group, latency less the lowest one (its last bits dropped), position.

    It is unpacked before it goes to a kernel: numba's cache on disk would not survive a change of this class.
    """

    low: np.uint64
    dropped: np.uint64
    """How many bits of the latency did not go into the key."""
    latency_at: np.uint64
    group_at: np.uint64
    exact: bool
    """Whether the dropped bits are zero throughout."""

    @property
    def position_mask(self) -> np.uint64:
        """Bits of a key that hold the position."""
        return np.uint64((1 << int(self.latency_at)) - 1)

    @classmethod
    def of(cls, positions: int, groups: int, low: int, high: int, union: int) -> _Layout:
        """Share the 64 bits out; the other arguments are what :func:`_survey` returns."""
        position_bits = positions.bit_length()
        room = max(0, 63 - position_bits - (groups - 1).bit_length())
        latency_bits = max(0, int(high) - int(low)).bit_length()
        dropped = max(0, latency_bits - room)
        return cls(
            np.uint64(low),
            np.uint64(dropped),
            np.uint64(position_bits),
            np.uint64(position_bits + latency_bits - dropped),
            int(union) & ((1 << dropped) - 1) == 0,
        )


@kernel()
def _survey(bits: Any, order: Any, starts: Any, floor: Any, limit: Any, counts: Any) -> Any:
    """Count the survivors of each group; return the bits of all latencies: lowest, highest and or-ed."""
    low, high, union = _MAGNITUDE, np.uint64(0), np.uint64(0)
    for g in range(len(starts) - 1):
        kept = 0
        for p in range(starts[g], starts[g + 1]):
            latency = bits[p if order is None else order[p]] & _MAGNITUDE
            keep = (latency >= floor) & (latency <= limit)
            kept += keep
            low = min(low, latency if keep else _MAGNITUDE)
            high = max(high, latency if keep else np.uint64(0))
            union |= latency if keep else np.uint64(0)
        counts[g] = kept
    return low, high, union


@kernel()
def _pack(
    bits: Any,
    order: Any,
    starts: Any,
    floor: Any,
    limit: Any,
    low: Any,
    dropped: Any,
    latency_at: Any,
    group_at: Any,
    keys: Any,
) -> None:
    """Write the keys of survivors; each slot is written until a survivor takes it, so one more is needed."""
    at = 0
    for g in range(len(starts) - 1):
        for p in range(starts[g], starts[g + 1]):
            latency = bits[p if order is None else order[p]] & _MAGNITUDE
            keys[at] = np.uint64(g) << group_at | (latency - low) >> dropped << latency_at | np.uint64(p)
            at += (latency >= floor) & (latency <= limit)


@kernel()
def _unpack(keys: Any, bits: Any, order: Any, position_mask: Any, exact: Any, indices: Any) -> Any:
    """Write the index of each key, exactly ordered; return False if that would move too many."""
    moves = 0
    for j in range(len(keys)):
        p = np.int64(keys[j] & position_mask)
        index = p if order is None else order[p]
        k = j
        if not exact:
            latency = bits[index] & _MAGNITUDE
            while k > 0 and (keys[k - 1] ^ keys[j]) <= position_mask and bits[indices[k - 1]] & _MAGNITUDE > latency:
                indices[k] = indices[k - 1]
                k -= 1
            moves += j - k
            if moves > _MOVES_PER_NODE * len(keys):
                return False
        indices[k] = index
    return True
