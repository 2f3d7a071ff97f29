"""Objects of one stripe at most, encoded where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.objects.metering import tell_coded
from faultset_ray.objects.store_values import Whole
from faultset_ray.objects.stripes import encode_rows
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import stripe_rows
from faultset_ray.telemetry import tracing

Bytes = NDArray[np.uint8]
Small = tuple[Header, Bytes, bytes]
"""Header of a write, its data, and their SHA-256."""


def encode_whole(header: Header, data: Bytes, sha256: bytes) -> list[Whole]:
    """All shards of an object, each in one piece.

    Parameters
    ----------
    header
        Of the write; its index is 0.
    data
        uint8[size], one stripe at most. The data shards are views of it where it fills them.
    sha256
        Of the data.

    Returns
    -------
    list of Whole
        By index.
    """
    packed = [replace(header, index=index).pack() for index in range(header.n)]
    if not data.size:
        return [Whole(head, None, None, 0, sha256) for head in packed]
    rows = stripe_rows(data, header.k, header.layout.block_len(0, data.size))
    parity, digests = encode_rows(rows, header, 0, 1)
    return [
        Whole(head, block, digest, data.size, sha256)
        for head, block, digest in zip(packed, (*rows, *parity), digests, strict=True)
    ]


async def encode_wholes(net: Net, small: Sequence[Small]) -> list[list[Whole]]:
    """:func:`encode_whole` of many, on one thread."""
    by_code: dict[str, int] = {}
    for header, data, _ in small:
        by_code[header.spec] = by_code.get(header.spec, 0) + data.size
    begun_s = net.uptime_s()
    with tracing.inner("encode", {"faultset.objects": len(small)}):
        done = await net.compute(_encode, small)
    tell_coded("encode", by_code, net.uptime_s() - begun_s)
    return done


def _encode(small: Sequence[Small]) -> list[list[Whole]]:
    return [encode_whole(header, data, sha256) for header, data, sha256 in small]
