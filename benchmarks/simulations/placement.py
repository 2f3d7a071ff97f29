"""A cluster of stores that come and go: how evenly objects lie, and how little of them moves.

``python -m benchmarks.simulations.placement`` prints it, ``make test-long-placement`` asserts it,
``make docs-plots`` draws it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray import codes
from faultset_ray.objects.dealing import Dealer
from faultset_ray.objects.rebalance import Held, rebalance
from faultset_ray.objects.sites import Columns, Site

STORES, REGIONS, OBJECTS, CODE, SEED = 1000, 100, 100_000, "rs:10+4", 1
CAPACITIES = (4 << 40, 8 << 40, 16 << 40)
FULL = 0.5
"""Share of all disks that the objects come to in the end."""
BATCH = 500
"""Objects that are placed before free bytes are told anew."""
SLACK = 0.03


@dataclass(frozen=True)
class Step:
    """What one change came to."""

    what: str
    fullest: float
    """The fullest store's share of its disk over the mean share of all."""
    emptiest: float
    moved: float
    """Share of all bytes."""
    least: float
    """The share that could not stay, or that a level within the slack needs."""
    moves: int
    worst_store: int
    """The most shards of one object on one store, over all objects."""
    worst_region: int


def stores_of(count: int, regions: int, seed: int) -> list[Site]:
    """Empty stores of three sizes, in regions of about the same number."""
    dice = np.random.default_rng([seed, 0])
    capacity = dice.choice(CAPACITIES, count).tolist()
    region = dice.permutation(count) % regions
    return [
        Site(f"s{seed}-{number:05}", f"p{seed}-{number:05}", f"r{region[number]:03}", size, size)
        for number, size in enumerate(capacity)
    ]


class Unaware(Columns):
    """Sites weighted by capacity alone, however full they are: plain rendezvous hashing."""

    def weights(self, _shard_bytes: int = 0, **_how: bool) -> NDArray[np.float64]:
        return self.capacity.astype(np.float64)


class Cluster:
    """Sites that come and go, and objects that are placed once and moved when they must be."""

    def __init__(
        self, sites: Sequence[Site], objects: int, spec: str, seed: int, kind: type[Columns] = Columns
    ) -> None:
        dice = np.random.default_rng([seed, 1])
        self._kind = kind
        self._code = codes.get(spec)
        self._sites = list(sites)
        self._keys = dice.integers(0, 2**64, objects, np.uint64)
        sizes = dice.lognormal(0, 1, objects)
        room = FULL * sum(site.capacity_bytes for site in sites) / self._code.n
        self._bytes = (sizes / sizes.sum() * room).astype(np.int64)
        self._held = np.full((objects, self._code.n), -1, np.int32)
        self._columns = kind(sites)

    def place(self) -> Step:
        """Place all objects, batch by batch."""
        for begin in range(0, len(self._keys), BATCH):
            some = slice(begin, begin + BATCH)
            for rows in self._alike(some):
                dealer = Dealer(self._columns, self._code, int(self._bytes[rows].max()))
                self._held[rows] = dealer.deal_many(self._keys[rows])
            self._columns.free -= self._load(some)
        return self._step("placed", 0, 0, 0)

    def _alike(self, some: slice) -> list[NDArray[np.int64]]:
        """Objects by the share of a small store's content that a shard of theirs is, in steps of a thousandth."""
        columns = self._columns
        used = (columns.capacity - columns.free).sum() / columns.capacity.sum() * min(CAPACITIES)
        share = np.rint(1000 * self._bytes[some] / used) if used else np.zeros(len(self._bytes[some]))
        return [some.start + np.flatnonzero(share == each) for each in np.unique(share)]

    def change(self, what: str, sites: Sequence[Site]) -> Step:
        """Go on with other sites: what was on those that are not among them must be made again elsewhere."""
        before = self._columns
        self._sites, self._columns = list(sites), self._kind(sites)
        # Positions are by sorted UUID, and others than before; where a site is gone, so is the shard.
        now = np.array([self._columns.at.get(store, -1) for store in before.stores], np.int32)
        self._held = now[self._held]
        self._columns.free -= self._load(slice(None))
        least = self._least()
        moves = rebalance(Held(self._keys, self._held, self._bytes), self._columns, self._code, slack=SLACK)
        self._held[moves.rows, moves.indices] = moves.targets
        assert not len(moves.stuck)
        assert (self._columns.free == self._columns.capacity - self._load(slice(None))).all()
        return self._step(what, int(self._bytes[moves.rows].sum()), least, len(moves))

    @property
    def sites(self) -> list[Site]:
        return list(self._sites)

    def fill(self) -> NDArray[np.float64]:
        """float64[s]: the share of each disk that is used, over the mean share of all."""
        columns = self._columns
        fill: NDArray[np.float64] = columns.fill() * (columns.capacity.sum() / (columns.capacity - columns.free).sum())
        return fill

    def _load(self, some: slice) -> NDArray[np.int64]:
        """int64[s]: bytes of these objects on each site."""
        held, shards = self._held[some], np.repeat(self._bytes[some], self._code.n)
        there = held.ravel() >= 0
        load = np.bincount(held.ravel()[there], shards[there].astype(np.float64), minlength=len(self._columns))
        return np.rint(load).astype(np.int64)

    def _least(self) -> int:
        """The bytes that any plan moves: those that are lost, and either those above the bounds or those below."""
        lost = int(((self._held < 0).sum(axis=1) * self._bytes).sum())
        used = self._columns.capacity - self._columns.free
        due = self._columns.capacity * ((used.sum() + lost) / self._columns.capacity.sum())
        over, under = (used - due * (1 + SLACK)).clip(0).sum(), (due * (1 - SLACK) - used).clip(0).sum()
        return int(max(lost + over, under))

    def _step(self, what: str, moved: int, least: int, moves: int) -> Step:
        fill = self.fill()
        whole = int((self._bytes * self._code.n).sum())
        store, region = (_most(rows) for rows in (self._held, self._columns.region[self._held]))
        return Step(what, float(fill.max()), float(fill.min()), moved / whole, least / whole, moves, store, region)


def _most(rows: NDArray[np.int64]) -> int:
    """How often a value stands in one row, at most."""
    ordered = np.sort(rows, axis=1)
    most = 1
    while most < rows.shape[1] and (ordered[:, most:] == ordered[:, :-most]).any():
        most += 1
    return most


def steps(stores: int, regions: int, objects: int, spec: str, seed: int) -> Iterator[Step]:
    """Place, and let stores and a region come and go."""
    dice = np.random.default_rng([seed, 2])
    cluster = Cluster(stores_of(stores, regions, seed), objects, spec, seed)
    yield cluster.place()
    few = max(1, stores // 100)
    lost = set(dice.choice([site.store for site in cluster.sites], few, replace=False).tolist())
    yield cluster.change(f"{few} stores are lost", [site for site in cluster.sites if site.store not in lost])
    yield cluster.change(f"{few} stores join", [*cluster.sites, *stores_of(few, regions, seed + 1)])
    gone = dice.choice([site.region for site in cluster.sites])
    rest = [site for site in cluster.sites if site.region != gone]
    yield cluster.change(f"a region of {len(cluster.sites) - len(rest)} stores is lost", rest)
    new = [replace(site, region="new") for site in stores_of(stores // regions, 1, seed + 2)]
    yield cluster.change(f"a region of {len(new)} stores joins", [*cluster.sites, *new])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("stores", STORES), ("regions", REGIONS), ("objects", OBJECTS), ("seed", SEED)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--code", default=CODE)
    given = parser.parse_args()
    print(
        f"{given.objects:,} objects as {given.code}; {given.stores:,} stores, {given.regions:,} regions; {given.seed=}"
    )
    plain = Cluster(stores_of(given.stores, given.regions, given.seed), given.objects, given.code, given.seed, Unaware)
    print(f"{'by hashing alone':34} fullest {plain.place().fullest:.3f}", flush=True)
    for step in steps(given.stores, given.regions, given.objects, given.code, given.seed):
        print(
            f"{step.what:34} fullest {step.fullest:.3f}  emptiest {step.emptiest:.3f}  moved {step.moved:8.4%} in "
            f"{step.moves:,}, at least {step.least:8.4%}; of one object at most {step.worst_store} shards on a store, "
            f"{step.worst_region} in a region",
            flush=True,
        )


if __name__ == "__main__":
    main()
