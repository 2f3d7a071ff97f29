"""An object on its way out: made several stripes at once, handed out in order, the end only if all is right."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import DigestMismatch
from faultset_ray.objects.pool import Turns, each
from faultset_ray.shards.layout import StripeLayout

Bytes = NDArray[np.uint8]
Take = Callable[[int, list[Bytes]], Awaitable[None]]
"""Takes the next pieces of the object, and where they start; one call at a time, in order."""


@dataclass(slots=True)
class Passed:
    """How much of an object was handed out already: when it is made again, as much has to come out the same."""

    nbytes: int = 0
    digest: bytes = b""
    """SHA-256 of these bytes."""


class Output:
    """Hashes an object on its way out; the last piece leaves only if all of it is right."""

    def __init__(self, net: Net, take: Take, what: str, passed: Passed | None = None) -> None:
        self._net = net
        self._take = take
        self._what = what
        self._hasher = hashlib.sha256()
        self._passed = Passed() if passed is None else passed

    async def take(self, start: int, pieces: list[Bytes], digest: bytes | None = None) -> None:
        """Pass the next pieces on; with the last ones comes the SHA-256 that the object is to have.

        Raises
        ------
        DigestMismatch
            It has another one. These pieces were not passed on, and others may be tried.
        """
        hasher = self._hasher.copy()
        await self._net.compute(_update, hasher, pieces)
        if digest is not None and hasher.digest() != digest:
            raise DigestMismatch(self._what, digest.hex(), hasher.hexdigest())
        end = start + sum(piece.size for piece in pieces)
        if start < self._passed.nbytes:  # the pieces that were passed on before, one by one
            if end == self._passed.nbytes and hasher.digest() != self._passed.digest:
                raise DigestMismatch(self._what, self._passed.digest.hex(), hasher.hexdigest())
            self._hasher = hasher
            return
        self._hasher = hasher
        await self._take(start, pieces)
        self._passed.nbytes, self._passed.digest = end, hasher.digest()


def _update(hasher: hashlib._Hash, pieces: Iterable[Bytes]) -> None:
    for piece in pieces:
        hasher.update(piece.data)


async def hand_out(
    net: Net,
    layout: StripeLayout,
    size: int,
    digest: bytes,
    make: Callable[[int], Awaitable[list[Bytes]]],
    take: Take,
    what: str,
    stripe_bytes: int,
    most_bytes: int,
    passed: Passed | None = None,
) -> None:
    """Make all stripes of an object, and hand them out.

    Parameters
    ----------
    digest
        The object's SHA-256.
    make
        Makes the data of a stripe; several at once.
    what
        How errors name the object.
    stripe_bytes, most_bytes
        What a stripe under way holds, and all of them together.
    passed
        What was handed out already; it is not, again.

    Raises
    ------
    DigestMismatch
        What was made is not the object; its last stripe was not handed out.
    """
    output, turns = Output(net, take, what, passed), Turns()
    stripes = layout.stripes(size)

    async def one(stripe: int) -> None:
        pieces = await make(stripe)
        async with turns.of(stripe):
            await output.take(layout.span(stripe, size)[0], pieces, digest if stripe == stripes - 1 else None)

    await each(stripes, one, stripe_bytes, most_bytes)
    if not stripes:
        await output.take(0, [], digest)
