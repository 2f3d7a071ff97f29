"""The contract of every code: :class:`Code`, and the :class:`Plan` of a reconstruction.

A code makes ``n`` shards of ``k`` data shards of one length. Shards 0 … k-1 *are* the data
(all codes here are systematic), k … n-1 are parity. Rows are uint8 arrays; they may be read-only,
need not lie beside each other, and are never copied to be stacked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from faultset_ray.errors import InvalidShardIndex
from faultset_ray.kernels.gf_fold import fold
from faultset_ray.kernels.gf_tables import Bytes

from . import check
from .spec import Spec

Rows = Mapping[int, Bytes]
"""Shards by index: each uint8[L], all of one L."""


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

    def fold(self, rows: Rows, out: Bytes | None = None, *, accumulate: bool = False) -> Bytes:
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
        columns = {index: column for column, index in enumerate(self.reads)}
        n = 1 + max((*self.reads, *self.wanted), default=0)
        for index in rows:
            if index not in columns:
                raise InvalidShardIndex(index, n, "not one of the plan's reads")
        checked, length = check.shard_rows(rows, n)
        if not checked and isinstance(out, np.ndarray):
            length = out.shape[-1]
        target = check.output(out, (len(self.wanted), length), checked.values())
        part = self.matrix[:, [columns[index] for index in checked]]
        fold(part, list(checked.values()), target, accumulate=accumulate and out is not None)
        return target


class Code(ABC):
    """One erasure code with its parameters. Immutable; safe to use from several threads."""

    spec: str
    """Canonical text: every parameter written, keys sorted, at most 63 ASCII bytes."""
    k: int
    n: int
    options: ClassVar[Mapping[str, str]] = {}
    """Options that a spec of this code may have, with their defaults."""

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: Spec) -> Code:
        """Build the code that a parsed spec names, or raise :class:`InvalidCodeSpec`."""

    @abstractmethod
    def encode(self, data: Bytes, out: Bytes | None = None) -> Bytes:
        """Make the parity shards of a stripe.

        Parameters
        ----------
        data : uint8[k, L]
            Read only. L may be any length, 0 too.
        out : uint8[n-k, L], optional
            Where to write; rows contiguous, no overlap with ``data``. Made if not given.

        Returns
        -------
        uint8[n-k, L]
            ``out``: shards k … n-1.

        Raises
        ------
        ShardSizeError, InputError
            If an array has the wrong type or shape. Nothing was written.
        """

    @abstractmethod
    def plan(self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None) -> Plan:
        """Choose the cheapest shards to read to make others.

        Parameters
        ----------
        lost : shard indices
            What to make, in this order.
        have : shard indices
            What can be read.
        cost : mapping of index to float, optional
            The cost of reading each shard: its latency, the price of its region, its bytes. One
            not named is read last. By default the lowest indices are read, data before parity.

        Raises
        ------
        NotEnoughShards
            If ``have`` doesn't determine ``lost``.
        InvalidShardIndex
            If an index is out of range, not an integer, or given twice.
        """

    @abstractmethod
    def reconstruct(self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None) -> Bytes:
        """Make just the shards ``wanted``, data or parity, from those in ``rows``.

        Parameters
        ----------
        rows : mapping of index to uint8[L]
            Shards that are there; only as many as needed are read.
        wanted : shard indices
        out : uint8[len(wanted), L], optional
            Where to write, no overlap with ``rows``. Made if not given.

        Returns
        -------
        uint8[len(wanted), L]
            ``out``, in the order of ``wanted``.

        Raises
        ------
        NotEnoughShards, InvalidShardIndex, ShardSizeError, InputError
            Nothing was written.
        """

    @abstractmethod
    def decode(self, rows: Rows, out: Bytes | None = None) -> Bytes:
        """Return all data shards, uint8[k, L]: those in ``rows`` copied, the others reconstructed.

        Raises as :meth:`reconstruct` does.
        """

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Code) and other.spec == self.spec

    def __hash__(self) -> int:
        return hash(self.spec)

    def __reduce__(self) -> tuple[Any, ...]:
        from . import get

        return get, (self.spec,)


def by_cost(have: Iterable[int], cost: Mapping[int, float] | None) -> list[int]:
    """Return shard indices, cheapest first; ties and no cost at all by index."""
    from faultset_ray.errors import InputError

    if cost is None:
        return sorted(have)
    for index, price in cost.items():
        if isinstance(price, bool) or not price == price:  # noqa: PLR0124 - NaN
            raise InputError(f"cost of shard {index} is {price!r}; expected a number")
    return sorted(have, key=lambda index: (cost.get(index, np.inf), index))
