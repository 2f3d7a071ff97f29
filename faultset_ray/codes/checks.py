"""Sparse parity checks over GF(2), and the XOR programs that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faultset_ray.kernels.peel import Ints, eliminate_bits, peel

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Program:
    """Steps in order: slot ``targets[i]`` becomes the XOR of ``sources[i]``.

    Slots 0 … n-1 are symbols, those after them scratch.
    """

    targets: tuple[int, ...]
    sources: tuple[Ints, ...]

    def only(self, wanted: Iterable[int]) -> Program:
        """Return the steps that the slots ``wanted`` depend on."""
        needed = set(wanted)
        kept = []
        for step in range(len(self.targets) - 1, -1, -1):
            if self.targets[step] in needed:
                needed.update(self.sources[step].tolist())
                kept.append(step)
        kept.reverse()
        return Program(tuple(self.targets[step] for step in kept), tuple(self.sources[step] for step in kept))


class Checks:
    """A sparse binary parity-check matrix.

    Parameters
    ----------
    n : int
        Symbols.
    rows : one sequence of distinct symbols a check
    """

    def __init__(self, n: int, rows: Sequence[Sequence[int]]) -> None:
        self.n = n
        self.rows = [np.array(row, dtype=np.int64) for row in rows]
        self._starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        self._symbols = np.concatenate(self.rows)
        owner = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        order = np.argsort(self._symbols, kind="stable")
        self._checks = owner[order].astype(np.int64)
        self._column_starts = np.searchsorted(self._symbols[order], np.arange(n + 1)).astype(np.int64)

    def solve(self, known: Mask) -> tuple[Program, Mask]:
        """Return the program that finds what ``known`` symbols determine, and all that is known after it."""
        found = known.copy()
        used = np.empty((2, len(self.rows)), dtype=np.int64)
        steps = peel(self._starts, self._symbols, self._column_starts, self._checks, found, used)
        targets, sources = [], []
        for check, symbol in used[:, :steps].T.tolist():
            row = self.rows[check]
            targets.append(symbol)
            sources.append(row[row != symbol])
        if not found.all():
            self._eliminate(found, targets, sources)
        return Program(tuple(targets), tuple(sources)), found

    def _eliminate(self, found: Mask, targets: list[int], sources: list[Ints]) -> None:
        """Add the steps for what peeling left, and mark it found."""
        unknown = np.flatnonzero(~found)
        place = np.zeros(self.n, dtype=np.int64)
        place[unknown] = np.arange(unknown.size)
        left = [check for check, row in enumerate(self.rows) if not found[row].all()]
        matrix = np.zeros((len(left), unknown.size), dtype=np.bool_)
        for index, check in enumerate(left):
            row = self.rows[check]
            matrix[index, place[row[~found[row]]]] = True
        pivots, reduced, combination = eliminate_bits(matrix)
        solved = np.flatnonzero(reduced.sum(axis=1) == 1)
        for index in np.flatnonzero(combination[solved].any(axis=0)).tolist():
            row = self.rows[left[index]]
            targets.append(self.n + index)
            sources.append(row[found[row]])
        for index in solved.tolist():
            targets.append(int(unknown[pivots[index]]))
            sources.append(self.n + np.flatnonzero(combination[index]))
        found[unknown[pivots[solved]]] = True
