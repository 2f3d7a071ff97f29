"""What the stores say of an object while the coordinator is away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from faultset_ray.backend.protocol import Backend
from faultset_ray.errors import ClusterError, CodingError, CoordinatorUnavailable
from faultset_ray.limits import STORE_INFO_SECONDS
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.record import Record, object_id


async def newest_record(backend: Backend, system: str, stores: Mapping[str, StoreRef], name: str) -> Entry | None:
    """The newest generation of an object that any store has a record of; None if it is deleted, or there is none.

    An acknowledged write has records on one store more than its promise tolerates to lose. So with no more stores
    silent than that, this is the newest committed generation, or one that was not acknowledged yet.

    Parameters
    ----------
    stores
        Every store of the system, by UUID.

    Raises
    ------
    CoordinatorUnavailable
        So many stores are silent that a newer one might be on them alone.
    """
    net = backend.within(STORE_INFO_SECONDS)
    key = object_id(name)

    async def ask(ref: StoreRef) -> list[Record] | None:
        try:
            [packed] = await net.call(ref.addr, PlaceStore.records, [key])
        except ClusterError:
            return None
        return [record for raw in packed if (record := _sound(raw)) is not None and record.name == name]

    answers = await asyncio.gather(*map(ask, stores.values()))
    silent = sum(answer is None for answer in answers)
    found = [record for answer in answers if answer is not None for record in answer]
    newest = max(found, key=lambda record: record.generation, default=None)
    if silent > (0 if newest is None else newest.tolerate) or not stores:
        reason = f"and {silent} of {len(stores)} stores are silent, which may have newer records of {name!r}"
        raise CoordinatorUnavailable(system, reason)
    if newest is None or newest.kind == "delete":
        return None
    return Entry(newest, await _layout(backend, newest, stores), 0)


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


def _sound(raw: bytes) -> Record | None:
    try:
        return Record.unpack(raw)
    except CodingError:
        return None
