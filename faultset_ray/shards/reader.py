"""Read one sealed shard file: both ends are verified on opening, blocks and digests are handed over together."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faultset_ray.errors import CodingError, CorruptShard, InputError
from faultset_ray.shards.digest import verify_block
from faultset_ray.shards.format import Header, Trailer, unpack_sealed
from faultset_ray.shards.layout import HEADER_BYTES, TRAILER_BYTES
from faultset_ray.shards.memory import empty

_INDEX = re.compile(r"\.(\d{3,5})\.shard$")


class ShardReader:
    """A sealed shard file, open; reads at once from several threads are fine.

    The file is closed by :meth:`close`, or when the last reference is dropped.

    Parameters
    ----------
    path
        The shard file.
    follow
        Whether `path` may be a symbolic link.
    trailer
        Where the object ends, by other shards: then what the file ends with is not looked at.

    Raises
    ------
    CorruptShard, UnsupportedFormat
        If it is no regular file, not sealed, or header, trailer and length don't agree.
    OSError
        If it can't be opened or read.
    """

    def __init__(self, path: Path, *, follow: bool = True, trailer: Trailer | None = None) -> None:
        self.path = path
        self._fd = -1
        self._fd, self.file_bytes = _open_regular(path, follow=follow)
        try:
            self.packed = os.pread(self._fd, HEADER_BYTES, 0)
            if trailer is not None:
                self.header, self.trailer = Header.unpack(self.packed, str(path)), trailer
            else:
                tail = os.pread(self._fd, TRAILER_BYTES, max(0, self.file_bytes - TRAILER_BYTES))
                self.header, self.trailer = unpack_sealed(self.packed, tail, self.file_bytes, str(path))
        except BaseException:
            self.close()
            raise
        self.layout = self.header.layout

    def read(
        self, stripe: int, first_granule: int = 0, granules: int | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read one stripe's block, or whole granules of it. Nothing is verified here.

        Parameters
        ----------
        stripe
            0 to ``trailer.stripes - 1``.
        first_granule
            Where to start in the block.
        granules
            How many; None for all to the end of the block.

        Returns
        -------
        block, digests
            uint8[L] and uint8[granules, digest_bytes], owned by the caller, for
            :func:`~faultset_ray.shards.digest.verify_block`.

        Raises
        ------
        InputError
            If there are no such granules.
        CorruptShard
            If the file became shorter since it was opened.
        """
        layout = self.layout
        if isinstance(stripe, bool) or not 0 <= stripe < self.trailer.stripes:
            raise InputError(f"stripe is {stripe!r}; this shard has {self.trailer.stripes}")
        length = layout.block_len(stripe, self.trailer.size)
        count = layout.granules(length)
        stop = count if granules is None else first_granule + granules
        if not 0 <= first_granule < stop <= count:
            raise InputError(f"granules {first_granule} to {stop} of stripe {stripe}; its block has {count}")
        start = first_granule * layout.granule_bytes
        block = empty(min(stop * layout.granule_bytes, length) - start)
        digests = np.empty((stop - first_granule, layout.digest_bytes), np.uint8)
        at = layout.offset(stripe)
        if first_granule == 0 and stop == count:
            self._read_into([block, digests], at)
        else:
            self._read_into([block], at + start)
            self._read_into([digests], at + length + first_granule * layout.digest_bytes)
        return block, digests

    def check(self) -> Iterator[tuple[int, int]]:
        """Read everything and yield each corrupt ``(stripe, granule)``, in order.

        Raises
        ------
        CorruptShard
            If all granules are sound, but they are not those that were sealed; or if the file became shorter.
        """
        table = hashlib.sha256(self.packed)
        sound = True
        for stripe in range(self.trailer.stripes):
            block, digests = self.read(stripe)
            table.update(digests.data)
            for granule in verify_block(self.header, stripe, block, digests):
                sound = False
                yield stripe, granule
        if sound:
            self._compare(table.digest())

    def check_table(self) -> None:
        """Read all digests, without the blocks.

        Raises
        ------
        CorruptShard
            If they are not those that were sealed, or the file became shorter.
        """
        table = hashlib.sha256(self.packed)
        for stripe in range(self.trailer.stripes):
            length = self.layout.block_len(stripe, self.trailer.size)
            digests = np.empty((self.layout.granules(length), self.layout.digest_bytes), np.uint8)
            self._read_into([digests], self.layout.offset(stripe) + length)
            table.update(digests.data)
        self._compare(table.digest())

    def close(self) -> None:
        """Close the file; again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _compare(self, table_digest: bytes) -> None:
        if table_digest != self.trailer.table_digest:
            offset = self.file_bytes - TRAILER_BYTES
            raise CorruptShard(str(self.path), "the table of digests is not the one that was sealed", offset)

    def _read_into(self, buffers: list[NDArray[np.uint8]], offset: int) -> None:
        """``preadv`` until all is there."""
        parts = [buffer.data.cast("B") for buffer in buffers]
        while parts:
            count = os.preadv(self._fd, parts, offset)
            if count == 0:
                raise CorruptShard(str(self.path), "became shorter while it was read", offset)
            offset += count
            while parts and count >= len(parts[0]):
                count -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][count:]


@dataclass(frozen=True, slots=True)
class ShardFile:
    """What a file that should be a sealed shard turned out to be."""

    path: Path
    header: Header | None
    """None if it can't be read."""
    trailer: Trailer | None
    """None if the file is not a sound, sealed shard."""
    reason: str = ""
    """Why it is unusable; empty if it is a sound, sealed shard."""

    @property
    def index(self) -> int | None:
        """Which shard it is, or was to be: by its header, or else by its name."""
        return self.named if self.header is None else self.header.index

    @property
    def named(self) -> int | None:
        """Which shard its name says it is, if it has such a name."""
        match = _INDEX.search(self.path.name)
        return int(match[1]) if match else None

    @property
    def where(self) -> str:
        """The file's name."""
        return self.path.name


def inspect(path: Path, *, follow: bool = True) -> ShardFile:
    """Look at both ends of a shard file, without reading its blocks.

    Raises
    ------
    OSError
        If the file can't be opened or read; damage is told in the result.
    """
    try:
        with ShardReader(path, follow=follow) as reader:
            return ShardFile(path, reader.header, reader.trailer)
    except CodingError as error:
        reason = str(error).removeprefix(f"{path}: ")
    return ShardFile(path, _header_alone(path, follow=follow), None, reason)


def _header_alone(path: Path, *, follow: bool) -> Header | None:
    """The header of a file that is no sealed shard, if it has one."""
    fd = -1
    try:
        fd, _ = _open_regular(path, follow=follow)
        return Header.unpack(os.pread(fd, HEADER_BYTES, 0))
    except CodingError:
        return None
    finally:
        if fd >= 0:
            os.close(fd)


def _open_regular(path: Path, *, follow: bool) -> tuple[int, int]:
    """File descriptor and length; without O_NONBLOCK a named pipe in the way would hang the caller."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode):
        return fd, status.st_size
    os.close(fd)
    raise CorruptShard(str(path), "is not a regular file")
