"""Objects spread over stores that came: as few shards move as make the stores even."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from faultset_ray import codes
from faultset_ray.backend.protocol import Backend
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.inventory import Inventory
from faultset_ray.driver.moving import Mover
from faultset_ray.errors import BackendClosed, FaultsetError
from faultset_ray.kernels.rendezvous import key_of
from faultset_ray.limits import SPREAD_AFTER_SECONDS, UPKEEP_PAGE
from faultset_ray.objects.bucket import Bucket
from faultset_ray.objects.entry import Entry
from faultset_ray.objects.rebalance import Held, rebalance
from faultset_ray.objects.sites import Columns, Site
from faultset_ray.telemetry import events

_NOTE = "spread over"
_ANEW: Final = b"anew"
"""The note of objects that are spread over no stores in particular."""
_NOWHERE = -1


@dataclass(slots=True)
class _Pile:
    """Objects of one code, as columns in the making."""

    write_ids: list[bytes] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    sites: list[list[int]] = field(default_factory=list)
    shard_bytes: list[int] = field(default_factory=list)

    def add(self, entry: Entry, columns: Columns) -> None:
        record = entry.record
        self.write_ids.append(record.write_id)
        self.keys.append(key_of(record.object_id))
        self.sites.append([columns.at.get(uuid, _NOWHERE) for uuid in entry.layout])
        self.shard_bytes.append(record.header.layout.file_bytes(record.size))

    def held(self) -> Held:
        return Held(
            np.array(self.keys, np.uint64), np.array(self.sites, np.int32), np.array(self.shard_bytes, np.int64)
        )


async def spread_anew(authority: Authority) -> None:
    """Have objects spread when all stores take part again, even if these are the same as before.

    For whoever moved shards while some were away: they lie closer together than they need to.
    """
    await authority.ask(Coordinator.set_note, _NOTE, _ANEW)


class Spreading:
    """Looks whether other stores take part than when objects were last spread, and spreads them if so."""

    def __init__(self, backend: Backend, authority: Authority, mover: Mover, concurrent: int) -> None:
        self._backend = backend
        self._concurrent = concurrent
        """Objects that are moved at once."""
        self._authority = authority
        self._mover = mover
        self._members: bytes = b""
        self._since_s = 0.0
        """Since when these stores take part."""
        self._after = ""
        """The object up to which they are spread over these."""
        self._failed = False
        """Whether some of those could not be moved."""

    async def step(
        self, inventory: Inventory, bucket: Bucket | None = None, going: Callable[[], bool] = lambda: True
    ) -> int:
        """Spread objects over the stores that take part, if these are others than before, for long enough.

        Not while a store is away that may come back.

        Returns
        -------
        int
            How many shards were moved.
        """
        taking_part = sorted(inventory.here.keys() & inventory.rows.keys() - inventory.leaving)
        if inventory.rows.keys() - inventory.here.keys() - inventory.gone:
            return 0
        members = hashlib.sha256("\n".join(taking_part).encode()).digest()
        if members != self._members:
            self._members, self._since_s = members, self._backend.uptime_s()
            self._after, self._failed = "", False
        before = await self._authority.ask(Coordinator.note, _NOTE)
        if before and before != members:
            if self._backend.uptime_s() - self._since_s < SPREAD_AFTER_SECONDS:
                return 0
            moved, is_done = await self._spread(inventory, taking_part, bucket, going)
            if not is_done:
                return moved  # the rest is planned anew
            events.SHARDS_SPREAD.tell(shards=moved, stores=len(taking_part))
        else:
            moved = 0
        if before != members:
            await self._authority.ask(Coordinator.set_note, _NOTE, members)
        return moved

    # -- Inside

    async def _spread(
        self,
        inventory: Inventory,
        taking_part: Sequence[str],
        bucket: Bucket | None,
        going: Callable[[], bool],
    ) -> tuple[int, bool]:
        """Spread page after page of objects, from where the step before ended.

        Told is how many shards moved, and whether that is all.

        What each page is to give and get goes by how full the stores are with everything, so that pages in a row make
        them as even as one plan for all would; and neither memory nor anybody's wait grows with the catalog.
        """
        infos = [inventory.here[uuid] for uuid in taking_part]
        columns = Columns(
            # a disk may be shared with others: how full a store is goes by its own shards
            [Site(i.uuid, i.place, i.region, i.used_bytes + i.free_bytes, i.free_bytes) for i in infos]
        )
        moved = 0
        while True:
            page = await self._authority.ask(Coordinator.list_objects, "", self._after, UPKEEP_PAGE)
            moves = await self._plan(page, columns)
            carried_out = await self._carry_out(moves, bucket, going)
            moved += carried_out
            if not going():
                return moved, False
            self._failed |= carried_out < sum(len(targets) for _, targets in moves)
            if len(page) < UPKEEP_PAGE:
                is_done, self._after, self._failed = not self._failed, "", False
                return moved, is_done
            self._after = page[-1].record.name

    async def _plan(self, page: Sequence[Entry], columns: Columns) -> list[tuple[bytes, dict[int, str]]]:
        """Where shards of some objects are to go, by write and index; ``columns`` are as full then as they will be."""
        piles: dict[str, _Pile] = {}
        for entry in page:
            piles.setdefault(entry.record.spec, _Pile()).add(entry, columns)
        found: dict[bytes, dict[int, str]] = {}
        for spec in sorted(piles):
            moves = await self._backend.compute(rebalance, piles[spec].held(), columns, codes.get(spec))
            for row, index, target in zip(moves.rows, moves.indices, moves.targets, strict=True):
                found.setdefault(piles[spec].write_ids[row], {})[int(index)] = columns.stores[target]
        return list(found.items())

    async def _carry_out(
        self, moves: Sequence[tuple[bytes, dict[int, str]]], bucket: Bucket | None, going: Callable[[], bool]
    ) -> int:
        moved = 0
        queue: Iterator[tuple[bytes, dict[int, str]]] = iter(moves)

        async def worker() -> None:
            nonlocal moved
            for write_id, targets in queue:
                if not going():
                    return
                try:
                    [entry] = await self._authority.ask(Coordinator.entries, [write_id])
                    if entry is not None:
                        await self._mover.move(entry, targets, (), bucket)
                    moved += len(targets)
                except BackendClosed:
                    raise
                except FaultsetError as error:
                    events.WRITE_NOT_SPREAD.tell(write_id=write_id, error=error)

        await asyncio.gather(*(worker() for _ in range(self._concurrent)))
        return moved
