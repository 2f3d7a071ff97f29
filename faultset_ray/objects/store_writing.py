"""Shards in the making at one store: those that grow block by block, and batches of those that come whole."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from faultset_ray.columns import is_int
from faultset_ray.errors import (
    CorruptShard,
    FaultsetError,
    InputError,
    LimitExceeded,
    ShardNotFound,
    ShardSizeError,
    WriteAborted,
)
from faultset_ray.limits import OBJECT_BYTES_MAX, STORE_ABORTED_WRITES_MAX, STORE_OPEN_FILES_MAX
from faultset_ray.objects.store_home import StoreHome
from faultset_ray.objects.store_shards import SealedShards, unlink
from faultset_ray.objects.store_values import Check, Key, Whole
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.disk import fsync_directories, fsync_files, write_all
from faultset_ray.shards.format import Header, Trailer
from faultset_ray.shards.layout import HEADER_BYTES
from faultset_ray.shards.writer import ShardWriter, check_same_seal
from faultset_ray.telemetry import events

_Slot = tuple[Key, bool]
"""A shard in the making, and whether it is made beside a sealed one that it is to replace."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A whole shard that is sound."""

    at: int
    header: Header
    whole: Whole
    trailer: Trailer
    key: Key
    path: Path
    """Where it is to stand."""
    fresh: Path
    """Where it stands until its bytes are on the disk."""


class UnsealedShards:
    """Safe to call from several threads. An ``OSError`` passes through."""

    def __init__(self, home: StoreHome, sealed: SealedShards) -> None:
        self._home = home
        self._sealed = sealed
        self._lock = threading.Lock()
        self._writers: dict[_Slot, ShardWriter] = {}
        # Least recently used first; those not among them have closed their files for now.
        self._open_writers: OrderedDict[_Slot, ShardWriter] = OrderedDict()
        # Oldest first: a block that was on its way when its write was aborted must not begin its shard anew.
        self._aborted: OrderedDict[bytes, None] = OrderedDict()
        # Being written by a batch: another one with the same shard waits, and then finds it sealed, or not there.
        self._busy: set[Key] = set()
        self._idle = threading.Condition(self._lock)

    def writer(self, parsed: Header, header: bytes, *, beside: bool = False) -> ShardWriter | None:
        """The shard in the making, begun if need be; None if it is sealed already.

        Parameters
        ----------
        beside
            Whether it is made though a sealed one stands there, which :meth:`swap` then replaces.

        Raises
        ------
        WriteAborted
            It was.
        InputError
            If it was begun with another header.
        """
        key, idle = (parsed.write_id, parsed.index), None
        slot = (key, beside)
        with self._lock:
            self.refuse_aborted(parsed.write_id)
            writer = self._writers.get(slot)
            if writer is None and not beside and self._sealed.path(key).exists():
                packed = self._sealed.open(key).packed
            else:
                if writer is None:
                    writer = self._begin(parsed, beside=beside)
                    self._writers[slot] = writer
                packed = writer.packed
            if packed != header:
                raise InputError(f"{parsed.label} was begun with another header")
            if writer is not None:
                self._open_writers[slot] = writer
                self._open_writers.move_to_end(slot)
                if len(self._open_writers) > STORE_OPEN_FILES_MAX:
                    _, idle = self._open_writers.popitem(last=False)
        if idle is not None:
            _release(idle)
        return writer

    def get(self, key: Key, *, beside: bool = False) -> ShardWriter | None:
        """The shard in the making, if it was begun and is not in its place."""
        with self._lock:
            return self._writers.get((key, beside))

    def sealed(self, key: Key) -> bool:
        """A shard is no longer in the making; whether it was."""
        with self._lock:
            self._open_writers.pop((key, False), None)
            return self._writers.pop((key, False), None) is not None

    def check(self, key: Key, first_stripe: int, stripes: int | None) -> Check:
        """As :meth:`SealedShards.check`, of one that is sealed beside."""
        with self._lock:
            path = self._beside(key).path
        return self._sealed.check(key, first_stripe, stripes, path)

    def swap(self, key: Key, reason: str) -> None:
        """Have the shard that is sealed beside stand in its place, and the one that stands there in quarantine."""
        with self._lock:
            fresh = self._beside(key).path
            if not fresh.exists():
                raise ShardNotFound(self._home.uuid, key[0].hex(), key[1])
            del self._writers[key, True]
            self._open_writers.pop((key, True), None)
        try:
            self._sealed.replace(key, fresh, reason)
        except OSError:
            with suppress(OSError):
                unlink(fresh)
            raise

    def discard(self, key: Key) -> int:
        """Drop what is made beside a sealed shard; bytes freed."""
        with self._lock:
            return self._drop((key, True))

    def abort(self, write_id: bytes) -> None:
        """Take no more of a write."""
        with self._lock:
            self._aborted[write_id] = None
            if len(self._aborted) > STORE_ABORTED_WRITES_MAX:
                self._aborted.popitem(last=False)

    def generations(self, write_id: bytes) -> set[int]:
        """What the headers of a write's unsealed shards say."""
        with self._lock:
            return {writer.header.generation for (key, _), writer in self._writers.items() if key[0] == write_id}

    def of_objects(self) -> list[Key]:
        """The unsealed shards of writes that a catalog gave a generation, without those that are made beside others."""
        with self._lock:
            writers = self._writers.items()
            return sorted(key for (key, beside), writer in writers if writer.header.generation and not beside)

    def refuse_aborted(self, write_id: bytes) -> None:
        """Raise ``WriteAborted`` for a write of which no more is taken."""
        if write_id in self._aborted:
            raise WriteAborted(write_id.hex())

    def drop(self, key: Key) -> int:
        """Discard an unsealed shard; bytes freed."""
        with self._lock:
            return self._drop((key, False)) + self._drop((key, True))

    def drop_write(self, write_id: bytes) -> int:
        """Discard the unsealed shards of a write; bytes freed."""
        with self._lock:
            return sum(self._drop(slot) for slot in list(self._writers) if slot[0][0] == write_id)

    def drop_all(self) -> None:
        """Discard every unsealed shard, as far as it can be."""
        with self._lock:
            for slot in list(self._writers):
                with suppress(OSError):  # what is left over is wiped at the next start
                    self._drop(slot)

    def write(self, shards: Sequence[Whole]) -> list[int | FaultsetError | OSError]:
        """Seal shards that come whole; of each the bytes of its file, or why it is not there.

        Their data are made durable together, and each directory once.
        """
        results: list[int | FaultsetError | OSError] = [0] * len(shards)
        arrived: dict[Key, _Arrived] = {}
        for at, whole in enumerate(shards):
            try:
                shard = self._arrived(at, whole)
                if shard.key in arrived:
                    raise InputError(f"{shard.header.label} stands twice in one batch")
                arrived[shard.key] = shard
            except (FaultsetError, OSError) as error:
                results[at] = error
        with self._claimed(set(arrived)):
            waiting = list(arrived.values())
            sealed: list[tuple[_Arrived, bool]] = []
            try:
                self._sealed.make_buckets({shard.header.write_id for shard in waiting})
                for start in range(0, len(waiting), STORE_OPEN_FILES_MAX):
                    sealed += self._seal(waiting[start : start + STORE_OPEN_FILES_MAX], results)
            except OSError as error:  # of directories, and so of all
                for shard in waiting:
                    results[shard.at] = error
            self._settle(sealed, results)
        return results

    def _seal(
        self, shards: Sequence[_Arrived], results: list[int | FaultsetError | OSError]
    ) -> list[tuple[_Arrived, bool]]:
        """Write files, make them durable, and put them in their places; what stands there now, and if it is new."""
        fds: dict[Key, int] = {}
        standing: list[tuple[_Arrived, bool]] = []
        for shard in shards:
            try:
                if self._is_sealed(shard):
                    results[shard.at] = self._sealed.reader(shard.key).file_bytes
                    standing.append((shard, False))
                else:
                    fds[shard.key] = self._write(shard)
            except (FaultsetError, OSError) as error:
                results[shard.at] = error
        errors = fsync_files(list(fds.values())) if self._home.durable else [None] * len(fds)
        for fd in fds.values():
            os.close(fd)
        failed = dict(zip(fds, errors, strict=True))
        for shard in shards:
            if shard.key not in fds:
                continue
            try:
                if (refusal := failed[shard.key]) is not None:
                    raise refusal
                with self._lock:
                    self.refuse_aborted(shard.header.write_id)
                    shard.fresh.rename(shard.path)
                results[shard.at] = shard.header.layout.file_bytes(shard.whole.size)
                self._sealed.added(shard.header.layout.file_bytes(shard.whole.size))
                standing.append((shard, True))
            except (FaultsetError, OSError) as error:
                results[shard.at] = error
                with suppress(OSError):
                    shard.fresh.unlink()
        return standing

    def _settle(self, sealed: Sequence[tuple[_Arrived, bool]], results: list[int | FaultsetError | OSError]) -> None:
        """Make the names of sealed shards durable; new ones that may not be are taken away again."""
        if not self._home.durable:
            return
        failed = fsync_directories({shard.path.parent for shard, _ in sealed})
        for shard, is_new in sealed:
            if (error := failed.get(shard.path.parent)) is not None:
                results[shard.at] = error
                with suppress(OSError):
                    if is_new:  # others were acknowledged before
                        self._sealed.remove([shard.key])

    def _is_sealed(self, shard: _Arrived) -> bool:
        """Whether it stands in its place; what was begun of it block by block is dropped otherwise."""
        if not shard.path.exists():
            self.drop(shard.key)
            return False
        reader = self._sealed.open(shard.key)
        if reader.packed != shard.whole.header:
            raise InputError(f"{shard.header.label} was begun with another header")
        check_same_seal(reader.header, reader.trailer, shard.whole.size, shard.trailer.stripes, shard.whole.sha256)
        return True

    def _write(self, shard: _Arrived) -> int:
        with self._lock:
            self.refuse_aborted(shard.header.write_id)
        whole, fresh = shard.whole, shard.fresh
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(fresh, flags, 0o600)
        try:
            blocks = [] if whole.block is None or whole.digests is None else [whole.block.data, whole.digests.data]
            write_all(fd, [whole.header, *blocks, shard.trailer.pack(whole.header)], 0)
        except BaseException:
            os.close(fd)
            with suppress(OSError):
                fresh.unlink()
            raise
        return fd

    def _arrived(self, at: int, whole: Whole) -> _Arrived:
        header, trailer = _verified(whole)
        key = header.write_id, header.index
        path = self._sealed.path(key)
        return _Arrived(at, header, whole, trailer, key, path, self._home.tmp / f"{path.name}.whole")

    @contextmanager
    def _claimed(self, keys: set[Key]) -> Iterator[None]:
        """Wait until no other batch has one of these shards in hand."""
        with self._lock:
            self._idle.wait_for(lambda: not keys & self._busy)
            self._busy |= keys
        try:
            yield
        finally:
            with self._lock:
                self._busy -= keys
                self._idle.notify_all()

    def _begin(self, parsed: Header, *, beside: bool) -> ShardWriter:
        path = self._sealed.path((parsed.write_id, parsed.index))
        unsealed = self._home.tmp / path.name
        if beside:
            path = self._home.tmp / f"{path.name}.sealed"
            unsealed = self._home.tmp / f"{path.name}.beside"
        return ShardWriter(path, parsed, unsealed=unsealed, mode=0o600, early=self._home.durable)

    def _beside(self, key: Key) -> ShardWriter:
        writer = self._writers.get((key, True))
        if writer is None:
            raise ShardNotFound(self._home.uuid, key[0].hex(), key[1])
        return writer

    def _drop(self, slot: _Slot) -> int:
        self._open_writers.pop(slot, None)
        writer = self._writers.pop(slot, None)
        if writer is None:
            return 0
        freed = writer.discard()
        return freed or (unlink(writer.path) or 0) if slot[1] else freed


def _verified(whole: Whole) -> tuple[Header, Trailer]:
    """Of a shard that fits together, and is as the encoder made it."""
    header = Header.unpack(whole.header, "header")
    layout = header.layout
    if len(whole.header) != HEADER_BYTES:
        raise InputError(f"header is of {len(whole.header)} bytes; expected {HEADER_BYTES}")
    if not is_int(whole.size) or whole.size < 0:
        raise InputError(f"size is {whole.size!r}; expected a number of bytes")
    if whole.size > OBJECT_BYTES_MAX:
        raise LimitExceeded("object bytes", whole.size, OBJECT_BYTES_MAX)
    stripes = layout.stripes(whole.size)
    if stripes > 1:
        raise ShardSizeError(f"{header.label}: stripes", stripes, "one or none of a shard that comes whole")
    table = hashlib.sha256(whole.header)
    if (whole.block is None) != (whole.digests is None) or (whole.block is None) != (stripes == 0):
        raise InputError(f"{header.label}: block and digests must both be there, or for an empty object neither")
    if whole.block is not None and whole.digests is not None:
        if len(whole.block) != layout.block_len(0, whole.size):
            raise ShardSizeError(f"{header.label}: block", len(whole.block), f"{layout.block_len(0, whole.size)}")
        corrupt = verify_block(header, 0, whole.block, whole.digests)
        if corrupt:
            raise CorruptShard(header.label, f"stripe 0 arrived with corrupt granules {list(corrupt)}")
        table.update(whole.digests.data)
    return header, Trailer(whole.size, stripes, whole.sha256, table.digest())


def _release(writer: ShardWriter) -> None:
    try:
        writer.release()
    except OSError as error:
        # Its blocks may not be on disk. The error is this shard's, not of the call that made it close.
        events.SHARD_DROPPED.tell(what=writer.header.label, error=error)
        writer.discard()
