"""What a store is before it holds anything: its directory, whose it is, its room, and how its errors are told."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from faultset_ray.errors import CatalogMismatch, FaultsetError, InputError, StaleEpoch, StoreFailure
from faultset_ray.limits import SILENT_MAX, STORE_SPARE_BYTES_MAX, STORE_SPARE_SHARE
from faultset_ray.objects.entry import Fence, RetiredStores
from faultset_ray.objects.store_home import StoreHome, claim, claim_private, remove_leftovers
from faultset_ray.objects.store_records import Records
from faultset_ray.objects.store_shards import SealedShards
from faultset_ray.objects.store_values import Key, StoreInfo
from faultset_ray.objects.store_writing import UnsealedShards
from faultset_ray.telemetry import events

_CATALOG_BYTES = 16


class StoreBase:
    """See :class:`~faultset_ray.objects.store.Store`, which has the parameters."""

    def __init__(
        self, root: str | None, place: str, region: str, system: str, identity: bytes, *, private: bool = False
    ) -> None:
        self.place = place
        self.region = region
        with _failures(root or "in the temporary directory", "start"):
            self._home = _home(root, place, region, system, identity, private=private)
            self._sealed = SealedShards(self._home)
            self._unsealed = UnsealedShards(self._home, self._sealed)
            self._records = Records(self._home)
        self.uuid = self._home.uuid
        self._durability = "fsync" if self._home.durable else "none"
        self._fencing = threading.Lock()
        # A record and the shards that it needs don't come and go at once.
        self._recording = threading.Lock()
        self._closed = False
        if not self._home.durable:
            events.STORE_TEMPORARY.tell(place=place, path=self._home.path)
        events.STORE_ATTACHED.tell(store=self.uuid, place=place, path=self._home.path, durability=self._durability)

    # -- What it is

    def info(self) -> StoreInfo:
        """Tell which store this is, where, whose, and what it holds."""
        with self._operation("tell its free space"):
            free_bytes, capacity_bytes = self._space()
        fence = self._home.fence
        return StoreInfo(
            self.uuid,
            self.place,
            self.region,
            self._durability,
            str(self._home.path),
            free_bytes,
            capacity_bytes,
            "" if fence is None else fence.catalog.hex(),
            0 if fence is None else fence.epoch,
            self._sealed.file_bytes,
            self._sealed.count,
            self._home.retired.version,
            SILENT_MAX if fence is None else fence.least,
            self._records.newest,
        )

    def admit(self, fence: Fence) -> StoreInfo:
        """Remember a fence, and tell as :meth:`info`.

        Raises
        ------
        StaleEpoch, CatalogMismatch
            If the store has seen a higher epoch, or belongs to another catalog.
        """
        with self._operation("remember an epoch"):
            self._admit(fence)
        return self.info()

    def retired_stores(self) -> RetiredStores:
        """The stores of the catalog that were let go of, as far as this one was told."""
        return self._home.retired

    def keep_retired(self, retired: RetiredStores, fence: Fence) -> None:
        """Remember which stores were let go of; on disk when it returns. A list of a lower version changes nothing.

        Raises
        ------
        StaleEpoch, CatalogMismatch
            As :meth:`admit`.
        """
        with self._operation("remember which stores were retired"):
            self._admit(fence)
            with self._fencing:
                if retired.version > self._home.retired.version:
                    self._home.set_retired(retired)

    def close(self) -> None:
        """Drop what is not sealed and give the directory up, or remove it if it is private. Again does nothing."""
        if not self._closed:
            self._closed = True
            self._unsealed.drop_all()
            self._sealed.forget_readers()
            with suppress(sqlite3.Error):
                self._records.close()
            self._home.close()

    # -- Inside

    def _admit(self, fence: Fence) -> None:
        if not isinstance(fence, Fence) or len(fence.catalog) != _CATALOG_BYTES or fence.epoch < 0:
            raise InputError(f"fence is {fence!r}; expected a catalog's id of {_CATALOG_BYTES} bytes, and an epoch")
        with self._fencing:
            seen = self._home.fence
            if seen is not None:
                if seen.catalog != fence.catalog:
                    raise CatalogMismatch(self.uuid, seen.catalog.hex(), fence.catalog.hex())
                if seen.epoch > fence.epoch:
                    raise StaleEpoch(f"who calls store {self.uuid}", fence.epoch, seen.epoch)
                fence = replace(fence, least=min(fence.least, seen.least))
            if seen != fence:
                self._home.set_fence(fence)

    def _space(self) -> tuple[int, int]:
        """Free bytes of the disk, and all of it."""
        disk = os.statvfs(self._home.path)
        return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize

    def _check_room(self, nbytes: int) -> None:
        """Refuse shards that would leave no room for records."""
        free_bytes, capacity_bytes = self._space()
        if free_bytes - nbytes < min(capacity_bytes * STORE_SPARE_SHARE, STORE_SPARE_BYTES_MAX):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _typed(self, error: FaultsetError | OSError, operation: str) -> FaultsetError:
        return _failed(self.uuid, operation, error) if isinstance(error, OSError) else error

    @contextmanager
    def _operation(self, operation: str, key: Key | None = None) -> Iterator[None]:
        """Give the disk's errors our type; a shard in the making that met one is dropped."""
        if self._closed:
            raise StoreFailure(self.uuid, operation, "it is closed")
        try:
            with _failures(self.uuid, operation):
                yield
        except StoreFailure:
            if key is not None:
                with suppress(OSError):
                    self._unsealed.drop(key)
            raise


def _home(root: str | None, place: str, region: str, system: str, identity: bytes, *, private: bool) -> StoreHome:
    if root is not None:
        remove_leftovers(Path(root))
        if not private:
            return claim(Path(root), system, identity, region, place)
    return claim_private(None if root is None else Path(root), system, identity, region)


@contextmanager
def _failures(store: str, operation: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise _failed(store, operation, error) from error


def _failed(store: str, operation: str, error: OSError | sqlite3.Error) -> StoreFailure:
    """What is raised where a disk failed; it is told here, since the disk is here."""
    name = _named(error)
    event = events.STORE_FULL if name in {"ENOSPC", "EDQUOT"} else events.STORE_FAILED
    event.tell(store=store, what=operation, error=name)
    return StoreFailure(store, operation, name)


def _named(error: OSError | sqlite3.Error) -> str:
    """What the disk said, in the words of errno where it can be told."""
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno or 0, str(error))
    name = getattr(error, "sqlite_errorname", "") or str(error)
    if name == "SQLITE_FULL":
        return "ENOSPC"
    return f"EIO ({name})" if name.startswith("SQLITE_IOERR") else name
