"""The stores that a catalog knows, and layouts as it keeps them: a small key for each UUID."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from faultset_ray.coordinator.catalog import Catalog
from faultset_ray.coordinator.objects import StoreRow, StoreState
from faultset_ray.errors import CatalogLost, InputError
from faultset_ray.objects.store_values import StoreInfo

NOWHERE: Final = 0
"""The key of no store."""
WRITTEN: Final = ("written", b"")
"""The note that says that a catalog is in use."""
_COLUMNS = "uuid, place, region, path, durability, state, seen_ms, capacity_bytes, used_bytes, free_bytes, shards"
_UPSERT = (
    f"INSERT INTO stores ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, 'active', ?, ?, ?, ?, ?) "
    "ON CONFLICT (uuid) DO UPDATE SET place = excluded.place, region = excluded.region, path = excluded.path, "
    "durability = excluded.durability, state = CASE "
    "WHEN state = 'retired' AND place <> excluded.place THEN 'returning' ELSE state END, "
    "seen_ms = MAX(seen_ms, excluded.seen_ms), "
    "capacity_bytes = excluded.capacity_bytes, used_bytes = excluded.used_bytes, free_bytes = excluded.free_bytes, "
    "shards = excluded.shards"
)


class Stores:
    """Rows of stores, and their keys in memory."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._load()

    def seen(self, system: str, infos: Sequence[StoreInfo], now_ms: int, latest: int) -> dict[str, StoreRow]:
        """Note what stores said of themselves; every store by its UUID. Those of another catalog are passed over.

        Parameters
        ----------
        latest
            The last generation that was given.

        Raises
        ------
        CatalogLost
            Some are of another catalog, and in this one nothing was ever written; or they saw what this one never gave,
            so that it is a copy of old.
        """
        ours = self.identity.hex()
        foreign = [info.uuid for info in infos if info.catalog not in {"", ours}]
        if foreign and not self._catalog.one("SELECT 1 FROM notes WHERE name = ?", WRITTEN[0]):
            raise CatalogLost(system, sorted(foreign))
        newest = {info.uuid: max(info.generation, info.epoch << 32) for info in infos if info.catalog == ours}
        newer = sorted(uuid for uuid, generation in newest.items() if generation > latest)
        if newer:
            raise CatalogLost(system, newer, max(newest.values()), latest)
        self.note([info for info in infos if info.uuid not in foreign], now_ms)
        return self.rows(now_ms)

    def note(self, infos: Sequence[StoreInfo], now_ms: int) -> None:
        """Write down what stores said of themselves."""
        if infos:
            with self._catalog.transaction():
                self._catalog.many(_UPSERT, (_row(info, now_ms) for info in infos))
            self._load()

    def count_on(self) -> None:
        """Inside a transaction: note that the catalog is in use, also should all that is written be deleted again."""
        self._catalog.do("INSERT OR IGNORE INTO notes VALUES (?, ?)", *WRITTEN)

    @property
    def identity(self) -> bytes:
        """The catalog's 16 bytes."""
        [identity] = self._catalog.one("SELECT catalog FROM system")
        return bytes(identity)

    def rows(self, now_ms: int) -> dict[str, StoreRow]:
        """Every store that was ever seen, by UUID."""
        columns = _COLUMNS.replace("seen_ms", "MAX(0, ? - seen_ms) / 1000.0")
        rows = self._catalog.all(f"SELECT {columns} FROM stores ORDER BY uuid", now_ms)
        return {row[0]: StoreRow(*row) for row in rows}

    def set_state(self, uuid: str, state: StoreState) -> None:
        """Inside a transaction; the keys are read again when it has ended.

        Raises
        ------
        InputError
            There is no such store.
        """
        if uuid not in self._keys:
            raise InputError(f"no store {uuid!r} is known")
        self._catalog.do("UPDATE stores SET state = ? WHERE uuid = ?", state, uuid)

    def state(self, uuid: str) -> StoreState | None:
        """What a store is for; None for one that is not known."""
        return self._states.get(uuid)

    def refresh(self) -> None:
        """Read the keys again."""
        self._load()

    def learn(self, layouts: Iterable[Sequence[str]]) -> None:
        """Give each store of some layouts a key; one that nobody has seen yet gets the rest when it is seen."""
        unknown = {uuid for layout in layouts for uuid in layout if uuid} - self._keys.keys()
        if unknown:
            with self._catalog.transaction():
                self._catalog.many(_UPSERT, ((uuid, "", "", "", "", 0, 0, 0, 0, 0) for uuid in sorted(unknown)))
            self._load()

    def key(self, uuid: str) -> int:
        """A store's key; that of no store for ``""`` and for one that is not known."""
        return self._keys.get(uuid, NOWHERE)

    def uuid(self, key: int) -> str:
        """The opposite of :meth:`key`."""
        return self._uuids[key]

    @property
    def keys(self) -> list[int]:
        """Every key, ascending."""
        return sorted(self._uuids)[1:]

    def retired(self, key: int) -> bool:
        """Whether nobody waits for the store any more."""
        return key in self._retired

    def accepts(self, uuid: str) -> bool:
        """Whether new shards may go to the store."""
        return self._states.get(uuid) == "active"

    def pack(self, layout: Sequence[str]) -> bytes:
        """A layout as the catalog keeps it."""
        return packed([self.key(uuid) for uuid in layout])

    def unpack(self, packed: bytes) -> tuple[str, ...]:
        """The opposite of :meth:`pack`."""
        return tuple(self._uuids[key] for key in keys_of(packed))

    def _load(self) -> None:
        rows = self._catalog.all("SELECT key, uuid, state FROM stores")
        self._keys: dict[str, int] = {uuid: key for key, uuid, _ in rows}
        self._uuids: dict[int, str] = {NOWHERE: ""} | {key: uuid for key, uuid, _ in rows}
        self._states: dict[str, StoreState] = {uuid: state for _, uuid, state in rows}
        self._retired = {key for key, _, state in rows if state == "retired"}


def packed(keys: Sequence[int]) -> bytes:
    """A layout of keys, u32 little-endian, by index."""
    return struct.pack(f"<{len(keys)}I", *keys)


def keys_of(packed: bytes) -> tuple[int, ...]:
    """The opposite of :func:`packed`."""
    return struct.unpack(f"<{len(packed) // 4}I", packed)


def _row(info: StoreInfo, now_ms: int) -> tuple[object, ...]:
    return (
        *(info.uuid, info.place, info.region, info.path, info.durability, now_ms),
        *(info.capacity_bytes, info.used_bytes, info.free_bytes, info.shards),
    )
