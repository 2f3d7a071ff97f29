"""Shards on stores back into the object: one task a stripe reads, verifies and decodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.limits import CODING_CPUS, INFLIGHT_BYTES_MAX, READ_SECONDS
from faultset_ray.objects.encode import StoreRef
from faultset_ray.objects.gather import gather_rows
from faultset_ray.objects.metering import coded
from faultset_ray.objects.output import hand_out
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.placement import Trusted, read_order, trusted
from faultset_ray.objects.pool import run_again, threads_of
from faultset_ray.objects.stripes import data_rows, decode_rows
from faultset_ray.shards.format import Header

Bytes = NDArray[np.uint8]
Write = Callable[[int, Bytes], None]
"""Takes a piece of the object and where it starts."""


async def decode_stripe(
    net: Net,
    header: Header,
    size: int,
    stripe: int,
    stores: Mapping[int, StoreRef],
    unusable: dict[int, str],
    cost: Mapping[int, float],
) -> tuple[Bytes, dict[int, str]]:
    """Read one stripe from the stores and decode it; the task of the pool.

    Parameters
    ----------
    size : int
        Of the object.
    stores
        By index, of the shards that were written.
    unusable
        Shards not to ask, with the reason.
    cost
        Of reading each shard; see :func:`~faultset_ray.objects.placement.read_order`.

    Returns
    -------
    data : uint8[bytes of the stripe]
    unusable : dict
        ``unusable`` with the shards that failed here.

    Raises
    ------
    NotEnoughShards
    """
    layout = header.layout
    block_len = layout.block_len(stripe, size)
    start, stop = layout.span(stripe, size)
    reader = net.within(READ_SECONDS)

    async def fetch(index: int) -> tuple[Bytes, Bytes]:
        return await reader.call(stores[index].addr, PlaceStore.read, header.write_id, index, stripe)

    nbytes, threads = stop - start, threads_of(net)
    wanted = data_rows(nbytes, block_len)
    rows = await gather_rows(codes.get(header.spec), header, stripe, block_len, fetch, unusable, wanted, cost=cost)
    return await coded(net, "decode", header.spec, nbytes, decode_rows, header.spec, rows, nbytes, threads), unusable


async def read_object(
    backend: Backend,
    header: Header,
    size: int,
    sha256: str,
    stores: Mapping[int, StoreRef],
    write: Write,
    survivors: Trusted | None = None,
    avoid: frozenset[str] = frozenset(),
) -> dict[int, str]:
    """Decode a whole object, in bounded memory.

    Parameters
    ----------
    stores
        By index. A shard without one counts as missing.
    write
        Called for each stripe, from a thread of its own, stripes in order. What it was given is only
        to be believed once this function has returned.
    survivors
        The answer about the places: shards at those that don't survive are read last.
    avoid
        Places where no task is to run.

    Returns
    -------
    dict
        Shards that could not be used, with the reason.

    Raises
    ------
    NotEnoughShards
    DigestMismatch
        The bytes are not those that were encoded.
    """
    layout = header.layout
    unusable = {index: "missing" for index in range(header.n) if index not in stores}

    async def make(stripe: int) -> list[Bytes]:
        reader = _reader_place(stores, unusable, survivors, stripe)
        at = At(place=reader, soft=True, cpus=CODING_CPUS, avoid=avoid)
        cost = read_order({index: store.place for index, store in stores.items()}, survivors, reader)
        # damage is one stripe's alone; who is gone need not be asked again
        gone = {index: why for index, why in unusable.items() if not why.startswith("corrupt")}
        data, found = await run_again(backend, decode_stripe, at, header, size, stripe, stores, gone, cost)
        unusable.update(found)
        return [data]

    async def take(start: int, pieces: list[Bytes]) -> None:
        for piece in pieces:
            await backend.compute(write, start, piece)
            start += piece.size

    digest, what = bytes.fromhex(sha256), f"write {header.write_id.hex()}"
    await hand_out(backend, layout, size, digest, make, take, what, layout.stripe_bytes, INFLIGHT_BYTES_MAX)
    return unusable


def _reader_place(
    stores: Mapping[int, StoreRef], unusable: Mapping[int, str], survivors: Trusted | None, stripe: int
) -> str | None:
    places = [stores[index].place for index in sorted(stores) if index not in unusable]
    usable = trusted(places, survivors, lambda place: place)
    return usable[stripe % len(usable)] if usable else None
