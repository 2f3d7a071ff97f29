"""How long reads of blocks take, by store: which shards to read for it, when one is late, and whom to try again.

A mean and a mean deviation for each store and size, after Jacobson, "Congestion Avoidance and Control" (SIGCOMM 1988).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import inf
from typing import Final, NamedTuple

from faultset_ray.limits import (
    DECODE_BYTES_PER_SECOND,
    DECODE_SECONDS,
    HEDGE_SECONDS_FIRST,
    HEDGE_SECONDS_MIN,
    HEDGE_SHARE,
    LOST_SECONDS,
    TRY_READS,
    TRY_SECONDS,
)
from faultset_ray.objects.gather import Decoder, needed_rows
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count as tell

_WINDOW: Final = 128
_WEIGHT: Final = 0.3
"""Of a new sample in a store's mean and spread."""
_UNANSWERED: Final = 4
"""How many times as long as it was waited for a block counts that others came in place of: it is not known how long
it would have taken, and who is only a little late comes first."""
_SPARE: Final = 4.0
"""Hedges that may be sent before anything was read."""
_LOST_FACTOR: Final = 4
_SAVED: Final = 40.0
"""Hedges that may be sent at once after a good time."""


class Wait(NamedTuple):
    """How long a block will take."""

    seconds: float
    """The mean; infinite of one that is not to be read while others do."""
    spread: float
    """The mean deviation from it, in seconds."""


class Pace:
    """How long this driver's reads of blocks take, by store and size.

    Times are of :meth:`Net.uptime_s <faultset_ray.backend.protocol.Net.uptime_s>`.
    """

    def __init__(self) -> None:
        self._recent: dict[int, deque[float]] = {}
        self._late: dict[int, float] = {}
        """By class of size: the 95th percentile of what is recent."""
        self._took: dict[tuple[str, int], Wait] = {}
        """By store and class of size."""
        self._noted_s: dict[tuple[str, int], float] = {}
        """When the last of these was noted."""
        self._asked_s: dict[tuple[str, int], float] = {}
        """When a store was last tried."""
        self._away: dict[str, float] = {}
        """How far each store is, in seconds there and back."""
        self._base: dict[int, float] = {}
        """By class of size: what a block takes beyond the way."""
        self._budget = _SPARE
        self._tried = 0
        """The number of reads when a store was last tried."""
        self.reads = 0
        """Blocks that were asked for, hedges not among them."""
        self.hedges = 0
        """Blocks that were asked for in place of late ones."""
        self.tries = 0
        """Blocks that were asked for only to see how long they take."""

    def asked(self, count: int) -> None:
        """So many blocks are read that have to be."""
        self.reads += count
        tell(table.BLOCK_READS, count)
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
        tell(table.HEDGES, count)
        return True

    def note(
        self, store: str, nbytes: int, seconds: float, now_s: float, *, answered: bool = True, tried: bool = False
    ) -> None:
        """A block of a store took so long; or had not come after so long.

        Parameters
        ----------
        tried
            Whether it was read only to see: then it says nothing of when a block that is needed is late.
        """
        kind = _kind(nbytes)
        if answered and not tried:
            recent = self._recent.setdefault(kind, deque(maxlen=_WINDOW))
            recent.append(seconds)
            if len(recent) < 16 or not self.reads % 8:
                self._late[kind] = sorted(recent)[int(0.95 * len(recent))]
            base = seconds - self._away.get(store, 0.0)
            before_s = self._base.setdefault(kind, base)
            self._base[kind] = before_s + _WEIGHT * (base - before_s)
        before = self._took.get((store, kind))
        if not answered:
            mean, spread = _UNANSWERED * seconds, 0.0
            if before is not None:  # nothing is known but that it takes longer, so this is no sign that it varies
                if mean <= before.seconds:
                    return
                mean, spread = before.seconds + _WEIGHT * (mean - before.seconds), before.spread
            self._took[store, kind] = Wait(mean, spread)
        elif before is None or (seconds < before.seconds and now_s - self._noted_s[store, kind] >= TRY_SECONDS):
            self._took[store, kind] = Wait(seconds, seconds / 2)  # it is well again: what was before counts no more
        else:
            off = seconds - before.seconds
            spread = before.spread + _WEIGHT * (abs(off) - before.spread)
            self._took[store, kind] = Wait(before.seconds + _WEIGHT * off, spread)
        self._noted_s[store, kind] = now_s

    def late_after(self, nbytes: int) -> float:
        """Seconds after which a block of so many bytes is late."""
        kind = _kind(nbytes)
        if len(self._recent.get(kind, ())) < 16:
            return HEDGE_SECONDS_FIRST
        return max(HEDGE_SECONDS_MIN, self._late[kind])

    def waits(self, stores: Mapping[int, str], away_s: Mapping[int, float], nbytes: int) -> dict[int, Wait]:
        """How long a block of each shard will take.

        Parameters
        ----------
        stores
            The store of each shard, by index.
        away_s
            How far each is, in seconds there and back: it serves where the store was not read yet. Infinite for what is
            to be read only when nothing else is left.
        nbytes
            Of the block.
        """
        kind, found = _kind(nbytes), {}
        for index, store in stores.items():
            away = away_s.get(index, inf)
            if away == inf:
                found[index] = Wait(inf, 0.0)
                continue
            self._away[store] = away
            found[index] = self._took.get((store, kind)) or self._guess(store, away, kind)
        return found

    def to_try(self, stores: Mapping[int, str], nbytes: int, now_s: float) -> int | None:
        """Of shards that a read did without, one whose store is to be read to see how long it takes; mostly none."""
        if self.reads - self._tried < TRY_READS or not stores:
            return None
        kind = _kind(nbytes)
        last = {index: self._last_s(store, kind) for index, store in stores.items()}
        index = min(last, key=lambda index: (last[index], index))
        if now_s - last[index] < TRY_SECONDS:
            return None
        self._tried = self.reads
        self.tries += 1
        self._asked_s[stores[index], kind] = now_s
        return index

    def _last_s(self, store: str, kind: int) -> float:
        return max(self._noted_s.get((store, kind), -inf), self._asked_s.get((store, kind), -inf))

    def _guess(self, store: str, away: float, kind: int) -> Wait:
        """Of a store that was not read: no less than smaller blocks took."""
        mean = max(away + self._base.get(kind, 0.0), *(self._known(store, smaller) for smaller in range(kind)), 0.0)
        return Wait(mean, mean / 2)

    def _known(self, store: str, kind: int) -> float:
        found = self._took.get((store, kind))
        return 0.0 if found is None else found.seconds


def far_shards(
    code: Decoder, goal: Sequence[int], waits: Mapping[int, Wait], cost: Mapping[int, float], nbytes: int
) -> set[int]:
    """The shards to do without, since others come sooner, by more than it takes to decode them.

    Where all come about as soon there are none: what is whole needs no decoding. A difference counts that is more than
    how much the times of each vary.

    Parameters
    ----------
    goal
        The rows that are wanted.
    waits
        Of all shards that can be read.
    cost
        As of :func:`~faultset_ray.objects.gather.gather_rows`: the order of those that come about as soon.
    nbytes
        Of a block.
    """
    decode_s = DECODE_SECONDS + code.k * nbytes / DECODE_BYTES_PER_SECOND if code.k > 1 else 0.0
    near = known = {index: wait for index, wait in waits.items() if wait.seconds < inf}
    far: set[int] = set()
    while len(near) >= len(goal) and (reads := needed_rows(code, goal, sorted(near), cost)) is not None:  # never fewer
        far = known.keys() - near.keys()
        bound = max(near[index].seconds - near[index].spread for index in reads)
        near = {index: wait for index, wait in near.items() if wait.seconds + wait.spread + decode_s < bound}
    return far


def _kind(nbytes: int) -> int:
    """Class of sizes that take about as long: four a factor of 16."""
    return nbytes.bit_length() // 4
