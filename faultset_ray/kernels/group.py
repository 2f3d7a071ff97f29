"""Group nodes by cell, groups in order of first appearance.

The fast way sorts one integer a node: as many bits of the cell's hash as there is room for, above the
index of the node, which makes it unique. numpy sorts uint64 with SIMD, so this outruns a hash table,
all the more with many groups. The hash is a product with an odd number (Fibonacci hashing; Knuth, TAOCP
vol. 3, 6.4), so cells that differ only in bits above the index never collide; that is precision 8 for a
million nodes. Where finer cells do collide, all is grouped anew by numpy's unique, which also serves
where numba is not there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultset_ray.kernels.jit import HAVE_NUMBA, kernel

Cells = NDArray[np.uint64]
Indices = NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio, made odd."""


class Groups(NamedTuple):
    """Nodes by group. Group g holds the nodes ``order[starts[g]:starts[g + 1]]``, in input order."""

    order: Indices
    """int64[n]: indices of nodes, group after group."""
    starts: Indices
    """int64[g + 1]"""
    cells: Cells
    """uint64[g]: the cell of each group, in order of first appearance."""


def group_cells(cells: Cells) -> Groups:
    """Group equal cells of uint64[n], n ≥ 1; the result's arrays are new."""
    if HAVE_NUMBA:
        index_mask = np.uint64((1 << len(cells).bit_length()) - 1)
        keys = np.empty(len(cells), np.uint64)
        injective = _pack(cells, index_mask, keys)
        keys.sort()
        first, begins = _runs(keys, index_mask)
        if injective or _is_uniform(keys, cells, index_mask, begins):
            return Groups(*_emit(keys, cells, index_mask, begins, np.argsort(first)))
    return _unique(cells)


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
def _pack(cells: Any, index_mask: Any, keys: Any) -> Any:
    """Write the keys; return whether different cells are sure to have different hashes."""
    varying = np.uint64(0)
    for i in range(len(cells)):
        keys[i] = ((cells[i] * _GOLDEN) & ~index_mask) | np.uint64(i)
        varying |= cells[i] ^ cells[0]
    return (varying & index_mask) == 0


@kernel()
def _runs(keys: Any, index_mask: Any) -> Any:
    """First node of each run of equal hashes, and where in ``keys`` it begins."""
    runs = 1
    for j in range(1, len(keys)):
        runs += (keys[j] ^ keys[j - 1]) > index_mask
    first = np.empty(runs, np.int64)
    begins = np.empty(runs + 1, np.int64)
    run = 0
    for j in range(len(keys)):
        if j == 0 or (keys[j] ^ keys[j - 1]) > index_mask:
            first[run] = np.int64(keys[j] & index_mask)
            begins[run] = j
            run += 1
    begins[runs] = len(keys)
    return first, begins


@kernel()
def _is_uniform(keys: Any, cells: Any, index_mask: Any, begins: Any) -> Any:
    """Tell whether each run is of one cell."""
    for run in range(len(begins) - 1):
        cell = cells[np.int64(keys[begins[run]] & index_mask)]
        for j in range(begins[run] + 1, begins[run + 1]):
            if cells[np.int64(keys[j] & index_mask)] != cell:
                return False
    return True


@kernel()
def _emit(keys: Any, cells: Any, index_mask: Any, begins: Any, appearance: Any) -> Any:
    """Write the runs out in order of first appearance."""
    order = np.empty(len(keys), np.int64)
    starts = np.empty(len(appearance) + 1, np.int64)
    distinct = np.empty(len(appearance), np.uint64)
    at = 0
    for g in range(len(appearance)):
        begin, end = begins[appearance[g]], begins[appearance[g] + 1]
        starts[g] = at
        distinct[g] = cells[np.int64(keys[begin] & index_mask)]
        for j in range(begin, end):
            order[at] = np.int64(keys[j] & index_mask)
            at += 1
    starts[len(appearance)] = at
    return order, starts, distinct
