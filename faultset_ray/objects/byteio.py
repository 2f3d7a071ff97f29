"""Bytes in and out of whatever a caller has: files, pipes, iterators and streams, waiting or awaited."""

from __future__ import annotations

import hashlib
import inspect
import io
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.columns import is_int
from faultset_ray.errors import InputError
from faultset_ray.objects.buffers import as_bytes, is_fixed
from faultset_ray.shards.memory import empty

Bytes = NDArray[np.uint8]
Pull = Callable[[int], Awaitable[Any]]
"""Gets some more bytes, at most about so many; none only at the end."""


class ByteReader:
    """Reads in pieces of any length, and hashes on the way.

    Parameters
    ----------
    net
        Runs what waits or computes, so that an event loop goes on.
    source
        Bytes or an array; an object with ``readinto`` or ``read``, which may be a coroutine function
        (as of ``asyncio.StreamReader``); or an iterable of bytes, asynchronous or not. No more is taken
        of it than was asked for, but for the rest of a chunk: what makes the bytes is held up with us.
    what
        How errors name it.

    Raises
    ------
    InputError
        It is none of these.
    """

    def __init__(self, net: Net, source: Any, what: str = "reader") -> None:
        refuse_unusable(what, source)
        self._net = net
        self._hash = hashlib.sha256()
        self._rest = np.empty(0, np.uint8)
        self._fixed = True
        """Whether nobody can write to the rest."""
        self._pull: Pull | None = None
        self._readinto = getattr(source, "readinto", None)
        if getattr(type(source), "readinto", None) is io.RawIOBase.readinto:
            self._readinto = None  # a subclass that has only ``read``: what it inherits just raises
        if isinstance(source, (bytes, bytearray, memoryview, np.ndarray)):
            self._rest, self._fixed = _chunk(source), is_fixed(source)
        elif not callable(self._readinto) or inspect.iscoroutinefunction(self._readinto):
            self._readinto = None
            self._pull = _puller(net, source, what)

    async def read(self, nbytes: int) -> Bytes:
        """The next bytes, which :meth:`sha256` takes in: uint8[nbytes], fewer only at the end. Not to be changed."""
        if self._fixed and self._rest.size >= nbytes:
            data, self._rest = self._rest[:nbytes], self._rest[nbytes:]
        else:
            buffer = empty(nbytes)
            data = buffer[: await self.fill(buffer)]
        await self._net.compute(self._hash.update, data.data)
        return data

    async def fill(self, buffer: Bytes) -> int:
        """Read the next bytes into a buffer; how many is told, fewer than fit only at the end. Not hashed."""
        if self._readinto is not None:
            return await self._net.compute(_fill, self._readinto, buffer)
        at = 0
        while at < buffer.size:
            if not self._rest.size and self._pull is not None:
                given = await self._pull(buffer.size - at)
                self._rest, self._fixed = _chunk(given), is_fixed(given)
            if not self._rest.size:
                self._pull = None
                break
            part, self._rest = self._rest[: buffer.size - at], self._rest[buffer.size - at :]
            await self._net.compute(np.copyto, buffer[at : at + part.size], part)
            at += part.size
        return at

    def sha256(self) -> bytes:
        """Digest of what :meth:`read` gave so far."""
        return self._hash.digest()


def _puller(net: Net, source: Any, what: str) -> Pull:
    read = getattr(source, "read", None)
    if inspect.iscoroutinefunction(read):
        return read
    if callable(read):
        return lambda nbytes: net.compute(read, nbytes)
    if isinstance(source, AsyncIterable):
        chunks = aiter(source)

        async def pull(_: int) -> Any:
            async for chunk in chunks:
                if _chunk(chunk).size:
                    return chunk
            return b""

        return pull
    if isinstance(source, Iterable) and not isinstance(source, (str, Mapping, AbstractSet)):
        items = iter(source)
        return lambda _: net.compute(next, (chunk for chunk in items if _chunk(chunk).size), b"")
    path = ", the path of a file" if what == "data" else ""
    taken = f"bytes, an array{path}, something to read from, or chunks of bytes"
    raise InputError(f"{what} is {type(source).__name__}; expected {taken}")


def _chunk(data: Any) -> Bytes:
    return as_bytes("what the reader gave", data, "bytes")


def _fill(readinto: Callable[[memoryview], int | None], buffer: Bytes) -> int:
    at = 0
    while at < buffer.size and (count := readinto(buffer.data[at:])) != 0:
        if count is None:
            raise InputError("reader has nothing yet; pass one that waits")
        at += _count("reader", "read", count, buffer.size - at)
    return at


def _count(what: str, did: str, answer: object, most: int) -> int:
    """How many bytes a stream says that it read or wrote; more than it was given are not believed."""
    if not is_int(answer) or not 0 < answer <= most:
        raise InputError(f"{what} said that it {did} {answer!r} bytes, of {most} at most")
    return answer


def refuse_unusable(what: str, stream: object) -> None:
    """Raise ``InputError`` for what looks like a stream of bytes and is none: of text, closed, or only a class."""
    if isinstance(stream, io.TextIOBase):
        raise InputError(f"{what} is a file of text; open it in binary mode")
    if isinstance(stream, type):
        raise InputError(f"{what} is the class {stream.__name__}; expected an object of it")
    if getattr(stream, "closed", False) is True:
        raise InputError(f"{what} is closed")


class ByteWriter:
    """Writes pieces one after another; the next only when the last was taken.

    Parameters
    ----------
    net
        Runs what waits.
    target
        Has ``write``: as a file has it, as a coroutine function, or beside ``drain`` (``asyncio.StreamWriter``).
        What it is given is its own until ``write`` returns.

    Raises
    ------
    InputError
        It has no ``write``.
    """

    def __init__(self, net: Net, target: Any) -> None:
        refuse_unusable("writer", target)
        self._net = net
        self._target = target
        if not callable(getattr(target, "write", None)):
            raise InputError(f"writer is {type(target).__name__}; expected something to write to")

    async def write(self, pieces: Sequence[Bytes | bytes]) -> None:
        """Write all of it."""
        views = [memoryview(piece) if isinstance(piece, bytes) else piece.data for piece in pieces if len(piece)]
        if inspect.iscoroutinefunction(self._target.write):
            for view in views:
                rest = view
                while rest:
                    rest = rest[self._taken(await self._target.write(rest), rest) :]
        elif inspect.iscoroutinefunction(getattr(self._target, "drain", None)):
            for view in views:
                self._target.write(bytes(view))  # some transports go on using what they were given
                await self._target.drain()
        else:
            await self._net.compute(self._write_all, views)

    async def flush(self) -> None:
        """Pass on what the target still holds back."""
        flush = getattr(self._target, "flush", None)
        if inspect.iscoroutinefunction(flush):
            await flush()
        elif callable(flush):
            await self._net.compute(flush)

    def _write_all(self, views: Sequence[memoryview]) -> None:
        for view in views:
            rest = view
            while rest:
                rest = rest[self._taken(self._target.write(rest), rest) :]

    def _taken(self, answer: object, view: memoryview) -> int:
        """How much of what it was given a target took: all, if it has nothing to say, as streams have it."""
        if answer is None and not isinstance(self._target, io.RawIOBase):
            return len(view)
        if answer is None:
            raise InputError("writer takes nothing now; pass one that waits")
        return _count("writer", "wrote", answer, len(view))
