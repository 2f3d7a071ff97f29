"""Reads that don't wait for the late: what is late is learnt from the reads before, and little more is asked for it.

After Dean and Barroso, "The Tail at Scale" (CACM 2013): a second request is sent when the first has been out for
longer than the 95th percentile, and a budget bounds how many there may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import FaultsetError
from faultset_ray.objects.gather import Gathering
from faultset_ray.objects.pace import Pace
from faultset_ray.objects.store_values import Block

Bytes = NDArray[np.uint8]


async def race_rows(
    net: Net, asking: Gathering, fetch: Callable[[int], asyncio.Future[Block]], pace: Pace, nbytes: int
) -> tuple[dict[int, Bytes], set[int]]:
    """Collect rows as :func:`~faultset_ray.objects.gather.gather_rows` does, without those that are late.

    Parameters
    ----------
    asking
        What to collect.
    fetch
        Begins to read a shard's block.
    nbytes
        Of a block.

    Returns
    -------
    rows : dict of index to uint8[L]
    late : set of int
        Shards that had not answered when there were enough.

    Raises
    ------
    NotEnoughShards
    """
    flying: dict[int, asyncio.Future[Block]] = {}
    patience_s = pace.late_after(nbytes)
    begun_s = net.uptime_s()
    due_s = begun_s + patience_s
    hedged = False
    try:
        while True:
            fresh = asking.ask()
            pace.asked(len(fresh))
            flying |= {index: fetch(index) for index in fresh}
            if not asking.waits():
                return asking.rows(), set(flying)
            wait_s = max(0.0, due_s - net.uptime_s())
            first = asyncio.FIRST_COMPLETED if hedged else asyncio.FIRST_EXCEPTION
            await asyncio.wait(flying.values(), timeout=wait_s, return_when=first)
            ready = sorted(index for index, future in flying.items() if future.done())
            for index in ready:
                asking.take(index, _answer(flying.pop(index)))
            now_s = net.uptime_s()
            if flying and now_s >= due_s:
                patience_s *= 2
                due_s = now_s + patience_s
                extra = asking.instead()
                if extra and pace.may_hedge(len(extra), now_s - begun_s, nbytes):
                    hedged = True
                    asking.hedge(extra)
                    flying |= {index: fetch(index) for index in extra}
    finally:
        for future in flying.values():
            future.cancel()


def _answer(future: asyncio.Future[Block]) -> Block | BaseException:
    try:
        return future.result()
    except FaultsetError as error:
        return error
