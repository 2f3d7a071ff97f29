"""Rows that are sent to a task: it encodes what its driver had, or nothing.

Blocks are verified where they arrive, since their digests travel with them. Rows on their way to the task that makes
these digests go through an object store of others, whose references outlive a connection: what comes out is compared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import At, Backend, Net
from faultset_ray.errors import DigestMismatch
from faultset_ray.limits import TASK_ATTEMPTS
from faultset_ray.objects.pool import run_again
from faultset_ray.objects.stripes import encode_rows, row_digests
from faultset_ray.shards.format import Header
from faultset_ray.telemetry import events

P = ParamSpec("P")
R = TypeVar("R")
Bytes = NDArray[np.uint8]
Digests = Sequence[Bytes]


def encode_sent(rows: Bytes, digests: Digests, header: Header, stripe: int, threads: int) -> tuple[Bytes, list[Bytes]]:
    """:func:`~faultset_ray.objects.stripes.encode_rows` of what came from another process.

    Parameters
    ----------
    digests
        Of the rows, as they were sent.

    Raises
    ------
    DigestMismatch
        If they are others.
    """
    if rows.ndim != 2 or len(rows) != header.k:
        raise _differ(header, stripe, digests, f"uint8{list(rows.shape)}")
    parity, found = encode_rows(rows, header, stripe, threads)
    if not all(map(np.array_equal, found, digests)):
        raise _differ(header, stripe, digests, _told(found[: header.k]))
    return parity, found


async def run_with_rows(
    backend: Backend,
    task: Callable[Concatenate[Net, Bytes, Digests, Header, int, P], Awaitable[R]],
    at: At,
    rows: Bytes,
    header: Header,
    stripe: int,
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """Run a task that begins with :func:`encode_sent`; the rows are sent again where others arrived.

    Raises
    ------
    DigestMismatch
        Others arrived ``TASK_ATTEMPTS`` times.
    """
    digests = await backend.compute(row_digests, rows, header, stripe)

    async def send() -> R:
        shared = await backend.compute(backend.share, rows)  # to copy them takes long
        return await run_again(backend, task, at, shared, digests, header, stripe, *args, **kwargs)

    for _ in range(1, TASK_ATTEMPTS):
        try:
            return await send()
        except DigestMismatch as error:
            events.STRIPE_SENT_AGAIN.tell(error=error)
    return await send()


def _differ(header: Header, stripe: int, digests: Digests, found: str) -> DigestMismatch:
    return DigestMismatch(f"{header.label}: stripe {stripe} on its way to a task", _told(digests), found)


def _told(digests: Digests) -> str:
    return ",".join(digest[:1].tobytes().hex() for digest in digests)
