"""Reads that don't wait for the late: what is late is learnt from the reads before, and little more is asked for it.

After Dean and Barroso, "The Tail at Scale" (CACM 2013): a second request is sent when the first has been out for
longer than the 95th percentile, and a budget bounds how many there may be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Net
from faultset_ray.errors import FaultsetError
from faultset_ray.limits import (
    HEDGE_SECONDS_FIRST,
    HEDGE_SECONDS_MIN,
    HEDGE_SHARE,
    LOST_SECONDS,
    SLOW_FACTOR,
    SLOW_SECONDS,
)
from faultset_ray.objects.gather import Gathering
from faultset_ray.objects.store_values import Block

Bytes = NDArray[np.uint8]

_WINDOW: Final = 128
_WEIGHT: Final = 0.3
"""Of a new sample in a store's average."""
_UNANSWERED: Final = 4
"""How many times as long as it was waited for a block counts that others came in place of: it is not known how long
it would have taken, and who is only a little late comes first."""
_SPARE: Final = 4.0
"""Hedges that may be sent before anything was read."""
_LOST_FACTOR: Final = 4
_SAVED: Final = 40.0
"""Hedges that may be sent at once after a good time."""


class Pace:
    """How long this driver's reads of blocks take, by size; and which stores are slower than others.

    Times are of :meth:`Net.uptime_s <faultset_ray.backend.protocol.Net.uptime_s>`.
    """

    def __init__(self) -> None:
        self._recent: dict[int, deque[float]] = {}
        self._typical: dict[int, float] = {}
        """By class of size: the median of what is recent."""
        self._late: dict[int, float] = {}
        """By class of size: its 95th percentile."""
        self._slow: dict[str, tuple[float, float]] = {}
        """By store: its time as a multiple of what is typical, averaged; and when it was last read."""
        self._budget = _SPARE
        self.reads = 0
        """Blocks that were asked for, hedges not among them."""
        self.hedges = 0
        """Blocks that were asked for in place of late ones."""

    def asked(self, count: int) -> None:
        """So many blocks are read that have to be."""
        self.reads += count
        self._budget = min(self._budget + HEDGE_SHARE * count, _SAVED)

    def may_hedge(self, count: int, waited_s: float, nbytes: int) -> bool:
        """Whether so many more may be read; they are taken from the budget.

        Who has waited for long may run it into debt: what does not come at all is lost and not late.
        """
        lost = waited_s >= max(LOST_SECONDS, _LOST_FACTOR * self.late_after(nbytes))
        if count > self._budget + (_SAVED if lost else 0.0):
            return False
        self._budget -= count
        self.hedges += count
        return True

    def note(self, store: str, nbytes: int, seconds: float, now_s: float, *, answered: bool = True) -> None:
        """A block of a store took so long; or had not come after so long."""
        kind = _kind(nbytes)
        if answered:
            recent = self._recent.setdefault(kind, deque(maxlen=_WINDOW))
            recent.append(seconds)
            if len(recent) < 16 or not self.reads % 8:
                ordered = sorted(recent)
                self._typical[kind] = ordered[len(ordered) // 2]
                self._late[kind] = ordered[int(0.95 * len(ordered))]
        typical = self._typical.get(kind)
        if typical is not None:
            ratio = seconds / max(typical, 1e-6)
            before = self._slowness(store, now_s)
            if not answered:
                ratio = max(before, _UNANSWERED * ratio)
            self._slow[store] = before + _WEIGHT * (ratio - before), now_s

    def late_after(self, nbytes: int) -> float:
        """Seconds after which a block of so many bytes is late."""
        kind = _kind(nbytes)
        if len(self._recent.get(kind, ())) < 16:
            return HEDGE_SECONDS_FIRST
        return max(HEDGE_SECONDS_MIN, self._late[kind])

    def cost(self, stores: Mapping[int, str], order: Mapping[int, float], now_s: float) -> dict[int, float]:
        """What reading each shard costs: as the places are ordered, and infinite where the store is slow of late.

        Parameters
        ----------
        stores
            The store of each shard, by index.
        order
            Of :func:`~faultset_ray.objects.placement.read_order`.
        """
        slowness = {index: self._slowness(store, now_s) for index, store in stores.items()}
        return {index: inf if slow >= SLOW_FACTOR else order.get(index, inf) + slow for index, slow in slowness.items()}

    def _slowness(self, store: str, now_s: float) -> float:
        slow, seen_s = self._slow.get(store, (1.0, now_s))
        return slow if now_s - seen_s < SLOW_SECONDS else 1.0  # it may be well again: the next read tells


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


def _kind(nbytes: int) -> int:
    """Class of sizes that take about as long: four a factor of 16."""
    return nbytes.bit_length() // 4
