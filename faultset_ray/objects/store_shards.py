"""The sealed shards of one store: files in directories by the first byte of their write id."""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from faultset_ray.columns import is_int
from faultset_ray.errors import CorruptShard, InputError, ShardNotFound, UnsupportedFormat
from faultset_ray.limits import FORMAT_SHARDS_MAX, STORE_OPEN_FILES_MAX
from faultset_ray.objects.store_home import StoreHome
from faultset_ray.objects.store_values import WRITE_ID_BYTES, Check, Key, ScanPage, cursor_after
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.disk import fsync_directories, fsync_directory, read_file, replace_file
from faultset_ray.shards.reader import ShardFile, ShardReader, inspect

_NAME = re.compile(r"([0-9a-f]{32})\.(\d{3,5})\.shard")
_REASON_BYTES_MAX = 1000
_FEW_SHARDS = 64
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Where a file system has no second names for files, what is replaced is not kept."""


class SealedShards:
    """Safe to call from several threads. An ``OSError`` passes through.

    Attributes
    ----------
    count, file_bytes
        How many there are, and the bytes of their files.
    """

    def __init__(self, home: StoreHome) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._readers: OrderedDict[Key, ShardReader] = OrderedDict()
        self._making = threading.Lock()
        self._lasting: set[str] = set()
        """The directories of shards whose names are on the disk; another may be there, and go with a power failure."""
        self.count = 0
        self.file_bytes = 0
        buckets = [bucket for bucket in home.shards.iterdir() if _is_directory(bucket)]
        _remove_empty(buckets)  # one that was made last may not be on the disk: it is made again
        for bucket in buckets:
            with suppress(FileNotFoundError), os.scandir(bucket) as entries:
                sizes = [each.stat(follow_symlinks=False).st_size for each in entries if _NAME.fullmatch(each.name)]
                self.count += len(sizes)
                self.file_bytes += sum(sizes)
                self._lasting.add(bucket.name)
        if home.durable:
            fsync_directory(home.shards)

    def path(self, key: Key) -> Path:
        """Where a shard stands, or is to stand."""
        return self._bucket(key[0]) / _name(key)

    def make_buckets(self, write_ids: Iterable[bytes]) -> None:
        """Make the directories that shards of some writes are to stand in."""
        buckets = [self._bucket(write_id) for write_id in sorted({write_id[:1] for write_id in write_ids})]
        with self._making:
            missing = [bucket for bucket in buckets if bucket.name not in self._lasting or not bucket.exists()]
            for bucket in missing:
                bucket.mkdir(mode=0o700, exist_ok=True)
            if missing and self._home.durable:
                try:
                    fsync_directory(self._home.shards)
                except OSError:
                    _remove_empty(missing)  # a second fsync would say all is well
                    raise
            self._lasting.update(bucket.name for bucket in missing)

    def added(self, file_bytes: int) -> None:
        """A shard was put in its place."""
        with self._lock:
            self.count += 1
            self.file_bytes += file_bytes

    def reader(self, key: Key) -> ShardReader:
        """An open shard, kept open for the next call.

        Raises
        ------
        ShardNotFound, CorruptShard, UnsupportedFormat
            If there is none, or none that can be read.
        """
        with self._lock:
            reader = self._readers.pop(key, None) or self.open(key)
            self._readers[key] = reader
            if len(self._readers) > STORE_OPEN_FILES_MAX:
                # Not closed here: another thread may be reading, and the last reference closes it.
                self._readers.popitem(last=False)
            return reader

    def open(self, key: Key, path: Path | None = None) -> ShardReader:
        """As :meth:`reader`, for this caller alone; of a file that is not in its place yet, if one is named."""
        try:
            reader = ShardReader(path or self.path(key), follow=False)
        except FileNotFoundError:
            raise ShardNotFound(self._home.uuid, key[0].hex(), key[1]) from None
        if (reader.header.write_id, reader.header.index) != key:
            raise CorruptShard(str(reader.path), f"holds {reader.header.label}")
        return reader

    def forget_readers(self) -> None:
        """Close what nobody is reading."""
        with self._lock:
            self._readers.clear()

    def inspect(self, key: Key) -> ShardFile | None:
        """Look at both ends of a shard, or tell that it is in quarantine; None if it is nowhere."""
        path = self.path(key)
        try:
            file = inspect(path, follow=False)
        except FileNotFoundError:
            return self._inspect_quarantined(key)
        except OSError as error:
            return ShardFile(path, None, None, f"can't be read: {error.strerror}")
        if file.header is not None and (file.header.write_id, file.header.index) != key:
            return ShardFile(path, file.header, None, f"holds {file.header.label}")
        return file

    def any_of(self, write_id: bytes, n: int) -> bool:
        """Whether a shard of a write of `n` is here."""
        if n > _FEW_SHARDS:
            return bool(self.of_writes([write_id])[write_id])
        return any(self.path((write_id, index)).exists() for index in range(n))

    def of_writes(self, write_ids: Sequence[bytes]) -> dict[bytes, list[int]]:
        """The indices that are here of each write, ascending."""
        found: dict[bytes, list[int]] = {write_id: [] for write_id in write_ids}
        for bucket in {self._bucket(write_id) for write_id in write_ids}:
            for write_id, index in sorted(_keys(bucket)):
                if write_id in found:
                    found[write_id].append(index)
        return found

    def remove(self, keys: Collection[Key], write_ids: Iterable[bytes] = ()) -> dict[Key, int]:
        """Remove shards, from quarantine too; durable when it returns.

        Parameters
        ----------
        write_ids
            Writes whose shards were perhaps removed before: that is durable then too.

        Returns
        -------
        dict
            The bytes that each freed.
        """
        freed: dict[Key, int] = {}
        # Also of what is not there: a removal before may have been cut short between the unlink and this.
        buckets = {self._bucket(write_id) for write_id in {*write_ids, *(key[0] for key in keys)}}
        directories = {self._home.quarantine, *(bucket for bucket in buckets if bucket.exists())}
        for key in keys:
            with self._lock:
                sealed = unlink(self.path(key))
                self._readers.pop(key, None)
                if sealed is not None:
                    self.count -= 1
                    self.file_bytes -= sealed
            quarantined = unlink(self._home.quarantine / _name(key))
            if quarantined is not None:
                unlink(self._reason(key))
            freed[key] = freed.get(key, 0) + (sealed or 0) + (quarantined or 0)
        self._sync(directories)
        return freed

    def remove_writes(self, write_ids: Sequence[bytes]) -> dict[bytes, int]:
        """As :meth:`remove`, of all shards of some writes."""
        freed = dict.fromkeys(write_ids, 0)
        keys = {(write_id, index) for write_id, indices in self.of_writes(write_ids).items() for index in indices}
        keys |= {key for key in _keys(self._home.quarantine) if key[0] in freed}
        for (write_id, _), nbytes in self.remove(sorted(keys), write_ids).items():
            freed[write_id] += nbytes
        return freed

    def quarantine(self, key: Key, reason: str) -> None:
        """Move a shard to where nobody reads it, durably when it returns; again only sees to that.

        Raises
        ------
        ShardNotFound
            If it is neither here nor there.
        """
        path, aside = self.path(key), self._home.quarantine / _name(key)
        if not path.exists():
            if not aside.exists():
                raise ShardNotFound(self._home.uuid, key[0].hex(), key[1])
            self._sync({self._home.quarantine, *({path.parent} if path.parent.exists() else ())})
            return
        self._keep_reason(key, reason)
        with self._lock:
            size = path.lstat().st_size
            path.rename(aside)
            self._readers.pop(key, None)
            self.count -= 1
            self.file_bytes -= size
        self._sync({path.parent, self._home.quarantine})

    def replace(self, key: Key, fresh: Path, reason: str) -> None:
        """Put a sealed file in a shard's place, in one step; the one that stands there goes to quarantine.

        At no time is the place empty: until the new one is there, what is sound of the old one can be read.
        """
        path = self.path(key)
        self.make_buckets([key[0]])
        with self._lock:
            size, old = fresh.lstat().st_size, None
            with suppress(FileNotFoundError):
                old = path.lstat().st_size
                self._keep_copy(key, reason)
            fresh.rename(path)
            self._readers.pop(key, None)
            self.count += old is None
            self.file_bytes += size - (old or 0)
        self._sync({path.parent, self._home.quarantine})

    def check(self, key: Key, first_stripe: int, stripes: int | None, path: Path | None = None) -> Check:
        """Read blocks and verify them; with the last one, the digests against what was sealed."""
        corrupt: dict[int, tuple[int, ...]] = {}
        at, total, bytes_read, fault = first_stripe, 0, 0, ""
        try:
            reader = self.open(key, path)
            total = reader.trailer.stripes
            stop = total if stripes is None else min(total, first_stripe + stripes)
            while at < stop:
                block, digests = reader.read(at)
                bytes_read += block.nbytes + digests.nbytes
                if granules := verify_block(reader.header, at, block, digests):
                    corrupt[at] = granules
                at += 1
            if at >= total:
                reader.check_table()
        except (CorruptShard, UnsupportedFormat) as error:
            fault = str(error)
        except OSError as error:
            fault = f"can't be read: {error.strerror}"
        return Check(corrupt, total if fault else at, total, bytes_read, fault)

    def scan(self, cursor: bytes, limit: int) -> ScanPage:
        """Look at both ends of up to `limit` shards after a cursor, those in quarantine too."""
        keys = self._after(cursor, limit + 1)
        last = keys[limit - 1] if len(keys) > limit else None
        found = [(key, file) for key in keys[:limit] if (file := self.inspect(key)) is not None]
        headers = [file.header for _, file in found]
        return ScanPage(
            np.frombuffer(b"".join(key[0] for key, _ in found), np.uint8).reshape(-1, WRITE_ID_BYTES),
            np.array([key[1] for key, _ in found], np.uint16),
            np.array([header.generation if header else 0 for header in headers], np.uint64),
            np.frombuffer(b"".join(h.object_id if h else bytes(32) for h in headers), np.uint8).reshape(-1, 32),
            np.array([file.trailer.size if file.trailer else 0 for _, file in found], np.uint64),
            np.array([_size(file.path) for _, file in found], np.uint64),
            [file.reason for _, file in found],
            b"" if last is None else cursor_after(last),
        )

    def _after(self, cursor: bytes, limit: int) -> list[Key]:
        if cursor and len(cursor) != WRITE_ID_BYTES + 2:
            raise InputError(f"cursor is {cursor!r}; expected what the page before told, or nothing")
        start = (cursor[:WRITE_ID_BYTES], int.from_bytes(cursor[WRITE_ID_BYTES:], "big")) if cursor else (b"", -1)
        aside = _keys(self._home.quarantine)
        found: list[Key] = []
        for first in range(cursor[0] if cursor else 0, 256):
            bucket = self._home.shards / f"{first:02x}"
            here = _keys(bucket) if bucket.exists() and _is_directory(bucket) else []
            here += [key for key in aside if key[0][0] == first]
            found += sorted({key for key in here if key > start})
            if len(found) >= limit:
                break
        return found[:limit]

    def _bucket(self, write_id: bytes) -> Path:
        """The directory of a write's sealed shards, which may not be there yet."""
        bucket = self._home.shards / write_id[:1].hex()
        with suppress(FileNotFoundError):
            if not _is_directory(bucket):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(bucket))
        return bucket

    def _reason(self, key: Key) -> Path:
        return self._home.quarantine / f"{_name(key)}.reason"

    def _keep_reason(self, key: Key, reason: str) -> None:
        """Write down why a shard is put aside; what stands at that name is replaced, and no link followed."""
        body, path = reason.encode(errors="replace")[:_REASON_BYTES_MAX], self._reason(key)
        replace_file(path, body, self._home.tmp / path.name, durable=False)

    def _keep_copy(self, key: Key, reason: str) -> None:
        """Have a shard in quarantine too, under a second name."""
        aside = self._home.quarantine / _name(key)
        self._keep_reason(key, reason)
        unlink(aside)
        try:
            os.link(self.path(key), aside, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise

    def _inspect_quarantined(self, key: Key) -> ShardFile | None:
        aside = self._home.quarantine / _name(key)
        try:
            header = inspect(aside, follow=False).header
        except FileNotFoundError:
            return None
        except OSError:
            header = None
        return ShardFile(aside, header, None, f"quarantined: {self._kept_reason(key)}")

    def _kept_reason(self, key: Key) -> str:
        try:
            return read_file(self._reason(key), _REASON_BYTES_MAX).decode(errors="replace")
        except OSError:  # also of a link
            return "no reason is kept"

    def _sync(self, directories: set[Path]) -> None:
        if self._home.durable:
            for error in fsync_directories(directories).values():
                raise error


def check_key(write_id: bytes, index: int) -> Key:
    """Refuse what can't name a shard: nothing else becomes a name on disk."""
    if not isinstance(write_id, bytes) or len(write_id) != WRITE_ID_BYTES:
        raise InputError(f"write id is {write_id!r}; expected {WRITE_ID_BYTES} bytes")
    if not is_int(index) or not 0 <= index < FORMAT_SHARDS_MAX:
        raise InputError(f"index is {index!r}; expected 0 to {FORMAT_SHARDS_MAX - 1}")
    return write_id, index


def shard_file(store: str, write_id: bytes, index: int) -> str:
    """The path of a sealed shard's file, below a store's directory."""
    return str(Path(store) / "shards" / write_id[:1].hex() / _name((write_id, index)))


def _name(key: Key) -> str:
    return f"{key[0].hex()}.{key[1]:03d}.shard"


def _remove_empty(directories: Iterable[Path]) -> None:
    for directory in directories:
        with suppress(OSError):  # not empty, or gone
            directory.rmdir()


def _is_directory(path: Path) -> bool:
    """Whether it is one itself, not a link to one."""
    return stat.S_ISDIR(path.lstat().st_mode)


def _keys(directory: Path) -> list[Key]:
    """The shards whose names stand in a directory."""
    try:
        with os.scandir(directory) as entries:
            matches = [_NAME.fullmatch(entry.name) for entry in entries]
    except FileNotFoundError:
        return []
    return [(bytes.fromhex(match[1]), int(match[2])) for match in matches if match]


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def unlink(path: Path) -> int | None:
    """Remove a file; the bytes that it had, None if there was none."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return None
    return size
