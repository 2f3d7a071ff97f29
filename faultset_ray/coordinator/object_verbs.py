"""What the coordinator does for objects: the verbs of the catalog."""

from __future__ import annotations

from collections.abc import Sequence

from faultset_ray.coordinator.entries import name_bytes
from faultset_ray.coordinator.object_ledger import ObjectLedger
from faultset_ray.coordinator.objects import (
    Commit,
    Damage,
    Garbage,
    Intent,
    OpenWrite,
    ShardMove,
    StoreRow,
    StoreState,
    Tally,
    Ticket,
    Undeletion,
    Whose,
)
from faultset_ray.coordinator.restoring import RebuildVerbs
from faultset_ray.errors import CatalogLost, FaultsetError
from faultset_ray.objects.entry import Entry, Fence, RetiredStores
from faultset_ray.objects.store_values import StoreInfo


class ObjectVerbs(RebuildVerbs):
    """Base of the coordinator. Every method is safe to repeat, and a batch is one transaction.

    Where a list comes back that may hold errors, each stands at the position of the item that it refuses, which
    changed nothing. What is due is due by the catalog's own time.
    """

    def _objects(self) -> ObjectLedger:
        """The catalog of objects; refuses where it is known to be lost."""
        if self._lost is not None:
            raise self._lost
        return self._serve().objects

    # -- Writes

    def fence(self) -> Fence:
        """What every call to a store is to carry."""
        return self._objects().writes.fence()

    def tolerate(self, least: int, *, remembered: bool = False) -> tuple[Fence, bool]:
        """Let writes tolerate as few losses as that; the fence of now, and whether enough stores remember it.

        Parameters
        ----------
        remembered
            They do from now on.
        """
        ledger = self._serve()
        writes = self._objects().writes
        with ledger.catalog.transaction():
            writes.least.lower(least)
            if remembered:
                writes.least.remembered(least)
        return writes.fence(), writes.least.told() <= least

    def open_writes(self, intents: Sequence[Intent]) -> list[Ticket | FaultsetError]:
        """Write down what is about to be written or deleted.

        A write that is opened again gets the same generation; if it names other stores then, those of before
        are remembered too. One that names its generation, which was ended and collected since, is refused.

        Raises
        ------
        PreconditionFailed, ObjectNotFound, WriteInProgress, WriteAborted, InputError
            At its position: the condition does not hold; there is nothing to delete; a write with a condition
            and another one of its name are open; it was given up; it can't be.
        """
        return self._objects().writes.open(intents)

    def renew_writes(self, write_ids: Sequence[bytes]) -> list[bool]:
        """Keep writes open for ``INTENT_SECONDS`` from now on; of each, whether it is open still."""
        return self._objects().writes.renew(write_ids)

    def commit_writes(self, commits: Sequence[Commit]) -> list[Entry | FaultsetError]:
        """Make writes visible whose records are durable; what each of them is in the catalog then.

        Of two of one name the higher generation is what readers get, whichever was committed first.

        Raises
        ------
        WriteAborted, InputError
            At its position: it was given up; it has fewer shards than decoding needs.
        """
        return self._objects().writes.commit(commits)

    def abort_writes(self, write_ids: Sequence[bytes]) -> list[bool]:
        """Give writes up, and let the stores drop what they have of them; False for one that was committed.

        Not for a deletion or an undeletion of which a record may be on a store: that one is to be carried on.
        """
        return self._objects().writes.abort(write_ids)

    def undelete(self, name: str, write_id: bytes, driver: str) -> Undeletion:
        """Write down that a deleted object is to come back; it does with :meth:`commit_writes`.

        Raises
        ------
        ObjectNotFound
            Nothing of that name can be brought back.
        PreconditionFailed
            There is an object of that name.
        WriteInProgress
            A write with a condition is open.
        """
        return self._objects().writes.undelete(name, write_id, driver)

    def unresolved(self) -> list[OpenWrite]:
        """Writes whose drivers renew them no more: to be committed if there is a record of one, else given up."""
        return self._objects().writes.unresolved()

    # -- Objects

    def lookup(self, names: Sequence[str]) -> list[Entry | None]:
        """The newest committed generation of each name; None where there is none, or it is deleted."""
        entries = self._objects().entries
        return [entries.visible(name_bytes(name)) for name in names]

    def entries(self, write_ids: Sequence[bytes]) -> list[Entry | None]:
        """The object, deleted or not, that the shards of each write are of now; None where they are of none."""
        entries = self._objects().entries
        owners = (entries.committed(write_id) for write_id in write_ids)
        return [None if owner is None else entries.owned(owner) for owner in owners]

    def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000, *, deleted: bool = False
    ) -> list[Entry]:
        """Objects whose names begin with ``prefix`` and come after ``after``, in the order of their UTF-8 bytes."""
        return self._objects().entries.listed(prefix, after, limit, deleted=deleted)

    def by_store(self, uuid: str, after: int = 0, limit: int = 1000) -> tuple[list[Entry], int]:
        """Objects, deleted ones too, with a shard on a store: a page, oldest first, and what to ask the next one with.

        That is 0 after the last page; a page may be empty, or short, before it.
        """
        return self._objects().entries.by_store(uuid, after, limit)

    def tombstones(self, store: str, after: int = 0, limit: int = 1000) -> list[Entry]:
        """Deletions that a store may have the tombstones of, by generation from ``after`` on: a page.

        An entry's layout are all the stores that may have it.
        """
        return self._objects().tombstones.on(store, after, limit)

    def add_tombstones(self, store: str, generations: Sequence[int]) -> list[bool]:
        """Note that a store is about to get tombstones; of each, whether it is still needed."""
        ledger, tombstones = self._serve(), self._objects().tombstones
        with ledger.catalog.transaction():
            return tombstones.add(store, generations)

    def whose(self, store: str, shards: Sequence[tuple[bytes, int]]) -> list[Whose]:
        """What is known of shards (write id, index) that were found on a store."""
        return self._objects().whose(store, shards)

    def drop_surplus(self, store: str, shards: Sequence[tuple[bytes, int]]) -> int:
        """Have a store drop shards (write id, index) that their objects have on other stores; how many those are.

        Whoever asks has seen that sealed ones are sound there.
        """
        return self._objects().drop_surplus(store, shards)

    def keeps(self, store: str, generations: Sequence[int]) -> list[bool]:
        """Of records that were found on a store, whether it will be told when to forget them: the catalog names it.

        One that was retired and comes back has others too: nobody has told it what to drop meanwhile.
        """
        return self._objects().keeps(store, generations)

    def tally(self) -> Tally:
        """How much there is of everything."""
        return self._objects().tally()

    # -- Garbage

    def garbage(self, limit: int) -> list[Garbage]:
        """What is due, and what stores have not confirmed yet: at most ``limit`` of each store.

        A store drops the shards first (``Store.drop``), then forgets the records (``Store.forget``); then it is
        told by :meth:`collected`. Tombstones come when everything older of their name was collected.
        """
        objects = self._objects()
        objects.keep_time()
        objects.waste.condemn(objects.time.now_ms())
        return objects.waste.handed(limit)

    def collected(self, items: Sequence[Garbage]) -> None:
        """Note what stores have let go of."""
        ledger = self._serve()
        with ledger.catalog.transaction():
            ledger.objects.waste.collected(items)

    # -- Stores

    def stores_seen(self, infos: Sequence[StoreInfo]) -> dict[str, StoreRow]:
        """Note what stores said of themselves; every known store by its UUID.

        Those of another catalog are not among them. One that was retired and is seen at another place is returning.

        Raises
        ------
        CatalogLost
            Some are of another catalog and this one is empty, or they saw what this one never gave, a copy of old. All
            verbs of objects raise it from now on.
        """
        objects = self._objects()
        try:
            return objects.stores.seen(self.system, infos, objects.time.now_ms(), objects.writes.latest)
        except CatalogLost as lost:
            self._lost = lost
            raise

    def stores(self) -> dict[str, StoreRow]:
        """Every store that was ever seen, by its UUID."""
        objects = self._objects()
        return objects.stores.rows(objects.time.now_ms())

    def retired_stores(self, since: int = 0) -> RetiredStores | None:
        """The stores that were let go of; None where this is still of that version."""
        found = self._objects().retired.now()
        return None if found.version == since else found

    def set_store_state(
        self, uuid: str, state: StoreState, *, force: bool = False, only: StoreState | None = None
    ) -> bool:
        """Let a store take part, take no new shards, or be waited for no more.

        Parameters
        ----------
        force
            Retire it though it has shards of objects: they are as lost until it is seen again.
        only
            Change nothing unless that is what it is now.

        Returns
        -------
        bool
            False where it is not ``only``.

        Raises
        ------
        InputError
            No such store, or state.
        StoreInUse
            It can't be retired: it has a shard of an object, or a write or a move that is open names it.
        """
        return self._objects().set_store_state(uuid, state, force=force, only=only)

    def store_returned(self, uuid: str) -> None:
        """A store that was retired has let go of what it had then, and takes part again."""
        self._objects().store_returned(uuid)

    # -- Damage and moves

    def report_damage(self, reports: Sequence[Damage]) -> int:
        """Note shards that are not what they should be; how many of them are where it says."""
        objects = self._objects()
        return objects.upkeep.report(reports, objects.clock.now_ms())

    def damage(self, limit: int, skip: int = 0) -> list[Damage]:
        """What was reported and not made good yet, oldest first; so many, after those that are skipped."""
        return self._objects().upkeep.damage(limit, skip)

    def damage_of(self, write_id: bytes) -> list[Damage]:
        """What was reported of the shards of a write and not made good yet."""
        return self._objects().upkeep.damage_of(write_id)

    def damage_settled(self, reports: Sequence[Damage]) -> None:
        """Take reports back: the shards are sound."""
        self._objects().upkeep.sound(reports)

    def open_shard_moves(self, moves: Sequence[ShardMove]) -> list[Entry | FaultsetError]:
        """Write down that shards are to go to other stores; the objects as they are.

        Raises
        ------
        ObjectNotFound, StaleEpoch, WriteInProgress, InputError
            At its position: the shards are of no object; the shard is not at its source; it is being moved
            elsewhere, or the target has still to drop something of the write; the target takes nothing.
        """
        objects = self._objects()
        return objects.upkeep.open(moves, objects.time.now_ms())

    def commit_shard_moves(self, moves: Sequence[ShardMove]) -> list[Entry | FaultsetError]:
        """Have shards at their targets: a new layout version, the damage made good, the sources garbage.

        Raises
        ------
        ObjectNotFound, StaleEpoch
            At its position: the shards are of no object; the move was given up.
        """
        return self._objects().upkeep.commit(moves)

    def abort_shard_moves(self, moves: Sequence[ShardMove]) -> None:
        """Give moves up that are not committed; their targets drop what they took."""
        self._objects().upkeep.abort(moves)

    def shard_moves(self, age_s: float | None = None) -> list[ShardMove]:
        """Moves that are not ended, oldest first; only those that were opened so long ago, if that is given."""
        objects = self._objects()
        until_ms = None if age_s is None else objects.time.now_ms() - round(1000 * age_s)
        return objects.upkeep.moves(until_ms)

    # -- Notes

    def note(self, name: str) -> bytes:
        """A small durable value, as the place where a scrub goes on; empty where there is none."""
        return self._objects().note(name)

    def set_note(self, name: str, body: bytes) -> None:
        """Keep a small value."""
        self._objects().set_note(name, body)
