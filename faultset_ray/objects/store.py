"""The store: one place's directory of shards, as a servant with plain values in and out."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import CorruptShard, IncompleteShard, InputError, ShardNotFound, StoreFailure
from faultset_ray.limits import FORMAT_SHARDS_MAX, STORE_ABORTED_WRITES_MAX, STORE_OPEN_FILES_MAX
from faultset_ray.objects.store_home import claim, private
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header
from faultset_ray.shards.reader import ShardFile, ShardReader, inspect
from faultset_ray.shards.writer import ShardWriter, check_same_seal, fsync_directory

_log = logging.getLogger(__name__)
_NAME = re.compile(r"([0-9a-f]{32})\.(\d{3,5})\.shard")

WRITE_ID_BYTES = 16
Key = tuple[bytes, int]
"""Write id and index: what a shard is found by."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """Which store this is, and how it fares."""

    uuid: str
    place: str
    region: str
    durability: str
    """``"fsync"``: what is sealed outlives the machine's power. ``"none"``: it is gone with the process."""
    path: str
    free_bytes: int
    capacity_bytes: int
    """Of the disk, whoever uses it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A store's word that it holds a sealed shard."""

    store: str
    place: str
    region: str
    write_id: bytes
    index: int
    file_bytes: int
    durability: str


class Store:
    """Shards on one disk. Every method may be called from several threads, and again after a lost answer.

    A shard is known by its write id (16 bytes) and index; nothing else becomes a name on disk. Blocks are
    verified when they arrive, against the digests that the encoder made; what is read is to be verified by
    whoever uses it.

    Parameters
    ----------
    root
        Directory that the store takes a subdirectory of its own in, which it and its shards are found in again
        after a restart. None for a private temporary directory, removed at the end of the process.
    place, region
        Where this is, for receipts.

    Raises
    ------
    StoreFailure
        If the directory can't be made or locked. Any method raises it when the disk fails; the shard in hand
        is then dropped whole.
    """

    def __init__(self, root: str | None, place: str, region: str = "") -> None:
        self.place = place
        self.region = region
        with _failures(root or "in the temporary directory", "start"):
            self._home = private() if root is None else claim(Path(root))
        self.uuid = self._home.uuid
        self._durability = "fsync" if self._home.durable else "none"
        self._lock = threading.Lock()
        self._writers: dict[Key, ShardWriter] = {}
        # Least recently used first; those not among them have closed their files for now.
        self._open_writers: OrderedDict[Key, ShardWriter] = OrderedDict()
        self._readers: OrderedDict[Key, ShardReader] = OrderedDict()
        # Oldest first: a block that was on its way when its write was aborted must not begin its shard anew.
        self._aborted: OrderedDict[bytes, None] = OrderedDict()
        self._closed = False
        if root is None:
            _log.warning("store at %s keeps shards in %s only while it runs", place, self._home.path)

    def info(self) -> StoreInfo:
        """Tell which store this is, where, its free bytes and the size of its disk."""
        with self._operation("tell its free space"):
            disk = os.statvfs(self._home.path)
        path = str(self._home.path)
        free_bytes = disk.f_bavail * disk.f_frsize
        capacity_bytes = disk.f_blocks * disk.f_frsize
        return StoreInfo(self.uuid, self.place, self.region, self._durability, path, free_bytes, capacity_bytes)

    def begin(self, header: bytes) -> None:
        """Create an unsealed shard, if it isn't there: only an empty object's needs it, as no block does.

        Raises
        ------
        CorruptShard, InputError, IncompleteShard
            As :meth:`append`.
        """
        parsed = Header.unpack(header, "header")
        key = parsed.write_id, parsed.index
        with self._operation("begin a shard", key):
            self._writer(key, parsed, header)

    def append(self, header: bytes, stripe: int, block: NDArray[np.uint8], digests: NDArray[np.uint8]) -> None:
        """Take one block of an unsealed shard; the first one creates the shard. Repeats do nothing.

        Parameters
        ----------
        header
            The shard's packed header, the same with every block.
        stripe
            In any order.
        block, digests
            uint8[L] and uint8[granules, 4], contiguous; not kept.

        Raises
        ------
        CorruptShard
            If header or block are not as the encoder made them.
        InputError
            If the shard was begun with another header, or the stripe appended with other bytes.
        IncompleteShard
            If the write was aborted.
        ShardSizeError
            If lengths don't fit the header.
        """
        parsed = Header.unpack(header, "header")
        corrupt = verify_block(parsed, stripe, block, digests)
        if corrupt:
            raise CorruptShard(parsed.label, f"stripe {stripe} arrived with corrupt granules {list(corrupt)}")
        key = parsed.write_id, parsed.index
        with self._operation("append a block", key):
            writer = self._writer(key, parsed, header)
            if writer is not None:
                writer.append(stripe, block, digests)

    def seal(self, write_id: bytes, index: int, size: int, stripes: int, object_digest: bytes) -> Receipt:
        """Finish a shard; with durability "fsync" it is on disk when this returns. Repeats return the same.

        Parameters
        ----------
        size, stripes, object_digest
            Of the whole object: bytes, stripes, SHA-256.

        Raises
        ------
        ShardNotFound
            If it was never begun.
        IncompleteShard, ShardSizeError
            If blocks are missing, or don't fit the size.
        InputError
            If it is sealed with other values.
        """
        key = self._key(write_id, index)
        with self._operation("seal a shard", key):
            with self._lock:
                writer = self._writers.get(key)
            if writer is None:
                return self._sealed_before(key, size, stripes, object_digest)
            self._make_bucket(write_id)
            writer.seal(size, stripes, object_digest, durable=self._home.durable)
            with self._lock:
                self._writers.pop(key, None)
                self._open_writers.pop(key, None)
            return self._receipt(key, writer.header.layout.file_bytes(size))

    def abort(self, write_id: bytes) -> int:
        """Drop the unsealed shards of a write, and take no more of it; sealed ones stay. Returns the bytes freed."""
        self._key(write_id, 0)
        with self._lock:
            self._aborted[write_id] = None
            if len(self._aborted) > STORE_ABORTED_WRITES_MAX:
                self._aborted.popitem(last=False)
        with self._operation("abort a write"):
            return self._drop_unsealed(write_id)

    def stat(self, write_id: bytes, index: int) -> ShardFile | None:
        """Look at a sealed shard's file: header, trailer, or why it is unusable. None if there is none."""
        key = self._key(write_id, index)
        with self._operation("look at a shard"):
            return self._inspect(key)

    def read(
        self, write_id: bytes, index: int, stripe: int, first_granule: int = 0, granules: int | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read one block of a sealed shard, or whole granules of it, with its digests; not verified here.

        Returns
        -------
        block, digests
            uint8[L], uint8[granules, 4], owned by the caller.

        Raises
        ------
        ShardNotFound
            If there is no such sealed shard.
        CorruptShard, UnsupportedFormat
            If its header, trailer or length are not sound.
        InputError
            If it has no such stripe or granules.
        """
        key = self._key(write_id, index)
        with self._operation("read a block"):
            return self._reader(key).read(stripe, first_granule, granules)

    def shards(self) -> list[ShardFile]:
        """Look at every sealed shard, damaged ones with the reason, in order of write id and index."""
        with self._operation("list shards"):
            buckets = [path for path in self._home.shards.iterdir() if _is_directory(path)]
            keys = [key for bucket in buckets for key in _keys(bucket)]
            found = [self._inspect(key) for key in sorted(keys)]
        return [file for file in found if file is not None]

    def delete(self, write_id: bytes) -> int:
        """Remove all shards of a write, sealed or not. Returns the bytes freed; 0 if there was nothing."""
        self._key(write_id, 0)
        with self._operation("delete a write"):
            freed = self._drop_unsealed(write_id)
            bucket = self._bucket(write_id)
            keys = [key for key in _keys(bucket) if key[0] == write_id]
            for key in keys:
                freed += _unlink(self._path(key))
                # In this order, or a read in between would put the file back into the cache.
                with self._lock:
                    self._readers.pop(key, None)
            if keys and self._home.durable:
                fsync_directory(bucket)
        return freed

    def close(self) -> None:
        """Drop what is not sealed and give the directory up, or remove it if it is private. Again does nothing."""
        with self._lock:
            self._closed = True
            for key in list(self._writers):
                with suppress(OSError):  # what is left over is wiped at the next start
                    self._drop(key)
            self._readers.clear()
            self._home.close()

    @staticmethod
    def _key(write_id: bytes, index: int) -> Key:
        if not isinstance(write_id, bytes) or len(write_id) != WRITE_ID_BYTES:
            raise InputError(f"write id is {write_id!r}; expected {WRITE_ID_BYTES} bytes")
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < FORMAT_SHARDS_MAX:
            raise InputError(f"index is {index!r}; expected 0 to {FORMAT_SHARDS_MAX - 1}")
        return write_id, index

    def _bucket(self, write_id: bytes) -> Path:
        """The directory of a write's sealed shards, which may not be there yet."""
        bucket = self._home.shards / write_id[:1].hex()
        with suppress(FileNotFoundError):
            if not _is_directory(bucket):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(bucket))
        return bucket

    def _path(self, key: Key) -> Path:
        return self._bucket(key[0]) / f"{key[0].hex()}.{key[1]:03d}.shard"

    def _make_bucket(self, write_id: bytes) -> None:
        bucket = self._bucket(write_id)
        if not bucket.exists():
            bucket.mkdir(mode=0o700, exist_ok=True)
            if self._home.durable:
                fsync_directory(self._home.shards)

    def _writer(self, key: Key, parsed: Header, header: bytes) -> ShardWriter | None:
        """The shard in the making, begun if need be; None if it is sealed already."""
        idle = None
        with self._lock:
            if parsed.write_id in self._aborted:
                raise IncompleteShard(parsed.label, 0, 1, 0)
            writer = self._writers.get(key)
            if writer is None and (path := self._path(key)).exists():
                packed = self._open(key).packed
            else:
                if writer is None:
                    writer = ShardWriter(path, parsed, unsealed=self._home.tmp / path.name, mode=0o600)
                    self._writers[key] = writer
                packed = writer.packed
            if packed != header:
                raise InputError(f"{parsed.label} was begun with another header")
            if writer is not None:
                self._open_writers[key] = writer
                self._open_writers.move_to_end(key)
                if len(self._open_writers) > STORE_OPEN_FILES_MAX:
                    _, idle = self._open_writers.popitem(last=False)
        if idle is not None:
            _release(idle)
        return writer

    def _reader(self, key: Key) -> ShardReader:
        with self._lock:
            reader = self._readers.pop(key, None) or self._open(key)
            self._readers[key] = reader
            if len(self._readers) > STORE_OPEN_FILES_MAX:
                # Not closed here: another thread may be reading, and the last reference closes it.
                self._readers.popitem(last=False)
            return reader

    def _open(self, key: Key) -> ShardReader:
        try:
            reader = ShardReader(self._path(key), follow=False)
        except FileNotFoundError:
            raise ShardNotFound(self.uuid, key[0].hex(), key[1]) from None
        if (reader.header.write_id, reader.header.index) != key:
            raise CorruptShard(str(reader.path), f"holds {reader.header.label}")
        return reader

    def _inspect(self, key: Key) -> ShardFile | None:
        path = self._path(key)
        try:
            file = inspect(path, follow=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            return ShardFile(path, None, None, f"can't be read: {error.strerror}")
        if file.header is not None and (file.header.write_id, file.header.index) != key:
            return ShardFile(path, file.header, None, f"holds {file.header.label}")
        return file

    def _sealed_before(self, key: Key, size: int, stripes: int, object_digest: bytes) -> Receipt:
        reader = self._reader(key)
        check_same_seal(reader.header, reader.trailer, size, stripes, object_digest)
        if self._home.durable:
            # The seal before may have been cut short between the rename and this.
            fsync_directory(reader.path.parent)
        return self._receipt(key, reader.file_bytes)

    def _receipt(self, key: Key, file_bytes: int) -> Receipt:
        return Receipt(self.uuid, self.place, self.region, *key, file_bytes, self._durability)

    def _drop_unsealed(self, write_id: bytes) -> int:
        with self._lock:
            return sum(self._drop(key) for key in list(self._writers) if key[0] == write_id)

    def _drop(self, key: Key) -> int:
        """Discard an unsealed shard, with the lock held; bytes freed."""
        self._open_writers.pop(key, None)
        writer = self._writers.pop(key, None)
        return 0 if writer is None else writer.discard()

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
                with self._lock, suppress(OSError):
                    self._drop(key)
            raise


@contextmanager
def _failures(store: str, operation: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error))
        raise StoreFailure(store, operation, name) from error


def _release(writer: ShardWriter) -> None:
    try:
        writer.release()
    except OSError as error:
        # Its blocks may not be on disk. The error is this shard's, not of the call that made it close.
        _log.warning("%s is dropped, its blocks could not be written back: %s", writer.header.label, error)
        writer.discard()


def _is_directory(path: Path) -> bool:
    """Whether it is one itself, not a link to one."""
    return stat.S_ISDIR(path.lstat().st_mode)


def _keys(bucket: Path) -> list[Key]:
    """The shards whose names stand in a directory of sealed shards."""
    try:
        names = [path.name for path in bucket.iterdir()]
    except FileNotFoundError:
        return []
    matches = (_NAME.fullmatch(name) for name in names)
    return [(bytes.fromhex(match[1]), int(match[2])) for match in matches if match]


def _unlink(path: Path) -> int:
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
