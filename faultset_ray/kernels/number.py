"""Number nodes by cell, cells in order of first appearance: the quick way for up to 65,536 different ones.

Cells that differ in few bits, those of precision 3, are looked up in a table by these bits. Else in an open-addressing
hash table, at some 4 ns a node: the hash is the top of a product with an odd number (Fibonacci hashing; Knuth, TAOCP
vol. 3, 6.4). Where there are more cells, or they collide more than chance would have it, the caller groups by sorting.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

_SLOTS_BITS_MAX = 17
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio, made odd."""
_PROBES_A_NODE = 8
"""Beyond so many, cells were chosen to collide."""


class Numbered(NamedTuple):
    """Nodes by the number of their cell."""

    number: NDArray[np.int32]
    """int32[n]: which of ``cells`` each node is in."""
    cells: NDArray[np.uint64]
    """uint64[g], in order of first appearance."""


def number_cells(cells: NDArray[np.uint64]) -> Numbered | None:
    """Number equal cells of uint64[n]; None if they are too many for this way, or nothing is compiled."""
    if not HAVE_NUMBA:
        return None
    number, bits = np.empty(len(cells), np.int32), min(_SLOTS_BITS_MAX, max(4, (2 * len(cells)).bit_length()))
    varying = int(_varying(cells))
    shift = (varying & -varying).bit_length() - 1 if varying else 0
    if varying >> shift < 1 << bits - 1:
        distinct = np.empty(1 << bits - 1, np.uint64)
        slots = np.full(1 << bits - 1, -1, np.int32)
        count = _look_up(cells, np.uint64(shift), slots, number, distinct)
        return Numbered(number, distinct[:count])
    slots = np.full(1 << bits, -1, np.int32)
    keys = np.empty(1 << bits, np.uint64)
    distinct = np.empty(1 << bits - 1, np.uint64)
    count = _number(cells, np.uint64(64 - bits), keys, slots, number, distinct)
    return None if count < 0 else Numbered(number, distinct[:count])


def number_values(values: NDArray[np.uint64]) -> Numbered:
    """Number equal values of uint64[n], however many there are: as :func:`number_cells`, else ascending."""
    quick = number_cells(values)
    if quick is not None:
        return quick
    distinct, number = np.unique(values, return_inverse=True)
    return Numbered(number.astype(np.int32), distinct)


@kernel()
def _varying(cells: Any) -> Any:
    """The bits that are not the same in all cells."""
    varying = np.uint64(0)
    for i in range(len(cells)):
        varying |= cells[i] ^ cells[0]
    return varying


@kernel()
def _look_up(cells: Any, shift: Any, slots: Any, number: Any, distinct: Any) -> int:
    """As :func:`_number`, where the bits above ``shift`` that are not in all cells are as many as there are slots."""
    count = 0
    for i in range(len(cells)):
        slot = np.int64((cells[i] ^ cells[0]) >> shift)
        if slots[slot] < 0:
            slots[slot], distinct[count] = count, cells[i]
            count += 1
        number[i] = slots[slot]
    return count


@kernel()
def _number(cells: Any, shift: Any, keys: Any, slots: Any, number: Any, distinct: Any) -> int:
    """Write the numbers and the cells; return how many cells there are, -1 if too many or too many collide."""
    count, probes = 0, _PROBES_A_NODE * len(cells)
    for i in range(len(cells)):
        cell = cells[i]
        slot = np.int64((cell * GOLDEN) >> shift)
        while slots[slot] < 0 or keys[slot] != cell:
            if slots[slot] < 0:
                if count == len(distinct):
                    return -1
                keys[slot], slots[slot], distinct[count] = cell, count, cell
                count += 1
                break
            slot = (slot + 1) & (len(slots) - 1)
            probes -= 1
            if probes < 0:
                return -1
        number[i] = slots[slot]
    return count
