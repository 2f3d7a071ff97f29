"""One shard made on another store: copied from where it is, or rebuilt from others of its object.

A rebuild reads as little as its plan asks for, from the regions that cost least. What a region sends over its border is
one block a stripe however many of its shards are read: a task there folds them into a partial sum, after Mitra et al.,
"Partial-parallel-repair" (EuroSys 2016). The task that puts the sums together runs beside the target.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.codes.base import Code
from faultset_ray.codes.plan import Plan
from faultset_ray.errors import (
    BackendClosed,
    CallTimeout,
    ClusterError,
    CodingError,
    CorruptShard,
    FaultsetError,
    NotEnoughShards,
    PlaceUnreachable,
    StaleEpoch,
    StoresLost,
)
from faultset_ray.limits import (
    APPEND_SECONDS,
    CODING_CPUS,
    INFLIGHT_BYTES_MAX,
    READ_SECONDS,
    SEAL_SECONDS,
    TASK_ATTEMPTS,
)
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.checking import check_shard
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Fence
from faultset_ray.objects.gather import accept, gather_rows
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.placement import Trusted, read_order
from faultset_ray.objects.pool import each, run_again, threads_of
from faultset_ray.objects.store_values import SealReceipt
from faultset_ray.shards.digest import granule_digests, verify_block
from faultset_ray.shards.format import Header

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Sum:
    """What the shards of one region come to: a part of the block that is made."""

    block: Bytes | None
    digests: Bytes | None
    """As if the sum were the block, so that it is checked where it arrives."""
    unusable: dict[int, str]
    """Shards that could not be read, with the reason; then there is no sum."""


async def fold_region(
    net: Net, header: Header, size: int, stripe: int, plan: Plan, reads: Mapping[int, StoreRef]
) -> Sum:
    """Read some of a plan's shards and fold them; the task of a region.

    Parameters
    ----------
    header
        Of the shard that is made.
    size : int
        Of the object.
    reads
        Where to read which of the plan's shards.
    """
    rows, unusable = await _read(net, header, size, stripe, reads)
    if unusable:
        return Sum(None, None, unusable)
    [block] = await net.compute(plan.fold, rows, threads=threads_of(net))
    return Sum(block, await net.compute(granule_digests, header, stripe, block), {})


async def finish_block(
    net: Net,
    header: Header,
    size: int,
    stripe: int,
    plan: Plan,
    reads: Mapping[int, StoreRef],
    target: StoreRef,
    beside: bool,
    *sums: Sum,
) -> dict[int, str]:
    """Read the rest of a plan's shards, add the sums of other regions, and hand the block to the target.

    Parameters
    ----------
    beside
        Whether the target makes the shard beside one that it has.

    Returns
    -------
    dict
        Shards that could not be read, with the reason; empty when the target has its block.

    Raises
    ------
    StoresLost
        The target did not take it.
    """
    rows, unusable = await _read(net, header, size, stripe, reads)
    for part in sums:
        unusable |= part.unusable
    if unusable:
        return unusable
    block = np.zeros(header.layout.block_len(stripe, size), np.uint8)
    for part in sums:
        assert part.block is not None
        assert part.digests is not None
        if verify_block(header, stripe, part.block, part.digests):
            raise PlaceUnreachable(target.place, "a partial sum did not arrive as it was sent")
        np.bitwise_xor(block, part.block, out=block)
    await net.compute(plan.fold, rows, block.reshape(1, -1), accumulate=True, threads=threads_of(net))
    await _append(net, header, stripe, block, target, beside=beside)
    return {}


async def salvage_block(
    net: Net,
    header: Header,
    size: int,
    stripe: int,
    reads: Mapping[int, StoreRef],
    target: StoreRef,
    beside: bool,
    doubtful: Collection[int],
) -> None:
    """Make a block of whatever granules are sound, where too few whole shards are left for a plan.

    Parameters
    ----------
    beside
        As for :func:`finish_block`.
    doubtful
        Those of the shards that are read only where the others don't suffice.

    Raises
    ------
    NotEnoughShards
    StoresLost
        The target did not take it.
    """
    code = codes.get(header.spec)
    unusable = {index: "missing" for index in range(header.n) if index not in reads}

    async def fetch(index: int) -> tuple[Bytes, Bytes]:
        return await _fetch(net, header, stripe, reads[index], index)

    length, cost = header.layout.block_len(stripe, size), {at: inf if at in doubtful else 1.0 for at in reads}
    rows = await gather_rows(code, header, stripe, length, fetch, unusable, [header.index], cost=cost)
    if header.index not in rows:
        [block] = await net.compute(code.reconstruct, rows, [header.index], threads=threads_of(net))
    else:
        block = rows[header.index]
    await _append(net, header, stripe, block, target, beside=beside)


async def copy_block(
    net: Net, header: Header, size: int, stripe: int, source: StoreRef, target: StoreRef
) -> dict[int, str]:
    """Read one block from a store, verify it, and hand it to another.

    Returns
    -------
    dict
        Why it could not be read, by index; empty when the target has it.

    Raises
    ------
    StoresLost
        The target did not take it.
    """
    rows, unusable = await _read(net, header, size, stripe, {header.index: source})
    if not unusable:
        await _append(net, header, stripe, rows[header.index], target)
    return unusable


async def rebuild_shard(
    backend: Backend,
    header: Header,
    size: int,
    sha256: bytes,
    index: int,
    sources: Mapping[int, StoreRef],
    target: StoreRef,
    fence: Fence,
    *,
    survivors: Trusted | None,
    regions: Mapping[str, str],
    damaged: Mapping[int, StoreRef] | None = None,
    replaces: str = "",
    bucket: Bucket | None = None,
) -> SealReceipt:
    """Make one shard of a write anew on a store, from other shards; sealed and read back when this returns.

    Parameters
    ----------
    header
        Of the write; its index is 0.
    size, sha256
        Of the object.
    sources
        The shards that may be read, by index.
    target
        Where the shard is to be; what it has of it already is kept.
    survivors
        The answer about the places: shards at those that don't survive are read last.
    regions
        The region of each store, by UUID.
    damaged
        Shards that are not whole: their sound granules are used where `sources` don't suffice.
    replaces
        What is wrong with the shard that the target has of it: that one stays until the new one was read back, and then
        goes to quarantine. Empty if it has none.
    bucket
        What the bytes that are read and written wait for.

    Raises
    ------
    NotEnoughShards
        With the reason for every shard that can't be used.
    StoresLost
        The target failed. What it took stays, for another attempt or for who drops it.
    CorruptShard
        What the target holds is not what it was given.
    """
    wanted = replace(header, index=index)
    code = codes.get(header.spec)
    there = {at: ref for at, ref in sources.items() if at != index}  # what the target has of it may be damaged
    unusable: dict[int, str] = {}
    doubtful = set(damaged or ()) - sources.keys()
    salvaged = {**(damaged or {}), **sources}

    async def make(stripe: int) -> None:
        for attempt in range(1, TASK_ATTEMPTS + 1):
            try:
                plan = plan_reads(code, index, there, unusable, target, survivors, regions)
            except NotEnoughShards:
                break
            if bucket is not None:
                await bucket.take((len(plan.reads) + 1) * header.layout.block_len(stripe, size))
            try:
                found = await _make_block(
                    backend, wanted, size, stripe, plan, there, target, regions, attempt, beside=bool(replaces)
                )
            except (PlaceUnreachable, CallTimeout):
                await backend.sleep(0.05 * attempt)
                continue
            if not found:
                return
            unusable.update(found)
        what = wanted, size, stripe, salvaged, target, bool(replaces), doubtful
        await run_again(backend, salvage_block, _beside(target), *what)

    return await _whole(backend, wanted, size, sha256, target, fence, make, replaces)


async def copy_shard(
    backend: Backend,
    header: Header,
    size: int,
    sha256: bytes,
    index: int,
    source: StoreRef,
    target: StoreRef,
    fence: Fence,
    bucket: Bucket | None = None,
) -> SealReceipt:
    """Copy one shard of a write to another store; sealed and read back when this returns.

    Parameters
    ----------
    header, size, sha256, index, target, bucket
        As for :func:`rebuild_shard`.

    Raises
    ------
    NotEnoughShards
        The source is not whole: rebuild the shard.
    StoresLost, CorruptShard
        As :func:`rebuild_shard`.
    """
    wanted = replace(header, index=index)

    async def make(stripe: int) -> None:
        if bucket is not None:
            await bucket.take(2 * header.layout.block_len(stripe, size))
        unusable = await run_again(backend, copy_block, _beside(target), wanted, size, stripe, source, target)
        if unusable:
            raise NotEnoughShards(0, 1, unusable, wanted.label)

    return await _whole(backend, wanted, size, sha256, target, fence, make)


def plan_reads(
    code: Code,
    index: int,
    sources: Mapping[int, StoreRef],
    unusable: Mapping[int, str],
    target: StoreRef,
    survivors: Trusted | None,
    regions: Mapping[str, str],
) -> Plan:
    """Choose what to read to make one shard: the fewest blocks over borders, then the fewest at all, then the nearest.

    Raises
    ------
    NotEnoughShards
        What is left does not determine the shard.
    """
    have = [at for at in sources if at != index and at not in unusable]
    order = read_order({at: sources[at].place for at in have}, survivors, target.place)
    region = {at: regions.get(sources[at].uuid, "") for at in have}
    home = regions.get(target.uuid, "")
    near = [at for at in have if order[at] < inf]

    def price(plan: Plan) -> tuple[int, int, float]:
        crossed = {region[at] for at in plan.reads} - {home}
        return len(crossed), len(plan.reads), sum(order[at] for at in plan.reads)

    for some in (near, have):
        plans = []
        for cost in _costs(some, order, region, home):
            try:
                plans.append(code.plan([index], some, cost))
            except NotEnoughShards:
                break
        if plans:
            return min(plans, key=price)
    raise NotEnoughShards(len(have), code.k, {at: why for at, why in unusable.items() if at in sources})


def _costs(
    some: Sequence[int], order: Mapping[int, float], region: Mapping[int, str], home: str
) -> list[dict[int, float]]:
    """Two ways to look at it: every read counts the same, or the target's region first and then whole regions."""
    ranked = {at: position for position, at in enumerate(sorted(some, key=lambda at: (order[at], at)))}
    flat = {at: 1.0 + ranked[at] / 1e6 for at in some}
    members: dict[str, list[int]] = {}
    for at in some:
        members.setdefault(region[at], []).append(at)
    # the largest region first: it takes the fewest of them
    row = sorted(members, key=lambda name: (name != home, -len(members[name]), min(ranked[at] for at in members[name])))
    by_region = {at: 1.0 + len(some) * row.index(region[at]) + ranked[at] / 1e6 for at in some}
    return [flat, by_region]


# -- Inside


async def _make_block(
    backend: Backend,
    wanted: Header,
    size: int,
    stripe: int,
    plan: Plan,
    sources: Mapping[int, StoreRef],
    target: StoreRef,
    regions: Mapping[str, str],
    attempt: int,
    *,
    beside: bool,
) -> dict[int, str]:
    """Have every other region of which more than one shard is read fold them, and the rest done at the target."""
    home = regions.get(target.uuid, "")
    members: dict[str, dict[int, StoreRef]] = {}
    for at in plan.reads:
        members.setdefault(regions.get(sources[at].uuid, ""), {})[at] = sources[at]
    far = [reads for name, reads in members.items() if name != home and len(reads) > 1]
    rest = {at: sources[at] for reads in members.values() if reads not in far for at in reads}

    async def fold(reads: Mapping[int, StoreRef]) -> Sum:
        beside = list(reads.values())[attempt % len(reads)]
        return await backend.hold(fold_region, _beside(beside), wanted, size, stripe, plan, reads)

    sums = await asyncio.gather(*map(fold, far))
    return await backend.run(finish_block, _beside(target), wanted, size, stripe, plan, rest, target, beside, *sums)


async def _whole(
    backend: Backend,
    wanted: Header,
    size: int,
    sha256: bytes,
    target: StoreRef,
    fence: Fence,
    make: Callable[[int], Coroutine[Any, Any, None]],
    replaces: str = "",
) -> SealReceipt:
    """Make all blocks of a shard, seal it and read it back; only then the one that it replaces makes way."""
    stripes = wanted.layout.stripes(size)
    net = backend.within(SEAL_SECONDS)
    await each(stripes, make, wanted.layout.stripe_bytes, INFLIGHT_BYTES_MAX)
    key, beside = (wanted.write_id, wanted.index), bool(replaces)
    try:
        if stripes == 0:
            await net.call(target.addr, PlaceStore.begin, wanted.pack(), beside)
        receipt = await net.call(target.addr, PlaceStore.seal, *key, size, stripes, sha256, fence, beside)
        fault = await check_shard(net, target, *key, receipt.file_bytes, beside=beside)
        if beside and fault:
            await net.call(target.addr, PlaceStore.discard, *key)
        elif beside:
            await net.call(target.addr, PlaceStore.swap, *key, replaces, fence)
        elif fault:
            await net.call(target.addr, PlaceStore.quarantine, *key, fault, fence)
    except (ClusterError, CodingError) as error:
        raise _lost(target, error) from error
    if fault:
        raise CorruptShard(wanted.label, f"store {target.uuid} does not read it back as it was written: {fault}")
    return receipt


def _lost(target: StoreRef, error: ClusterError | CodingError) -> FaultsetError:
    """The error that says which store failed; what says more about the cause stays as it is."""
    return error if isinstance(error, BackendClosed | StaleEpoch) else StoresLost({target.uuid: str(error)})


async def _read(
    net: Net, header: Header, size: int, stripe: int, reads: Mapping[int, StoreRef]
) -> tuple[dict[int, Bytes], dict[int, str]]:
    """Sound blocks of some shards by index, and why others can't be used."""
    length = header.layout.block_len(stripe, size)
    answers = await asyncio.gather(
        *(_fetch(net, header, stripe, ref, index) for index, ref in reads.items()), return_exceptions=True
    )
    rows: dict[int, Bytes] = {}
    unusable: dict[int, str] = {}
    for index, answer in zip(reads, answers, strict=True):
        row = accept(header, stripe, length, 0, index, answer, unusable, {})
        if row is not None:
            rows[index] = row
    return rows, unusable


async def _fetch(net: Net, header: Header, stripe: int, store: StoreRef, index: int) -> tuple[Bytes, Bytes]:
    return await net.within(READ_SECONDS).call(store.addr, PlaceStore.read, header.write_id, index, stripe)


async def _append(
    net: Net, header: Header, stripe: int, block: Bytes, target: StoreRef, *, beside: bool = False
) -> None:
    digests = await net.compute(granule_digests, header, stripe, block)
    within = net.within(APPEND_SECONDS)
    try:
        await within.call(target.addr, PlaceStore.append, header.pack(), stripe, block, digests, beside)
    except (ClusterError, CodingError) as error:
        raise _lost(target, error) from error


def _beside(store: StoreRef) -> At:
    return At(place=store.place, soft=True, cpus=CODING_CPUS)
