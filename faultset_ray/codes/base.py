"""The contract of every code: :class:`Code`.

A code makes ``n`` shards of ``k`` data shards of one length. Shards 0 … k-1 *are* the data
(all codes here are systematic), k … n-1 are parity. Rows are uint8 arrays; they may be read-only,
need not lie beside each other, and are never copied to be stacked. Each column of bytes is coded alone: byte i
of a shard depends on bytes i of others only, since ranges and single granules are decoded by themselves.
"""

# ruff: noqa: ARG002 - what a code need not support has its signature here

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from itertools import combinations
from math import comb
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from faultset_ray.errors import InputError, NotEnoughShards, UnsupportedOperation
from faultset_ray.errors.base import listed
from faultset_ray.kernels.gf_tables import Bytes

from . import check
from .plan import Plan, Rows
from .spec import Spec, parse

_PATTERNS_MAX = 3_000


class Code(ABC):
    """One erasure code with its parameters. Immutable; safe to use from several threads."""

    spec: str
    """Canonical text: every parameter written, keys sorted, at most 63 ASCII bytes."""
    k: int
    n: int
    groups: tuple[tuple[int, ...], ...] = ()
    """Shards that repair one loss among them without others; none in most codes. Groups don't overlap."""
    options: ClassVar[Mapping[str, str]] = {}
    """Options that a spec of this code may have, with their defaults."""

    @classmethod
    def configure(cls, options: Mapping[str, Any]) -> None:
        """Take options that hold for every code of this class in this process, before the first one is made.

        They are the table ``plugins.NAME`` of the config, where NAME is the entry point's. A code that has none takes
        no options, and one that has them can't be given others once codes were made.

        Raises
        ------
        InputError
            There are no such options, or a value can't be used.
        """
        raise InputError(f"{cls.__module__}.{cls.__qualname__} takes no options; it was given {listed(options)}")

    @cached_property
    def tolerance(self) -> int:
        """How many shards may be lost, whichever they are, without losing data.

        Found by trying every pattern of one loss, of two, and so on, as far as three thousand patterns
        go: for a large code that is not MDS it may be less than is true, never more.
        """
        tried = 0
        for losses in range(1, self.n - self.k + 1):
            tried += comb(self.n, losses)
            if tried > _PATTERNS_MAX or not all(map(self.bears, combinations(range(self.n), losses))):
                return losses - 1
        return self.n - self.k

    def bears(self, lost: Iterable[int]) -> bool:
        """Whether the data can be made of all shards but these."""
        gone = {check.shard_index(index, self.n) for index in check.several(lost)}
        try:
            self.reads(sorted(index for index in gone if index < self.k), set(range(self.n)) - gone)
        except NotEnoughShards:
            return False
        return True

    @classmethod
    @abstractmethod
    def from_spec(cls, spec: Spec) -> Code:
        """Build the code that a parsed spec names, or raise :class:`InvalidCodeSpec`."""

    def get_config(self) -> dict[str, Any]:
        """Return the parameters as JSON-safe values, for :func:`faultset_ray.codes.from_config`."""
        spec = parse(self.spec)
        return {"name": spec.name, "shape": list(spec.shape), "options": dict(spec.options)}

    @abstractmethod
    def encode(self, data: Bytes, out: Bytes | None = None, *, threads: int = 1) -> Bytes:
        """Make the parity shards of a stripe.

        Parameters
        ----------
        data : uint8[k, L]
            Read only. L may be any length, 0 too.
        out : uint8[n-k, L], optional
            Where to write, all of it; rows contiguous, no overlap with ``data``. Made if not given.
        threads : int
            Share the columns between so many threads; the GIL is released.

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
        """Choose the cheapest shards to read to make others; of a code that is not MDS, shards near to the cheapest.

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
        InputError
            If ``cost`` is no mapping of indices to numbers from 0 on.
        """

    def reads(
        self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None
    ) -> tuple[int, ...]:
        """Return the ``reads`` of :meth:`plan` alone, without a matrix, which is large in a code of many shards.

        Arguments and errors are those of :meth:`plan`.
        """
        return self.plan(lost, have, cost).reads

    @abstractmethod
    def reconstruct(self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None, *, threads: int = 1) -> Bytes:
        """Make just the shards ``wanted``, data or parity, from those in ``rows``.

        Parameters
        ----------
        rows : mapping of index to uint8[L]
            Shards that are there; only as many as needed are read.
        wanted : shard indices
        out : uint8[len(wanted), L], optional
            Where to write, no overlap with ``rows``. Made if not given.
        threads : int
            As for :meth:`encode`.

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
    def decode(self, rows: Rows, out: Bytes | None = None, *, threads: int = 1) -> Bytes:
        """Return all data shards, uint8[k, L]: those in ``rows`` copied, the others reconstructed.

        Raises as :meth:`reconstruct` does.
        """

    def encode_batch(self, data: Bytes, out: Bytes | None = None, *, threads: int = 1) -> Bytes:
        """:meth:`encode` for many small stripes in one call: uint8[b, k, L] → uint8[b, n-k, L].

        Raises
        ------
        UnsupportedOperation
            If the code has no such form.
        """
        raise UnsupportedOperation(self.spec, "encode_batch")

    def reconstruct_batch(
        self, rows: Rows, wanted: Iterable[int], out: Bytes | None = None, *, threads: int = 1
    ) -> Bytes:
        """:meth:`reconstruct` for many small stripes that lost the same shards.

        Parameters
        ----------
        rows : mapping of index to uint8[b, L]
            The same shard of every stripe; steps from stripe to stripe may be of any size.
        wanted : shard indices
        out : uint8[b, len(wanted), L], optional

        Raises
        ------
        UnsupportedOperation
            If the code has no such form.
        """
        raise UnsupportedOperation(self.spec, "reconstruct_batch")

    def verify(self, rows: Rows) -> bool:
        """Whether the shards in ``rows`` agree with one another.

        More than are needed must be there, since those few agree always. A False doesn't tell
        which shard is bad: digests do.

        Raises
        ------
        NotEnoughShards
            If no shard is there that the others determine.
        UnsupportedOperation
            If the code can't.
        """
        raise UnsupportedOperation(self.spec, "verify")

    def update(self, index: int, old: Bytes, new: Bytes, parity: Bytes) -> None:
        """Bring the parity up to date after one data shard changed, without the other shards.

        Parameters
        ----------
        index : int
            Of the data shard, 0 … k-1.
        old, new : uint8[L]
            What it was and what it is.
        parity : uint8[n-k, L]
            Changed in place. Must not overlap ``old`` or ``new``.

        Raises
        ------
        UnsupportedOperation
            If the code can't.
        """
        raise UnsupportedOperation(self.spec, "update")

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
    if cost is None:
        return sorted(have)
    if not isinstance(cost, Mapping):
        raise InputError(f"cost is a {type(cost).__name__}; expected a mapping of index to number")
    for index, value in cost.items():
        check.integer("a key of cost", index)
        if not _is_price(value):
            raise InputError(f"cost of shard {index} is {repr(value)[:100]}; expected a number from 0 on, in a float")
    return sorted(have, key=lambda index: (price(cost, index), index))


def _is_price(value: object) -> bool:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        return False
    try:
        return float(value) >= 0
    except OverflowError:
        return False


def price(cost: Mapping[int, float], index: int) -> float:
    """Return what reading a shard costs; of one not named, infinity."""
    return float(cost.get(index, np.inf))


def total_cost(reads: Iterable[int], cost: Mapping[int, float] | None) -> float:
    """Return what reading these shards costs; 1 each where no cost is given."""
    return sum((1.0 if cost is None else price(cost, index) for index in reads), 0.0)
