"""Some bytes of a stripe, of which no more is read than the granules that hold them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.objects.gather import Decoder
from faultset_ray.objects.metering import coded
from faultset_ray.objects.pool import threads_of
from faultset_ray.objects.stripes import data_rows, decode_rows, undecoded
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import StripeLayout
from faultset_ray.telemetry import tracing

P = ParamSpec("P")
R = TypeVar("R")
Bytes = NDArray[np.uint8]
Collect = Callable[[int, Sequence[int], int, int, int], Awaitable[Mapping[int, Bytes]]]
"""Gets rows of a stripe that determine some wanted ones: of stripe, wanted, first granule, granules, their bytes."""


def spans(layout: StripeLayout, size: int, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """``(stripe, low, high)``: which bytes of which stripes' data are bytes ``[start, stop)`` of an object."""
    if start < stop:
        for stripe in range(start // layout.stripe_bytes, -(-stop // layout.stripe_bytes)):
            begin, end = layout.span(stripe, size)
            yield stripe, max(0, start - begin), min(stop, end) - begin


async def read_span(
    net: Net, code: Decoder, header: Header, size: int, stripe: int, low: int, high: int, collect: Collect
) -> list[Bytes]:
    """Bytes ``[low, high)`` of a stripe's data, in pieces.

    Parameters
    ----------
    header, size
        Of the object.

    Raises
    ------
    NotEnoughShards
        From ``collect``.
    """
    layout = header.layout
    length = layout.block_len(stripe, size)
    begin, end = layout.span(stripe, size)
    if (low, high) == (0, end - begin):
        rows = await collect(stripe, data_rows(high, length), 0, layout.granules(length), length)
        data = undecoded(rows, high)
        if data is not None:
            return data
        threads = threads_of(net)
        return [await _decoded(net, header, high, decode_rows, header.spec, rows, high, threads)]

    async def columns(row: int) -> Bytes:
        granule = layout.granule_bytes
        left, right = max(0, low - row * length), min(length, high - row * length)
        first, last = left // granule, -(-right // granule)
        rows = await collect(stripe, [row], first, last - first, min(last * granule, length) - first * granule)
        found = rows.get(row)
        if found is None:
            nbytes = min(last * granule, length) - first * granule
            [found] = await _decoded(net, header, nbytes, code.reconstruct, rows, [row])
        return found[left - first * granule : right - first * granule]

    return list(await asyncio.gather(*map(columns, range(low // length, -(-high // length)))))


async def _decoded(
    net: Net, header: Header, nbytes: int, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> R:
    """Decode ``nbytes`` of data in a span of its own."""
    with tracing.inner("decode", {"faultset.code": header.spec}):
        return await coded(net, "decode", header.spec, nbytes, function, *args, **kwargs)
