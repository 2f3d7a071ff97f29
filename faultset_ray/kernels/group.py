"""Group nodes by cell, groups in order of first appearance.

Up to 65,536 cells are numbered by a hash table (see :mod:`~faultset_ray.kernels.number`), and the nodes
dealt out by counting. With more, one integer a node is sorted: as many bits of the cell's hash as there is
room for, above the index of the node, which makes it unique. numpy sorts uint64 with SIMD, so this outruns a
hash table that no cache holds. The hash is a product with an odd number (Fibonacci hashing; Knuth, TAOCP
vol. 3, 6.4), so cells that differ only in bits above the index never collide; that is precision 8 for a
million nodes. Where finer cells do collide, all is grouped anew by numpy's unique, which also serves
where numba is not there.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel
from faultset_ray.kernels.number import GOLDEN, number_cells

Cells = NDArray[np.uint64]
Indices = NDArray[np.int64]
Number = TypeVar("Number", bound=np.integer[Any])

_HALF = np.uint64(32)
_LOW_HALF = np.uint64((1 << 32) - 1)


class Groups(NamedTuple):
    """Nodes by group. Group g holds the nodes ``order[starts[g]:starts[g + 1]]``, in input order."""

    order: Indices | NDArray[np.uint32]
    """int64[n]: indices of nodes, group after group; those that are kept for long are uint32."""
    starts: Indices | NDArray[np.uint32]
    """int64[g + 1], or uint32."""
    cells: Cells
    """uint64[g]: the cell of each group, in order of first appearance."""


def group_cells(cells: Cells) -> Groups:
    """Group equal cells of uint64[n]; the result's arrays are new."""
    numbered = number_cells(cells)
    if numbered is not None:
        groups = Groups(np.empty(len(cells), np.int64), np.zeros(len(numbered.cells) + 1, np.int64), numbered.cells)
        deal(numbered.number, groups.order, groups.starts, np.zeros(len(numbered.cells), np.int64))
        return groups
    return group_by_sorting(cells)


def group_by_sorting(cells: Cells) -> Groups:
    """As :func:`group_cells`, for cells that are known to be too many to be numbered."""
    if HAVE_NUMBA:
        index_mask = np.uint64((1 << len(cells).bit_length()) - 1)
        keys = np.empty(len(cells), np.uint64)
        injective = _pack(cells, index_mask, keys)
        keys.sort()
        runs = np.empty(_count_runs(keys, index_mask) + 1, np.uint64)  # one more: see _find_runs
        _find_runs(keys, index_mask, runs)
        runs = runs[:-1]
        runs.sort()
        groups = Groups(np.empty(len(cells), np.int64), np.empty(len(runs) + 1, np.int64), np.empty_like(runs))
        if _emit(keys, cells, index_mask, runs, injective, *groups):
            return groups
    return _unique(cells)


def numbers_of(groups: Groups, kind: type[Number]) -> NDArray[Number]:
    """The group of each node, as integers of a kind: ``kind[n]``."""
    numbers = np.empty(len(groups.order), kind)
    numbers[groups.order] = np.repeat(np.arange(len(groups.cells), dtype=kind), np.diff(groups.starts))
    return numbers


def _unique(cells: Cells) -> Groups:
    distinct, first, inverse = np.unique(cells, return_index=True, return_inverse=True)
    appearance = np.argsort(first)
    rank = np.empty_like(appearance)
    rank[appearance] = np.arange(len(appearance))
    group_of = rank[inverse]
    starts = np.zeros(len(distinct) + 1, np.int64)
    np.cumsum(np.bincount(group_of, minlength=len(distinct)), out=starts[1:])
    return Groups(np.argsort(group_of, kind="stable"), starts, distinct[appearance])


@kernel()
def deal(number: Any, order: Any, starts: Any, ends: Any) -> None:
    """Counting sort: write the nodes number by number, and where each number begins; ``starts`` are zeros."""
    for i in range(len(number)):
        starts[number[i] + 1] += 1
    for g in range(len(ends)):
        starts[g + 1] += starts[g]
        ends[g] = starts[g]
    for i in range(len(number)):
        order[ends[number[i]]] = i
        ends[number[i]] += 1


@kernel()
def _pack(cells: Any, index_mask: Any, keys: Any) -> Any:
    """Write the keys; return whether different cells are sure to have different hashes."""
    varying = np.uint64(0)
    for i in range(len(cells)):
        keys[i] = ((cells[i] * GOLDEN) & ~index_mask) | np.uint64(i)
        varying |= cells[i] ^ cells[0]
    return (varying & index_mask) == 0


@kernel()
def _count_runs(keys: Any, index_mask: Any) -> Any:
    """Count the runs of equal hashes."""
    runs = min(1, len(keys))
    for j in range(1, len(keys)):
        runs += (keys[j] ^ keys[j - 1]) > index_mask
    return runs


@kernel()
def _find_runs(keys: Any, index_mask: Any, runs: Any) -> None:
    """Write for each run its first node, and in the low half the place in ``keys`` where it begins.

    Each slot is written until a run takes it, so one more is needed.
    """
    previous = ~keys[0] if len(keys) else np.uint64(0)
    run = 0
    for j in range(len(keys)):
        runs[run] = (keys[j] & index_mask) << _HALF | np.uint64(j)
        run += (keys[j] ^ previous) > index_mask
        previous = keys[j]


@kernel()
def _emit(
    keys: Any, cells: Any, index_mask: Any, runs: Any, injective: Any, order: Any, starts: Any, distinct: Any
) -> bool:
    """Write the groups in the order of ``runs``; return False if a run is of more than one cell."""
    at = 0
    for g in range(len(runs)):
        cell = cells[np.int64(runs[g] >> _HALF)]
        distinct[g] = cell
        starts[g] = at
        j = begin = np.int64(runs[g] & _LOW_HALF)
        while j < len(keys) and (keys[j] ^ keys[begin]) <= index_mask:
            index = np.int64(keys[j] & index_mask)
            if not injective and cells[index] != cell:
                return False
            order[at] = index
            at += 1
            j += 1
    starts[len(runs)] = at
    return True
