"""An object as something to read and seek in, as a file is."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import InputError
from faultset_ray.limits import KIB, MIB
from faultset_ray.objects.get import Bytes, Reading
from faultset_ray.objects.operations import counted, counted_stream

_AHEAD_BYTES: Final = 256 * KIB
_AHEAD_BYTES_MAX: Final = 8 * MIB
_WHOLE_BYTES: Final = 128 * KIB


class AsyncObjectFile:
    """One generation of an object, whatever is written meanwhile; an async context manager.

    A generation that was overwritten is kept for a minute, a deleted one for its period of grace: what is read
    later may fail with ``NotEnoughShards``. Reads in order fetch ahead, more each time; reads here and there fetch
    the granules that hold them. Ranges are verified granule by granule. Not for several tasks at once.
    """

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._at = 0
        self._ahead = _AHEAD_BYTES
        self._kept = b""
        self._kept_at = 0
        self.closed = False

    @property
    def name(self) -> str:
        """The object's name."""
        return self._reading.record.name

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._reading.record.size

    @property
    def generation(self) -> int:
        """Which write of the name this is."""
        return self._reading.record.generation

    @property
    def created_ms(self) -> int:
        """When it was written, in ms since the epoch."""
        return self._reading.record.created_ms

    @property
    def sha256(self) -> str:
        """Of all its bytes, in hex."""
        return self._reading.record.sha256.hex()

    @counted_stream("read")
    async def stream(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Bytes, None]:
        """Bytes ``[start, stop)`` in pieces: uint8[n], in order, not to be changed; wherever one stands.

        Of a whole object the last ones come only if all are right. Memory is bounded by some stripes.

        Raises
        ------
        InputError
            The object has no such bytes.
        NotEnoughShards, DigestMismatch
        """
        self._check()
        async for pieces in self._reading.stream(start, self.size if stop is None else stop):
            for piece in pieces:
                if piece.size:
                    yield piece

    @counted("read")
    async def read(self, nbytes: int = -1) -> bytes:
        """The next bytes, all that are left by default; none at the end.

        Raises
        ------
        NotEnoughShards
        """
        self._check()
        stop = self.size if nbytes is None or nbytes < 0 else min(self.size, self._at + nbytes)
        data = await self._bytes(self._at, stop) if self._at < stop else b""
        self._at += len(data)
        return data

    @counted("read")
    async def read_at(self, start: int, stop: int) -> bytes:
        """Bytes ``[start, stop)``, wherever one stands.

        Raises
        ------
        InputError
            The object has no such bytes.
        """
        self._check()
        return await self._reading.read(start, stop)

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; where one stands then."""
        self._check()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise InputError(f"seek to {offset} from {whence}; expected a place from 0 on")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where one stands."""
        return self._at

    async def close(self) -> None:
        """Let go of what was fetched ahead."""
        self.closed = True
        self._kept = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- Inside

    @property
    def _backend(self) -> Net:
        return self._reading.backend

    async def _bytes(self, start: int, stop: int) -> bytes:
        """From what was fetched ahead, and then from the stores."""
        kept_to = self._kept_at + len(self._kept)
        head = b""
        if self._kept_at <= start < kept_to:
            head = self._kept[start - self._kept_at : stop - self._kept_at]
            start += len(head)
            if start == stop:
                return head
        in_order = start == kept_to
        self._ahead = min(2 * self._ahead, _AHEAD_BYTES_MAX) if in_order else _AHEAD_BYTES
        wanted = stop - start
        ahead = self._ahead if in_order else _WHOLE_BYTES
        fetched = await self._reading.read(start, min(self.size, max(stop, start + ahead)))
        self._kept, self._kept_at = (fetched, start) if len(fetched) > wanted else (b"", stop)
        return head + fetched[:wanted] if head else fetched[:wanted]

    def _check(self) -> None:
        if self.closed:
            raise InputError(f"{self.name!r} is closed; open it again")


class _Raw(io.RawIOBase):
    """What a buffered reader needs."""

    def __init__(self, file: AsyncObjectFile, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__()
        self._file = file
        self._run = run

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._run(self._file.read(len(view)))
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        data: bytes = self._run(self._file.read())
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        found: int = self._run(self._file.seek(offset, whence))
        return found

    def tell(self) -> int:
        return self._file.tell()


class ObjectFile(io.BufferedReader):
    """The same for code that does not await: a file in every respect, opened for reading bytes."""

    def __init__(self, file: AsyncObjectFile, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__(_Raw(file, run), 64 * KIB)
        self._file = file

    @property
    def name(self) -> str:
        """The object's name."""
        return self._file.name

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return self._file.size

    @property
    def generation(self) -> int:
        """Which write of the name this is."""
        return self._file.generation
