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
Narrow = NDArray[np.uint32]

THREAD_NODES_MIN = 1 << 16
"""One more thread for each so many nodes; on fewer it would cost more than it saves."""
_SAMPLES = 256
"""Latencies looked at for each band."""
_MOVES_PER_NODE = 8
_KEY_BITS = 63
"""Of the 64: a shift by all 64 bits is undefined."""
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
    limit = _bits(threshold)
    threads = min(threads, len(latency) // THREAD_NODES_MIN)
    if threads < 2:
        return _select_band(latency, starts, np.uint64(0), limit)[0]
    bands = _bands(latency, limit, threads)
    with ThreadPoolExecutor(len(bands)) as pool:  # kernels and numpy's sort hold no lock
        return np.concatenate(list(pool.map(lambda band: _select_band(latency, starts, *band)[0], bands)))


def select_grouped(
    latency: Floats, order: Indices | Narrow, starts: Indices | Narrow, threshold: float
) -> tuple[Indices, Indices]:
    """Return the survivors of every group, group after group.

    Parameters
    ----------
    latency : float64[n]
        Not negative; NaN never survives. May be read-only.
    order : int64[p] or uint32[p]
        Indices into ``latency``, group after group.
    starts : int64[g + 1] or uint32[g + 1]
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
    wide = starts.astype(np.int64, copy=False)
    positions, counts = _select_band(latency.take(order), wide, np.uint64(0), _bits(threshold))
    return order.take(positions).astype(np.int64, copy=False), counts


def select_numbered(latency: Floats, number: NDArray[np.int32], groups: int, threshold: float) -> Indices:
    """Return the survivors of every group, group after group: as :func:`select_grouped`, without a grouping.

    Parameters
    ----------
    latency, number : float64[n], int32[n]
        The latency, and the group, 0 to ``groups`` - 1, of each node.
    groups : int
    threshold : float

    Returns
    -------
    int64[m]
        Indices of the survivors, groups ascending, in each ascending by latency, ties in input order.
    """
    bits, limit = latency.view(np.uint64), _bits(threshold)
    survivors, *spread = _survey(bits, np.uint64(0), limit)
    if len(bits).bit_length() + groups.bit_length() < _KEY_BITS:
        layout = _Layout.of(len(bits), groups, *spread)
        keys = np.empty(survivors + 1, np.uint64)  # + 1: see _pack_numbered
        _pack_numbered(bits, number, limit, *layout[:4], keys)
        keys = keys[:-1]
        keys.sort()
        positions = np.empty(survivors, np.int64)
        if _unpack(keys, bits, layout.position_mask, layout.exact, positions):
            return positions
    kept = np.flatnonzero(latency <= threshold)
    return kept[np.lexsort((latency[kept], number[kept]))]


def _bits(threshold: float) -> np.uint64:
    return np.float64(threshold).view(np.uint64) & _MAGNITUDE


def _bands(latency: Floats, limit: np.uint64, threads: int) -> list[tuple[np.uint64, np.uint64]]:
    """Cut the latencies up to ``limit`` into bands of about as many survivors, judged by a sample."""
    sample = latency[:: len(latency) // (_SAMPLES * threads)].view(np.uint64) & _MAGNITUDE
    sample = np.sort(sample[sample <= limit])
    tops = [*sample[np.arange(1, threads) * len(sample) // threads], limit] if len(sample) else [limit]
    floors = [np.uint64(0), *(top + np.uint64(1) for top in tops[:-1])]
    return list(zip(floors, tops, strict=True))


def _select_band(latency: Floats, starts: Indices, floor: np.uint64, limit: np.uint64) -> tuple[Indices, Indices]:
    """Select where ``floor`` ≤ latency ≤ ``limit``, both given as bits; the groups lie one after the other."""
    if HAVE_NUMBA and len(latency).bit_length() + len(starts).bit_length() < _KEY_BITS:
        bits = latency.view(np.uint64)
        survivors, *spread = _survey(bits, floor, limit)
        layout = _Layout.of(len(bits), len(starts) - 1, *spread)
        keys, counts = np.empty(survivors + 1, np.uint64), np.empty(len(starts) - 1, np.int64)  # + 1: see _pack
        _pack(bits, starts, floor, limit, *layout[:4], keys, counts)
        keys = keys[:-1]
        keys.sort()
        positions = np.empty(survivors, np.int64)
        if _unpack(keys, bits, layout.position_mask, layout.exact, positions):
            return positions, counts
    return _lexsort(latency, starts, floor, limit)


def _lexsort(latency: Floats, starts: Indices, floor: np.uint64, limit: np.uint64) -> tuple[Indices, Indices]:
    kept = np.flatnonzero((latency >= floor.view(np.float64)) & (latency <= limit.view(np.float64)))
    group = np.searchsorted(starts, kept, side="right") - 1
    return kept[np.lexsort((latency[kept], group))], np.bincount(group, minlength=len(starts) - 1)


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
        room = _KEY_BITS - position_bits - groups.bit_length()
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
def _survey(bits: Any, floor: Any, limit: Any) -> Any:
    """Count the survivors; return also the bits of their latencies: lowest, highest and or-ed."""
    survivors, low, high, union = 0, _MAGNITUDE, np.uint64(0), np.uint64(0)
    for p in range(len(bits)):
        latency = bits[p] & _MAGNITUDE
        keep = (latency >= floor) & (latency <= limit)
        survivors += keep
        low = min(low, latency if keep else _MAGNITUDE)
        high = max(high, latency if keep else np.uint64(0))
        union |= latency if keep else np.uint64(0)
    return survivors, low, high, union


@kernel()
def _pack(
    bits: Any,
    starts: Any,
    floor: Any,
    limit: Any,
    low: Any,
    dropped: Any,
    latency_at: Any,
    group_at: Any,
    keys: Any,
    counts: Any,
) -> None:
    """Write the keys of survivors; each slot is written until a survivor takes it, so one more is needed."""
    at = 0
    for g in range(len(starts) - 1):
        before = at
        for p in range(starts[g], starts[g + 1]):
            latency = bits[p] & _MAGNITUDE
            keys[at] = np.uint64(g) << group_at | (latency - low) >> dropped << latency_at | np.uint64(p)
            at += (latency >= floor) & (latency <= limit)
        counts[g] = at - before


@kernel()
def _pack_numbered(
    bits: Any, number: Any, limit: Any, low: Any, dropped: Any, latency_at: Any, group_at: Any, keys: Any
) -> None:
    """Write the keys of survivors, as :func:`_pack`; each slot is written until a survivor takes it."""
    at = 0
    for p in range(len(bits)):
        latency = bits[p] & _MAGNITUDE
        keys[at] = np.uint64(number[p]) << group_at | (latency - low) >> dropped << latency_at | np.uint64(p)
        at += latency <= limit


@kernel()
def _unpack(keys: Any, bits: Any, position_mask: Any, exact: Any, positions: Any) -> Any:
    """Write the position in each key, exactly ordered; return False if that would move too many."""
    moves = 0
    for j in range(len(keys)):
        position = np.int64(keys[j] & position_mask)
        k = j
        if not exact:
            latency = bits[position] & _MAGNITUDE
            while k > 0 and (keys[k - 1] ^ keys[j]) <= position_mask and bits[positions[k - 1]] & _MAGNITUDE > latency:
                positions[k] = positions[k - 1]
                k -= 1
            moves += j - k
            if moves > _MOVES_PER_NODE * len(keys):
                return False
        positions[k] = position
    return True
