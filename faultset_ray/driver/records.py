"""What the stores say of an object while the coordinator is away."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import ClusterError, CoordinatorUnavailable
from faultset_ray.limits import STORE_INFO_SECONDS
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record, object_id, sound
from faultset_ray.objects.store_values import StoreInfo


class _Told(NamedTuple):
    """What a store said."""

    ref: StoreRef
    records: list[Record]
    """Of the object."""
    info: StoreInfo


async def newest_record(
    backend: Backend, system: str, stores: Mapping[str, StoreRef | None], name: str, own: int = 0
) -> Entry | None:
    """The newest generation of an object that any store has a record of; None if it is deleted, or there is none.

    An acknowledged write has records on one store more than its promise tolerates to lose, whatever it overwrote. So
    with no more stores silent than any write may tolerate, this is the newest committed generation, or one that was
    not acknowledged yet. What has fewer records and can't be read, of a put that raised, is passed over.

    Parameters
    ----------
    stores
        Every store of the system, by UUID; None for one that was never met.
    own
        The newest generation of the name that this driver has written.

    Raises
    ------
    CoordinatorUnavailable
        So many stores are silent that a newer one might be on them alone.
    """
    net = backend.within(STORE_INFO_SECONDS)
    key = object_id(name)

    async def ask(ref: StoreRef | None) -> _Told | None:
        if ref is None:
            return None
        try:
            [packed] = await net.call(ref.addr, PlaceStore.records, [key])
            info = await net.call(ref.addr, PlaceStore.info)
        except ClusterError:
            return None
        return _Told(ref, [each for raw in packed if (each := sound(raw)) is not None and each.name == name], info)

    answers = dict(zip(stores, await asyncio.gather(*map(ask, stores.values())), strict=True))
    retired = await _retired(backend, [answer for answer in answers.values() if answer is not None])
    stores = {uuid: ref for uuid, ref in stores.items() if uuid not in retired}
    told = [answer for uuid, answer in answers.items() if answer is not None and uuid in stores]
    silent = len(stores) - len(told)
    by_generation: dict[int, list[Record]] = {}
    for each in told:
        for record in each.records:
            by_generation.setdefault(record.generation, []).append(record)
    if not told or silent > min(each.info.least for each in told):
        reason = f"and {silent} of {len(stores)} stores are silent, which may have newer records of {name!r}"
        raise CoordinatorUnavailable(system, reason)
    if max(by_generation, default=0) < own:
        raise CoordinatorUnavailable(system, f"and no store has the record of {name!r} that this driver wrote last")
    here = {uuid: ref for uuid, ref in stores.items() if ref is not None}
    for _, records in sorted(by_generation.items(), reverse=True):
        newest = records[0]
        if newest.kind == "delete":
            return None
        entry = Entry(newest, await _layout(backend, newest, here), 0)
        if len(records) + silent > newest.tolerate or sum(map(bool, entry.layout)) >= newest.k:
            return entry
        # it was never acknowledged, and can't be read
    return None


async def _retired(backend: Backend, told: Sequence[_Told]) -> Collection[str]:
    """The stores that were let go of, as the one knows that was told last; this driver may not have been."""
    newest = max(told, key=lambda each: each.info.retired, default=None)
    if newest is None or not newest.info.retired:
        return ()
    net = backend.within(STORE_INFO_SECONDS)
    return (await net.call(newest.ref.addr, PlaceStore.retired_stores)).stores


async def _layout(backend: Backend, record: Record, stores: Mapping[str, StoreRef]) -> tuple[str, ...]:
    """Which store has which shard of a write, by index."""
    net = backend.within(STORE_INFO_SECONDS)

    async def ask(ref: StoreRef) -> tuple[int, ...]:
        try:
            [held] = await net.call(ref.addr, PlaceStore.held, [record.write_id])
        except ClusterError:
            return ()
        return held.indices

    layout = [""] * record.n
    answers = await asyncio.gather(*map(ask, stores.values()))
    for uuid, indices in zip(stores, answers, strict=True):
        for index in indices:
            if index < record.n:
                layout[index] = uuid
    return tuple(layout)
