"""Collecting enough good rows of one stripe, from wherever the shards are.

What to ask for next, and what to make of the answers, is :class:`Gathering`, without input or output;
:func:`gather_rows` asks on an event loop, :func:`pick_rows` at once, and ``hedge.py`` does not wait for the late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from faultset_ray.codes.plan import Rows
from faultset_ray.errors import BackendClosed, CodingError, FaultsetError, NotEnoughShards
from faultset_ray.objects.store_values import Block
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header

Bytes = NDArray[np.uint8]
Fetch = Callable[[int], Awaitable[Block]]
"""Reads this stripe's block of one shard, with its digests."""


class Decoder(Protocol):
    """What gathering asks of a code."""

    k: int
    n: int

    def reads(
        self, lost: Iterable[int], have: Iterable[int], cost: Mapping[int, float] | None = None
    ) -> tuple[int, ...]:
        """As :meth:`Code.reads <faultset_ray.codes.base.Code.reads>`."""

    def reconstruct(self, rows: Rows, wanted: Iterable[int]) -> Bytes:
        """As :meth:`Code.reconstruct <faultset_ray.codes.base.Code.reconstruct>`."""


_OWNERS_MAX = 64
"""Shards that a block under another's index is compared with; each costs a CRC of a granule."""


async def gather_rows(
    code: Decoder,
    header: Header,
    stripe: int,
    block_len: int,
    fetch: Fetch,
    unusable: dict[int, str],
    wanted: Iterable[int] | None = None,
    first_granule: int = 0,
    cost: Mapping[int, float] | None = None,
) -> dict[int, Bytes]:
    """Read as little as suffices to make some rows of one stripe; damage and unreachable shards are erasures.

    Wanted rows are read, since what is whole needs no decoding, and at the same time what the code plans
    to read in place of those that are unusable; again, as more turn out to be, until there are enough.
    Where too few whole blocks are left, each granule is made from those shards in which it is sound.

    Parameters
    ----------
    header : Header
        Of the write.
    stripe, block_len
        Which stripe, and the length of what is fetched of its blocks.
    fetch
        May raise any ``FaultsetError`` but ``BackendClosed``: the shard then counts as unusable for this stripe.
    unusable
        Shards not to ask, with the reason. Those found unusable are added.
    wanted
        Indices of the rows that are to be made; the data rows by default.
    first_granule
        Position in the block of what is fetched.
    cost
        Of reading each shard. One of infinite cost is read only where the others don't suffice.

    Returns
    -------
    dict of index to uint8[block_len]
        Sound rows that determine all that are wanted.

    Raises
    ------
    NotEnoughShards
        With the reason for every shard that can't be used.
    """
    asking = Gathering(code, header, stripe, block_len, unusable, wanted, first_granule, cost)
    while indices := asking.ask():
        found = await asyncio.gather(*(fetch(index) for index in indices), return_exceptions=True)
        for index, answer in zip(indices, found, strict=True):
            asking.take(index, answer)
    return asking.rows()


def pick_rows(
    code: Decoder,
    header: Header,
    stripe: int,
    block_len: int,
    read: Callable[[int], Block],
    unusable: dict[int, str],
    wanted: Iterable[int] | None = None,
    first_granule: int = 0,
) -> dict[int, Bytes]:
    """As :func:`gather_rows`, of shards that can be read without waiting."""
    asking = Gathering(code, header, stripe, block_len, unusable, wanted, first_granule)
    while indices := asking.ask():
        for index in indices:
            try:
                asking.take(index, read(index))
            except FaultsetError as error:
                asking.take(index, error)
    return asking.rows()


class Gathering:
    """One stripe while its rows are collected; arguments as of :func:`gather_rows`.

    And ``far``: shards that are read only where the others of finite cost don't suffice.

    >>> while indices := asking.ask():
    ...     for index in indices:
    ...         asking.take(index, read(index))
    >>> rows = asking.rows()
    """

    def __init__(
        self,
        code: Decoder,
        header: Header,
        stripe: int,
        block_len: int,
        unusable: dict[int, str],
        wanted: Iterable[int] | None = None,
        first_granule: int = 0,
        cost: Mapping[int, float] | None = None,
        far: Collection[int] = (),
    ) -> None:
        self._code = code
        self._header = header
        self._stripe = stripe
        self._block_len = block_len
        self._unusable = unusable
        self._goal = list(range(code.k) if wanted is None else wanted)
        self._first_granule = first_granule
        self._cost = cost
        self._far = far
        self._rows: dict[int, Bytes] = {}
        self._damaged: dict[int, tuple[Bytes, set[int]]] = {}
        self._asked: set[int] = set()
        """Shards that have yet to answer."""
        self._hedged = False
        self._plan: tuple[int, list[int], set[int] | None] | None = None
        """Made of what was unusable then: how many those were, what else there is, and what to read of it."""

    def ask(self) -> list[int]:
        """The shards to read next, beside those that were asked and have yet to answer."""
        _, missing = self._choose()
        fresh = sorted(missing - self._asked)
        self._asked.update(fresh)
        return fresh

    def instead(self) -> list[int]:
        """Shards that would do in place of all that have yet to answer; none where nothing would."""
        cost = {**(self._cost or dict.fromkeys(range(self._code.n), 1.0)), **dict.fromkeys(self._rows, 0.0)}
        there = [index for index in range(self._code.n) if index not in self._unusable and index not in self._asked]
        near = [index for index in there if index not in self._far]
        needed = needed_rows(self._code, self._goal, near, cost)
        if needed is None and near != there:
            needed = needed_rows(self._code, self._goal, there, cost)
        return [] if needed is None else sorted(needed - self._rows.keys())

    def hedge(self, indices: Iterable[int]) -> None:
        """Note that these are read too; what suffices first is what counts."""
        self._hedged = True
        self._asked.update(indices)

    def waits(self) -> bool:
        """Whether rows are still missing."""
        return bool(self._choose()[1])

    def take(self, index: int, answer: Block | BaseException) -> None:
        """Verify what came of a shard; note why it can't be used, and what of it still can.

        Raises
        ------
        BaseException
            The answer, where it is no fault of the shard.
        """
        self._asked.discard(index)
        row = accept(
            self._header,
            self._stripe,
            self._block_len,
            self._first_granule,
            index,
            answer,
            self._unusable,
            self._damaged,
        )
        if row is not None:
            self._rows[index] = row

    def rows(self) -> dict[int, Bytes]:
        """Sound rows that determine all that are wanted, once there is nothing more to ask.

        Raises
        ------
        NotEnoughShards
        """
        needed, _ = self._choose()
        if needed is not None:
            return {index: self._rows[index] for index in sorted(needed)}
        if not self._damaged:
            raise _not_enough(self._code, self._header, len(self._rows), self._unusable)
        return _by_granules(self._code, self._header, self._goal, self._rows, self._damaged, self._unusable)

    def _choose(self) -> tuple[set[int] | None, set[int]]:
        """The shards to make the rows of, None if they don't suffice; and those of them that are not here."""
        if all(index in self._rows for index in self._goal):
            return set(self._goal), set()
        if self._hedged and (needed := needed_rows(self._code, self._goal, sorted(self._rows))) is not None:
            return needed, set()
        have, needed = self._planned()
        # with too few, all that is left is asked: for its sound granules, and to tell how each shard is
        return needed, (set(have) if needed is None else needed) - self._rows.keys()

    def _planned(self) -> tuple[list[int], set[int] | None]:
        """The shards that may be of use, and those of them to read; thought over as fewer are, not with each answer."""
        if self._plan is not None and self._plan[0] == len(self._unusable):
            return self._plan[1:]
        have = [index for index in range(self._code.n) if index not in self._unusable]
        cost = self._cost
        there = have if cost is None else [index for index in have if cost.get(index, inf) < inf]
        near = [index for index in there if index not in self._far]
        needed = None
        for some, others in ((near, there), (there, have), (have, [])):
            if needed is None and some != others:
                needed = needed_rows(self._code, self._goal, some, cost)
        self._plan = len(self._unusable), have, needed
        return have, needed


def needed_rows(
    code: Decoder, goal: Sequence[int], have: Sequence[int], cost: Mapping[int, float] | None = None
) -> set[int] | None:
    """The shards to read, or None if they don't suffice."""
    there = set(have)
    direct = {index for index in goal if index in there}
    if len(direct) == len(goal):
        return direct
    if cost is not None:
        cost = {**cost, **dict.fromkeys(direct, 0.0)}  # they are read in any case
    try:
        reads = code.reads([index for index in goal if index not in there], have, cost)
    except NotEnoughShards:
        return None
    return direct.union(reads)


def accept(
    header: Header,
    stripe: int,
    block_len: int,
    first_granule: int,
    index: int,
    answer: Block | BaseException,
    unusable: dict[int, str],
    damaged: dict[int, tuple[Bytes, set[int]]],
) -> Bytes | None:
    """Verify what came; note why it can't be used, and what of it still can."""
    if isinstance(answer, FaultsetError) and not isinstance(answer, BackendClosed):
        unusable[index] = reason(answer)
        return None
    if isinstance(answer, BaseException):
        raise answer
    block, digests = answer
    if block.size != block_len:
        unusable[index] = f"corrupt: a block of {block.size} bytes in place of {block_len}"
        return None
    corrupt = verify_block(replace(header, index=index), stripe, block, digests, first_granule)
    if not corrupt:
        return block
    unusable[index] = damage(header, index, stripe, block, digests, corrupt, first_granule)
    damaged[index] = block, {granule - first_granule for granule in corrupt}
    return None


def damage(
    header: Header,
    index: int,
    stripe: int,
    block: Bytes,
    digests: Bytes,
    corrupt: Sequence[int],
    first_granule: int = 0,
) -> str:
    """In a few words, what is wrong with a block of which granules are corrupt: where, or whose it is."""
    if len(corrupt) == len(digests):
        start = block[: header.granule_bytes]
        for other in range(min(header.n, _OWNERS_MAX)):
            if other != index and not verify_block(
                replace(header, index=other), stripe, start, digests[:1], first_granule
            ):
                return f"wrong index: stripe {stripe} is that of shard {other}"
    if len(corrupt) == 1:
        return f"corrupt: stripe {stripe}, granule {corrupt[0]}"
    more = f" and {len(corrupt) - 8} more" if len(corrupt) > 8 else ""
    return f"corrupt: stripe {stripe}, granules {', '.join(map(str, corrupt[:8]))}{more}"


def _by_granules(
    code: Decoder,
    header: Header,
    goal: Sequence[int],
    rows: Mapping[int, Bytes],
    damaged: Mapping[int, tuple[Bytes, set[int]]],
    unusable: Mapping[int, str],
) -> dict[int, Bytes]:
    """Make the wanted rows stretch by stretch, each from the shards that are sound there.

    Codes work on each column of bytes for itself, so that this is decoding as any other.
    """
    blocks = {**rows, **{index: block for index, (block, _) in damaged.items()}}
    block_len = next(iter(blocks.values())).size
    made = {index: np.empty(block_len, np.uint8) for index in goal}
    granules = -(-block_len // header.granule_bytes)
    bad = [frozenset(index for index, (_, at) in damaged.items() if granule in at) for granule in range(granules)]
    edges = [0, *(at for at in range(1, granules) if bad[at] != bad[at - 1]), granules]
    for first, last in pairwise(edges):
        columns = slice(first * header.granule_bytes, min(last * header.granule_bytes, block_len))
        sound = {index: block[columns] for index, block in blocks.items() if index not in bad[first]}
        needed = needed_rows(code, goal, sorted(sound))
        if needed is None:
            raise _not_enough(code, header, len(rows), unusable)
        rest = [index for index in goal if index not in sound]
        fresh = code.reconstruct({index: sound[index] for index in sorted(needed)}, rest) if rest else ()
        for index, row in [*zip(rest, fresh, strict=True), *((i, sound[i]) for i in goal if i in sound)]:
            made[index][columns] = row
    return made


def _not_enough(code: Decoder, header: Header, have: int, unusable: Mapping[int, str]) -> NotEnoughShards:
    return NotEnoughShards(have, code.k, unusable, f"write {header.write_id.hex()}")


_WORDS = {
    "call_timeout": "late",
    "place_unreachable": "unreachable",
    "shard_not_found": "missing",
    "store_failure": "disk failure",
}
AWAY: Final = ("late", "unreachable")
"""Reasons that lie with a store and not with the shard: it may come back."""


def reason(error: FaultsetError) -> str:
    """In a few words, why a shard can't be used."""
    return _WORDS.get(error.code) or (f"corrupt: {error}" if isinstance(error, CodingError) else str(error))
