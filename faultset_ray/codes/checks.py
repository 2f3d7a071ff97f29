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

    def read(self) -> set[int]:
        """Return the slots that are a source of any step."""
        found = np.zeros(1 + max((int(step.max()) for step in self.sources if step.size), default=0), dtype=np.bool_)
        for step in self.sources:
            found[step] = True
        return set(np.flatnonzero(found).tolist())

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
        self._owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
        order = np.argsort(self._symbols, kind="stable")
        self._checks = self._owners[order].astype(np.int64)
        self._column_starts = np.searchsorted(self._symbols[order], np.arange(n + 1)).astype(np.int64)

    def solve(self, known: Mask) -> tuple[Program, Mask]:
        """Return the program that finds what ``known`` symbols determine, and all that is known after it."""
        found, targets, sources, _ = self._peel(known)
        if not found.all():
            self._eliminate(found, targets, sources)
        return Program(tuple(targets), tuple(sources)), found

    def of(self, symbol: int) -> list[int]:
        """Return the checks that a symbol is in."""
        found: list[int] = self._checks[self._column_starts[symbol] : self._column_starts[symbol + 1]].tolist()
        return found

    def closure(self, known: Mask, dense_max: int) -> Mask:
        """Return all that is known after :meth:`solve`; without elimination if peeling leaves more than so many."""
        found, _ = self._peeled(known)
        unknown = self.n - np.count_nonzero(found)
        if 0 < unknown <= dense_max:
            _, matrix, places = self._remainder(found)
            pivots, reduced, _ = eliminate_bits(matrix, combine=False)
            found[places[pivots[reduced.sum(axis=1) == 1]]] = True
        return found

    def agreement(self, known: Mask) -> tuple[Program, tuple[int, ...]]:
        """Return a program, and those of its slots that are zero if, and only if, ``known`` symbols are of one word.

        No slots if those symbols are independent: then any bytes agree.
        """
        found, targets, sources, spare = self._peel(known)
        sums = []
        for check in spare.tolist():
            row = self.rows[check]
            targets.append(self.n + check)
            sources.append(row[found[row]])
            if found[row].all():
                sums.append(self.n + check)
        if not found.all():
            left, matrix, _ = self._remainder(found)
            pivots, _, combination = eliminate_bits(matrix)
            for number, some in enumerate(combination[len(pivots) :]):
                targets.append(self.n + len(self.rows) + number)
                sources.append(self.n + left[some])
                sums.append(targets[-1])
        return Program(tuple(targets), tuple(sources)).only(sums), tuple(sums)

    def _peel(self, known: Mask) -> tuple[Mask, list[int], list[Ints], Ints]:
        """Return what peeling finds, the steps to it, and the checks that no step took."""
        found, used = self._peeled(known)
        targets, sources = [], []
        for check, symbol in used.T.tolist():
            row = self.rows[check]
            targets.append(symbol)
            sources.append(row[row != symbol])
        spare = np.ones(len(self.rows), dtype=np.bool_)
        spare[used[0]] = False
        return found, targets, sources, np.flatnonzero(spare)

    def _peeled(self, known: Mask) -> tuple[Mask, Ints]:
        """Return what peeling finds, and for each symbol found, in order, the check and the symbol."""
        found = known.copy()
        used = np.empty((2, len(self.rows)), dtype=np.int64)
        steps = peel(self._starts, self._symbols, self._column_starts, self._checks, found, used)
        return found, used[:, :steps]

    def _remainder(self, found: Mask) -> tuple[Ints, Mask, Ints]:
        """Return what peeling left: checks, the symbols not found, and which check holds which of them."""
        unknown = np.flatnonzero(~found)
        place = np.zeros(self.n, dtype=np.int64)
        place[unknown] = np.arange(unknown.size)
        open_ = ~found[self._symbols]
        owners = self._owners[open_]
        left = np.unique(owners)
        matrix = np.zeros((left.size, unknown.size), dtype=np.bool_)
        matrix[np.searchsorted(left, owners), place[self._symbols[open_]]] = True
        return left, matrix, unknown

    def _eliminate(self, found: Mask, targets: list[int], sources: list[Ints]) -> None:
        """Add the steps for what peeling left, and mark it found."""
        left, matrix, unknown = self._remainder(found)
        pivots, reduced, combination = eliminate_bits(matrix)
        solved = np.flatnonzero(reduced.sum(axis=1) == 1)
        for index in np.flatnonzero(combination[solved].any(axis=0)).tolist():
            row = self.rows[int(left[index])]
            targets.append(self.n + index)
            sources.append(row[found[row]])
        for index in solved.tolist():
            targets.append(int(unknown[pivots[index]]))
            sources.append(self.n + np.flatnonzero(combination[index]))
        found[unknown[pivots[solved]]] = True
