"""Write one shard file: blocks at computed offsets in any order, then the seal."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultset_ray.columns import is_int
from faultset_ray.errors import IncompleteShard, InputError, LimitExceeded, ShardSizeError
from faultset_ray.limits import OBJECT_BYTES_MAX
from faultset_ray.shards.disk import begin_to_sync, fsync_directory, write_all
from faultset_ray.shards.format import Header, Trailer


class ShardWriter:
    """One shard in the making, in a file of its own beside the final path until it is sealed.

    Safe to call from several threads. An ``OSError`` (a full disk, a bad one) passes through; the caller
    then discards the writer.

    Parameters
    ----------
    path
        Where the sealed shard is to stand; a file there is replaced at that moment, not before.
    header
        Written at once.
    unsealed
        Where the shard grows, on the same file system; a hidden file beside `path` unless given.
    mode
        Permissions of the file, before the umask.
    early
        Whether blocks begin to go to the disk as they come, so that a durable seal waits for less.

    Raises
    ------
    InputError
        If the header is out of the format's bounds.
    OSError
        If the file can't be made, ``FileExistsError`` if another writer is at the same place.
    """

    def __init__(
        self, path: Path, header: Header, *, unsealed: Path | None = None, mode: int = 0o666, early: bool = False
    ) -> None:
        self._fd: int | None = None
        self.path = path
        self.header = header
        self.packed = header.pack()
        self._layout = header.layout
        self._at = unsealed or path.with_name(f".{path.name}.{header.write_id.hex()[:8]}.unsealed")
        self._early = early
        self._lock = threading.Lock()
        # Blocks mostly come nearly in order: all below `_next` are there, and a few ahead of it.
        self._next = 0
        self._ahead: set[int] = set()
        self._short: tuple[int, int] | None = None
        self._trailer: Trailer | None = None
        self._discarded = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._at, flags, mode)
        try:
            write_all(self._fd, [self.packed], 0)
        except OSError:
            self.discard()
            raise

    def append(self, stripe: int, block: NDArray[np.uint8], digests: NDArray[np.uint8]) -> None:
        """Write one stripe's block and its digests; again, or after the seal, it does nothing.

        Parameters
        ----------
        stripe
            From 0; in any order.
        block
            uint8[block_bytes], contiguous, or shorter for the last stripe. Not kept.
        digests
            uint8[granules, digest_bytes], contiguous, as the encoder made them. Not checked here.

        Raises
        ------
        ShardSizeError
            If block or digests are of no length that the layout allows.
        InputError
            If the stripe was appended before with other digests.
        IncompleteShard
            If the shard was discarded.
        """
        self._check(stripe, block, digests)
        with self._lock:
            if self._trailer is not None:
                return
            fd = self._open()
            if self._has(stripe):
                self._check_same(fd, stripe, block, digests)
                return
            if len(block) < self._layout.block_bytes:
                if self._short is not None and self._short[0] != stripe:
                    sizes = {self._short[0]: self._short[1], stripe: len(block)}
                    raise ShardSizeError(f"{self.header.label}: blocks by stripe", sizes, "one short stripe, the last")
                self._short = (stripe, len(block))
            write_all(fd, [block.data, digests.data], self._layout.offset(stripe))
            if self._early:
                begin_to_sync(fd, self._layout.offset(stripe), block.nbytes + digests.nbytes)
            self._ahead.add(stripe)
            while self._next in self._ahead:
                self._ahead.remove(self._next)
                self._next += 1

    def seal(self, size: int, stripes: int, object_digest: bytes, *, durable: bool = True) -> Trailer:
        """Write the trailer and move the file to its final path; again returns the same trailer.

        Parameters
        ----------
        size, stripes, object_digest
            Of the whole object: bytes, stripes, SHA-256.
        durable
            Whether file and directory are on disk (fsync) when this returns.

        Raises
        ------
        IncompleteShard
            If a stripe was not appended, or the shard was discarded.
        ShardSizeError
            If the stripes, or the last block's length, do not follow from the size.
        InputError
            If it was sealed before with other values.
        """
        self._check_size(size, stripes)
        with self._lock:
            if self._trailer is not None:
                check_same_seal(self.header, self._trailer, size, stripes, object_digest)
                return self._trailer
            fd = self._open()
            self._check_stripes(size, stripes)
            trailer = Trailer(size, stripes, object_digest, self._table_digest(fd, size, stripes))
            write_all(fd, [trailer.pack(self.packed)], self._layout.trailer_offset(size))
            if durable:
                os.fsync(fd)
            self._at.rename(self.path)
            self._at = self.path
            if durable:
                fsync_directory(self.path.parent)
            self._trailer = trailer
            self._close()
            return trailer

    def release(self) -> None:
        """Close the file for now; the next call opens it again."""
        with self._lock:
            if self._fd is not None:
                # An error of write-back is told only to those who have the file open.
                os.fdatasync(self._fd)
                self._close()

    def discard(self) -> int:
        """Drop the unsealed file; a sealed one stays. Returns the bytes that it had."""
        with self._lock:
            self._discarded = True
            self._close()
            if self._trailer is not None:
                return 0
            try:
                freed = self._at.lstat().st_size
                self._at.unlink()
            except FileNotFoundError:
                return 0
            return freed

    def __del__(self) -> None:
        self._close()

    def _open(self) -> int:
        if self._discarded:
            raise IncompleteShard(self.header.label, 0, 1, 0)
        if self._fd is None:
            self._fd = os.open(self._at, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        return self._fd

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _has(self, stripe: int) -> bool:
        return stripe < self._next or stripe in self._ahead

    def _check(self, stripe: int, block: NDArray[np.uint8], digests: NDArray[np.uint8]) -> None:
        layout = self._layout
        if isinstance(stripe, bool) or not 0 <= stripe < layout.stripes(OBJECT_BYTES_MAX):
            raise InputError(f"stripe is {stripe!r}; expected 0 to {layout.stripes(OBJECT_BYTES_MAX) - 1}")
        for name, array, ndim in (("block", block, 1), ("digests", digests, 2)):
            if array.dtype != np.uint8 or array.ndim != ndim or not array.flags.c_contiguous:
                raise InputError(f"{name} is {array.dtype}{list(array.shape)}; expected contiguous uint8, {ndim}-D")
        if not 0 < len(block) <= layout.block_bytes or len(block) % 64:
            raise ShardSizeError("block", len(block), f"a multiple of 64 up to {layout.block_bytes}")
        if digests.shape != (layout.granules(len(block)), layout.digest_bytes):
            expected = f"uint8[{layout.granules(len(block))}, {layout.digest_bytes}]"
            raise ShardSizeError("digests", digests.size, expected)

    def _check_same(self, fd: int, stripe: int, block: NDArray[np.uint8], digests: NDArray[np.uint8]) -> None:
        short = self._short is not None and self._short[0] == stripe
        length = self._short[1] if self._short is not None and short else self._layout.block_bytes
        stored = os.pread(fd, digests.size, self._layout.offset(stripe) + length)
        if len(block) != length or stored != digests.tobytes():
            raise InputError(f"{self.header.label}: stripe {stripe} was appended before with other bytes")

    def _check_size(self, size: int, stripes: int) -> None:
        if not is_int(size) or size < 0:
            raise InputError(f"size is {size!r}; expected a number of bytes")
        if size > OBJECT_BYTES_MAX:
            raise LimitExceeded("object bytes", size, OBJECT_BYTES_MAX)
        if stripes != self._layout.stripes(size):
            expected = f"{self._layout.stripes(size)} for {size} bytes"
            raise ShardSizeError(f"{self.header.label}: stripes", stripes, expected)

    def _check_stripes(self, size: int, stripes: int) -> None:
        if self._next < stripes:
            have = self._next + sum(stripe < stripes for stripe in self._ahead)
            raise IncompleteShard(self.header.label, have, stripes, self._next)
        if self._next > stripes or self._ahead:
            have = self._next + len(self._ahead)
            raise ShardSizeError(f"{self.header.label}: stripes", have, f"{stripes} for {size} bytes")
        if stripes:
            expected = self._layout.block_len(stripes - 1, size)
            found = {stripes - 1: self._layout.block_bytes} | ({self._short[0]: self._short[1]} if self._short else {})
            if found != {stripes - 1: expected}:
                raise ShardSizeError(f"{self.header.label}: last block by stripe", found, f"{expected} bytes")

    def _table_digest(self, fd: int, size: int, stripes: int) -> bytes:
        """Over what is on disk, so that no table is held in memory while blocks come in."""
        layout = self._layout
        table = hashlib.sha256(self.packed)
        for stripe in range(stripes):
            length = layout.block_len(stripe, size)
            table.update(os.pread(fd, layout.granules(length) * layout.digest_bytes, layout.offset(stripe) + length))
        return table.digest()


def check_same_seal(header: Header, trailer: Trailer, size: int, stripes: int, object_digest: bytes) -> None:
    """Refuse to seal a sealed shard with other values."""
    if (trailer.size, trailer.stripes, trailer.object_digest) != (size, stripes, object_digest):
        raise InputError(
            f"{header.label} is sealed with {trailer.size} bytes, digest {trailer.object_digest.hex()}; "
            f"it can't be sealed again with {size} bytes, digest {object_digest.hex()}"
        )
