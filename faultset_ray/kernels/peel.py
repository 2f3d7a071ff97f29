"""Solving sparse systems of parity checks over GF(2): peeling, then Gaussian elimination on the rest.

A check is a set of symbols that XOR to zero. Peeling takes checks with one unknown symbol until none
is left, in time linear in the ones of the matrix; what remains is a dense system of few unknowns,
eliminated with 64 columns a word.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .jit import HAVE_NUMBA, kernel

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@kernel()
def peel(
    starts: Ints, symbols: Ints, column_starts: Ints, checks: Ints, known: npt.NDArray[np.bool_], used: Ints
) -> int:
    """Find symbols one after the other, each from a check whose others are known.

    Parameters
    ----------
    starts, symbols : int64[checks + 1], int64[ones]
        Check c holds ``symbols[starts[c]:starts[c + 1]]``.
    column_starts, checks : int64[n + 1], int64[ones]
        Symbol s is in ``checks[column_starts[s]:column_starts[s + 1]]``.
    known : bool[n]
        Updated.
    used : int64[2, checks]
        Gets, step by step, the check taken and the symbol found.

    Returns
    -------
    int
        Steps.
    """
    count = starts.size - 1
    unknown = np.zeros(count, dtype=np.int64)
    queue = np.empty(count, dtype=np.int64)
    length = 0
    for check in range(count):
        for place in range(starts[check], starts[check + 1]):
            if not known[symbols[place]]:
                unknown[check] += 1
        if unknown[check] == 1:
            queue[length] = check
            length += 1
    steps = 0
    while length:
        length -= 1
        check = queue[length]
        if unknown[check] != 1:
            continue
        symbol = -1
        for place in range(starts[check], starts[check + 1]):
            if not known[symbols[place]]:
                symbol = symbols[place]
        known[symbol] = True
        used[0, steps] = check
        used[1, steps] = symbol
        steps += 1
        for place in range(column_starts[symbol], column_starts[symbol + 1]):
            other = checks[place]
            unknown[other] -= 1
            if unknown[other] == 1:
                queue[length] = other
                length += 1
    return steps


@kernel()
def _eliminate(matrix: Words, columns: int, pivots: Ints) -> int:
    rows, words = matrix.shape
    rank = 0
    for column in range(columns):
        word, bit = column >> 6, np.uint64(column & 63)
        one = np.uint64(1)
        pivot = rank
        while pivot < rows and (matrix[pivot, word] >> bit) & one == 0:
            pivot += 1
        if pivot == rows:
            continue
        for x in range(words):
            value = matrix[pivot, x]
            matrix[pivot, x] = matrix[rank, x]
            matrix[rank, x] = value
        for row in range(rows):
            if row != rank and (matrix[row, word] >> bit) & one != 0:
                for x in range(words):
                    matrix[row, x] ^= matrix[rank, x]
        pivots[rank] = column
        rank += 1
        if rank == rows:
            break
    return rank


def _eliminate_numpy(matrix: Words, columns: int, pivots: Ints) -> int:
    rank, one = 0, np.uint64(1)
    for column in range(columns if len(matrix) else 0):
        ones = matrix[:, column >> 6] >> np.uint64(column & 63) & one
        pivot = rank + int(ones[rank:].argmax())
        if not ones[pivot]:
            continue
        if pivot != rank:
            row = matrix[pivot].copy()
            matrix[pivot] = matrix[rank]
            matrix[rank] = row
            ones[pivot] = ones[rank]
        ones[rank] = 0
        matrix ^= ones[:, None] * matrix[rank]
        pivots[rank] = column
        rank += 1
        if rank == matrix.shape[0]:
            break
    return rank


def eliminate_bits(
    matrix: npt.NDArray[np.bool_], *, combine: bool = True
) -> tuple[Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Bring a matrix over GF(2) to reduced row echelon form.

    Parameters
    ----------
    matrix : bool[rows, columns]
    combine : bool
        Whether ``combination`` is asked for; else it has no columns, and what it would cost is saved.

    Returns
    -------
    pivots : int64[rank]
        The pivot column of each of the first rank rows.
    reduced : bool[rank, columns]
    combination : bool[rows, rows]
        Which rows of ``matrix`` XOR to each row of ``reduced``; those after the first rank of them XOR to zero, and
        so does no other combination that is not made of these.
    """
    rows, columns = matrix.shape
    width = columns + (rows if combine else 0)
    bits = np.zeros((rows, -(-width // 64) * 64), dtype=np.uint8)
    bits[:, :columns] = matrix
    if combine:
        bits[np.arange(rows), columns + np.arange(rows)] = 1
    words = np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view(np.uint64)
    pivots = np.empty(min(rows, columns), dtype=np.int64)
    run = _eliminate if HAVE_NUMBA else _eliminate_numpy
    rank = run(words, columns, pivots)
    whole = np.unpackbits(words.view(np.uint8), axis=1, bitorder="little", count=width).astype(np.bool_)
    return pivots[:rank], whole[:rank, :columns], whole[:, columns:]
