"""How likely an object is lost within a year, by its code and stated rates of failure and repair.

A continuous-time Markov chain counts the shards that are lost: stores fail, whole regions are lost, shards are
rebuilt. It is the birth–death chain of Angus, "On computing MTBF for a k-out-of-n:G repairable system" (IEEE
Transactions on Reliability, 1988), with three additions: a loss is fatal as often as the code can't decode what is
left; a region takes all its shards at once, since losses that come together count for most (Ford et al., "Availability
in globally distributed storage systems", OSDI 2010); and the time of a repair follows from the bytes it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray.codes.base import Code
from faultset_ray.columns import is_int
from faultset_ray.errors import InputError

HOURS_A_YEAR: Final = 8766.0
_PATTERNS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True)
class Rates:
    """What fails how often, and how fast it is repaired. Failures are permanent: what comes back was never lost."""

    store_losses_a_year: float = 0.04
    """Of one store: its disk, or the machine with it."""
    region_losses_a_year: float = 0.0
    """Of one region with all its stores."""
    store_bytes: float = 4e12
    """Held by a store, all of which is rebuilt elsewhere when it is lost."""
    repair_bytes_a_second: float = 200e6
    """Read for the repair of one store, from all others together."""
    detect_hours: float = 0.25
    """Until a loss is believed."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < np.inf:
                raise InputError(f"{name} is {value!r}; expected a number, 0 or more")
        if self.repair_bytes_a_second == 0:
            raise InputError("repair_bytes_a_second is 0: nothing would ever be repaired")


def reads(code: Code) -> float:
    """How many shards are read to repair one that was lost, on the average over all."""
    everyone = set(range(code.n))
    return sum(len(code.reads([index], everyone - {index})) for index in range(code.n)) / code.n


def repair_hours(code: Code, rates: Rates) -> float:
    """Mean hours from the loss of a store until its shards are there again."""
    return rates.detect_hours + rates.store_bytes * reads(code) / rates.repair_bytes_a_second / 3600


def annual_loss(code: Code, rates: Rates, *, per_region: int = 1) -> float:
    """The probability that an object is lost within a year, each of its shards on a store of its own.

    Times between failures and of repairs are exponential, shards are repaired independently of each other, and which
    shards share a region is left to chance. What is fatal is counted exactly over all patterns of
    losses while there are no more than twenty thousand of a number; beyond, every pattern is taken as fatal that is
    not sure to be borne.

    Parameters
    ----------
    code
    rates
    per_region
        How many shards lie in one region, n at most; the last region may have fewer.

    Returns
    -------
    float
        From 0 to 1, exact to some nine digits however small.
    """
    if not is_int(per_region) or not 1 <= per_region <= code.n:
        raise InputError(f"per_region is {per_region!r}; expected from 1 to n = {code.n}")
    moves = _moves(code, rates, per_region)
    return min(1.0, float(_after(moves, HOURS_A_YEAR)[0, -1]))


def nines(loss: float) -> float:
    """Durability as a number of nines: 0.001 → 3."""
    return float(-np.log10(loss)) if loss > 0 else np.inf


def _moves(code: Code, rates: Rates, per_region: int) -> NDArray[np.float64]:
    """Rates per hour from each number of lost shards to each other; the last state is the loss of the object."""
    borne = _borne(code)
    n, last = code.n, len(borne)
    store, region = rates.store_losses_a_year / HOURS_A_YEAR, rates.region_losses_a_year / HOURS_A_YEAR
    moves = np.zeros((last + 1, last + 1))

    def lose(lost: int, more: int, rate: float) -> None:
        """Of the objects that survived, those go on that still decode."""
        to = lost + more
        stay = borne[to] / borne[lost] if to < last else 0.0
        moves[lost, min(to, last - 1)] += rate * stay
        moves[lost, last] += rate * (1 - stay)

    for lost in range(last):
        lose(lost, 1, (n - lost) * store)
        for size, regions in ((per_region, n // per_region), (n % per_region, 1)):
            for more in range(1, min(size, n - lost) + 1):
                # So many of a region's shards are still there, the lost ones being anywhere.
                share = comb(size, more) * comb(n - size, lost - size + more) if lost >= size - more else 0
                lose(lost, more, regions * region * share / comb(n, lost))
        if lost:
            moves[lost, lost - 1] += lost / repair_hours(code, rates)
    np.fill_diagonal(moves, 0.0)
    return moves


@lru_cache(64)
def _borne(code: Code) -> tuple[float, ...]:
    """The share of patterns of 0, 1, 2, … losses that can be decoded, while it is not 0."""
    found = [1.0]
    for losses in range(1, code.n - code.k + 1):
        patterns = comb(code.n, losses)
        if losses <= code.tolerance:
            found.append(1.0)
        elif patterns > _PATTERNS_MAX:
            break
        elif borne := sum(map(code.bears, combinations(range(code.n), losses))):
            found.append(borne / patterns)
        else:
            break
    return tuple(found)


def _after(moves: NDArray[np.float64], hours: float) -> NDArray[np.float64]:
    """The probabilities of a move between any two states within so many hours.

    By uniformization and repeated squaring: only sums and products of positive numbers, so that the smallest
    probability is as exact as the largest.
    """
    out = moves.sum(axis=1)
    squarings = max(0, int(np.ceil(np.log2(max(1.0, out.max() * hours)))))
    step = hours / 2**squarings
    rate = max(out.max(), 1e-300)
    chain = moves / rate + np.diag(1 - out / rate)
    term = np.eye(len(moves)) * np.exp(-rate * step)
    total: NDArray[np.float64] = term.copy()
    for count in range(1, 60):
        term = term @ chain * (rate * step / count)
        total += term
    for _ in range(squarings):
        total = total @ total
    return total
