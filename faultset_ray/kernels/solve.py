"""Gaussian elimination over GF(2^8), for matrices of at most 255 rows."""

from __future__ import annotations

import numpy as np

from .gf_tables import INV, MUL, Bytes
from .jit import HAVE_NUMBA, kernel


@kernel()
def _eliminate(system: Bytes, columns: int, pivots: np.ndarray, mul: Bytes, inv: Bytes) -> int:
    """Bring ``system``'s first ``columns`` columns to reduced echelon form, in place; return the rank."""
    rank = 0
    rows, width = system.shape
    for column in range(columns):
        pivot = rank
        while pivot < rows and system[pivot, column] == 0:
            pivot += 1
        if pivot == rows:
            continue
        scale = inv[system[pivot, column]]
        for x in range(width):
            value = system[pivot, x]
            system[pivot, x] = system[rank, x]
            system[rank, x] = mul[scale, value]
        for row in range(rows):
            factor = system[row, column]
            if row != rank and factor != 0:
                for x in range(width):
                    system[row, x] ^= mul[factor, system[rank, x]]
        pivots[rank] = column
        rank += 1
        if rank == rows:
            break
    return rank


def _eliminate_numpy(system: Bytes, columns: int, pivots: np.ndarray, mul: Bytes, inv: Bytes) -> int:
    """:func:`_eliminate` with whole rows at a time, for where it is not compiled."""
    rank = 0
    for column in range(columns):
        candidates = np.flatnonzero(system[rank:, column])
        if candidates.size == 0:
            continue
        pivot = rank + int(candidates[0])
        system[[rank, pivot]] = system[[pivot, rank]]
        system[rank] = mul[inv[system[rank, column]], system[rank]]
        factors = system[:, column].copy()
        factors[rank] = 0
        system ^= mul[factors[:, None], system[rank][None, :]]
        pivots[rank] = column
        rank += 1
        if rank == system.shape[0]:
            break
    return rank


def eliminate(system: Bytes, columns: int) -> np.ndarray:
    """Bring the first ``columns`` columns of ``system`` to reduced row echelon form, in place.

    Parameters
    ----------
    system : uint8[rows, width], C-contiguous
        Overwritten. Columns past ``columns`` are right-hand sides and carried along.
    columns : int
        How many leading columns may hold pivots.

    Returns
    -------
    int64[rank]
        The pivot column of each of the first rank rows, ascending.
    """
    pivots = np.empty(min(system.shape[0], columns), dtype=np.int64)
    run = _eliminate if HAVE_NUMBA else _eliminate_numpy
    rank = run(system, columns, pivots, MUL, INV)
    return pivots[:rank]


def express(basis: Bytes, targets: Bytes) -> Bytes | None:
    """Solve X · basis = targets.

    Parameters
    ----------
    basis : uint8[b, k]
        Rows to combine, cheapest first: of dependent rows only the earlier are used.
    targets : uint8[t, k]
        Rows to make.

    Returns
    -------
    uint8[t, b] or None
        The coefficients; a column of zeros for each row that is not needed. None if a target lies
        outside the span.
    """
    count, width = basis.shape
    system = np.ascontiguousarray(np.concatenate([basis.T, targets.T], axis=1))
    pivots = eliminate(system, count)
    if system[len(pivots) :, count:].any():
        return None
    answer = np.zeros((targets.shape[0], count), dtype=np.uint8)
    answer[:, pivots] = system[: len(pivots), count:].T
    assert width >= len(pivots)
    return answer
