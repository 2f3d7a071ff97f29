"""The :class:`Plan` of a reconstruction: what to read, and the matrix that makes the wanted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faultset_ray.errors import InvalidShardIndex
from faultset_ray.kernels.gf_tables import Bytes

from . import check
from .engine import Folder

Rows = Mapping[int, Bytes]
"""Shards by index: each uint8[L], all of one L."""

_PARTS_MAX = 16


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What to read to make the shards ``wanted``, and how to combine it.

    ``wanted[i]`` is the XOR over j of ``matrix[i, j] · shard reads[j]`` in GF(2^8). A plan depends
    on indices only, so one plan serves all stripes of an object. It pickles.
    """

    wanted: tuple[int, ...]
    reads: tuple[int, ...]
    matrix: Bytes
    """uint8[len(wanted), len(reads)], read-only."""
    _folders: dict[tuple[int, ...], Folder] = field(default_factory=dict, repr=False)

    def folder(self, reads: tuple[int, ...] | None = None) -> Folder:
        """Return what applies the columns of ``reads``, or the whole matrix; made once."""
        part = self.reads if reads is None else reads
        found = self._folders.get(part)
        if found is None:
            columns = [self.reads.index(index) for index in part]
            found = Folder(np.ascontiguousarray(self.matrix[:, columns]))
            if len(self._folders) >= _PARTS_MAX:
                self._folders.clear()
            self._folders[part] = found
        return found

    def fold(self, rows: Rows, out: Bytes | None = None, *, accumulate: bool = False, threads: int = 1) -> Bytes:
        """Combine some or all of the reads.

        Folds over disjoint parts of :attr:`reads` XOR to the wanted shards, so that a region can
        send one partial sum a shard over its border in place of every row it holds.

        Parameters
        ----------
        rows : mapping of index to uint8[L]
            Reads, or a part of them.
        out : uint8[len(wanted), L], optional
            Where to write; must not overlap ``rows``. Made if not given.
        accumulate : bool
            XOR onto ``out`` in place of overwriting it.
        threads : int
            Share the columns between so many threads.

        Returns
        -------
        uint8[len(wanted), L]
            ``out``.

        Raises
        ------
        InvalidShardIndex
            If a row is not one of the reads.
        ShardSizeError, InputError
            If rows differ in length, or an array has the wrong type or shape.
        """
        n = 1 + max((*self.reads, *self.wanted), default=0)
        check.mapping(rows)
        for index in rows:
            if index not in self.reads:
                raise InvalidShardIndex(index, n, "not one of the plan's reads")
        checked, length = check.shard_rows(rows, n)
        if not checked and isinstance(out, np.ndarray) and out.ndim:
            length = out.shape[-1]
        target = check.output(out, (len(self.wanted), length), checked.values())
        fresh = not accumulate or out is None
        self.folder(tuple(checked)).fold(list(checked.values()), list(target), threads, accumulate=not fresh)
        return target

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.wanted, self.reads, self.matrix)
