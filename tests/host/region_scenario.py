"""A driver on the head while the hosts of one region are cut off and healed; leaves what it saw as JSON.

Run by ``test_places_cut_off.py``, in the head's namespaces.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import ray
from host.elastic_scenarios import again_and_again
from host.hosts import ADDRESS, cable

import faultset_ray as fs
from faultset_ray.errors import NotEnoughPlaces, ObjectNotFound

FOUND, *HOSTS = sys.argv[1:]
CUT = [host for host in HOSTS if host.startswith("east")]
WIDE = "rs:3+2"
"""Needs all five stores."""
NARROW = "rs:2+1"
"""Finds three stores outside the region."""
SECONDS = 180.0


def main() -> None:
    with fs.connect(ADDRESS, system="kept") as driver:
        world = World(driver)
        world.until("five stores", lambda: len(world.here()) == len(HOSTS))
        world.put_first()
        with again_and_again(world.read_one) as reads:
            found = {f"blip_{name}": value for name, value in world.blip().items()}
            found |= {f"outage_{name}": value for name, value in world.outage().items()}
        driver.shutdown()
    Path(FOUND).write_text(json.dumps(found | {"reads": len(reads), "slowest_read_s": max(reads)}))


class World:
    """The driver, and what every object has to be."""

    def __init__(self, driver: fs.Driver) -> None:
        self._driver = driver
        self._dice = np.random.default_rng(1)
        self._kept: dict[str, bytes] = {}
        """Objects that are never changed."""
        self._now: dict[str, bytes | None] = {}
        """The others, and None where they were deleted."""

    def until(self, what: str, condition: Callable[[], object]) -> float:
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < SECONDS, f"not within {SECONDS:g} s: {what}; {self._driver.status()}"
            time.sleep(0.1)
        took = round(time.monotonic() - begun, 2)
        sys.stderr.write(f"{what}: after {took} s\n")
        return took

    def here(self) -> list[str]:
        """Stores that answer."""
        return [store.row.uuid for store in self._driver.status().stores if store.here]

    def put_first(self) -> None:
        for code in (WIDE, NARROW, "copy:3"):
            for size in (1, 100_000, 2_000_000):
                self._kept[f"{code} {size}"] = data = self._dice.bytes(size)
                self._driver.put(f"{code} {size}", data, code=code, stripe_bytes=1 << 20)
        for when in ("blip", "outage"):
            for what in ("overwritten", "deleted"):
                self._put(f"{what} in the {when}", NARROW)

    def read_one(self) -> float:
        """Read one of the objects that are never changed; how many seconds it took."""
        name = list(self._kept)[int(time.monotonic() * 1000) % len(self._kept)]
        begun = time.monotonic()
        assert self._driver.get(name) == self._kept[name], "wrong bytes"
        return time.monotonic() - begun

    def blip(self) -> dict[str, float]:
        """Cut off for so short that Ray does not see it: the same processes come back, with what they had begun."""
        nodes = self._nodes()
        self._cut()
        found = {"read_s": self._check()}
        found["seen_s"] = self.until("their stores are missed", lambda: len(self.here()) == len(HOSTS) - len(CUT))
        found["put_s"] = self._work("blip")
        assert self._nodes() == nodes, "Ray has not seen it"
        found |= self._heal()
        assert self._nodes() == nodes
        return found

    def outage(self) -> dict[str, float]:
        """Cut off until Ray has given the hosts up: everything on them ends when they are back, and starts again."""
        nodes = self._nodes()
        self._cut()
        found = {"read_s": self._check()}
        found["put_at_once_s"] = self._work("outage")
        self.until("Ray gave them up", lambda: len(self._nodes()) == len(nodes) - len(CUT))
        assert min(self._driver.status().margins) >= 0, "nothing is lost"
        found["shards_mended"] = self._driver.repair().shards
        self._check()
        found |= self._heal()
        assert len(self._nodes() - nodes) == len(CUT)
        return found

    # -- Inside

    def _nodes(self) -> set[str]:
        """The nodes that Ray believes in."""
        return {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    def _cut(self) -> None:
        for host in CUT:
            cable(host, "down")

    def _work(self, when: str) -> float:
        """Put, overwrite and delete without the region; how many seconds the first put took."""
        begun = time.monotonic()
        self._put(f"new in the {when}", NARROW)
        took = time.monotonic() - begun
        name = f"too wide in the {when}"
        self._now[name] = None
        try:
            self._driver.put(name, self._dice.bytes(1000), code=WIDE)
        except NotEnoughPlaces as error:
            sys.stderr.write(f"{error}\n")
        else:
            raise AssertionError("three stores can't bear the loss of two")
        self._put(f"overwritten in the {when}", NARROW)
        self._driver.delete(f"deleted in the {when}", grace_s=0)
        self._now[f"deleted in the {when}"] = None
        self._check()
        return round(took, 2)

    def _heal(self) -> dict[str, float]:
        for host in CUT:
            cable(host, "up")
        found = {"back_s": self.until("five stores again", lambda: len(self.here()) == len(HOSTS))}
        self._driver.repair()
        self.until("nothing left to mend or to drop", self._settled)
        found["as_promised_s"] = self.until("every object bears what was promised", self._as_promised)
        scrubbed = self._driver.scrub(deep=True)
        assert (scrubbed.stores, scrubbed.missing, scrubbed.corrupt, scrubbed.orphans) == (len(HOSTS), 0, 0, [])
        self._check()
        return found

    def _as_promised(self) -> bool:
        stats = [self._driver.stat(name) for name, data in (self._kept | self._now).items() if data is not None]
        return all(stat.survivable >= stat.tolerate for stat in stats)

    def _settled(self) -> bool:
        status = self._driver.status()
        return not status.margins and not status.tally.garbage and not status.tally.open_writes

    def _put(self, name: str, code: str) -> None:
        self._now[name] = self._dice.bytes(300_000)
        self._driver.put(name, self._now[name], code=code)

    def _check(self) -> float:
        """Read everything; the most seconds that one took."""
        slowest = 0.0
        for name, data in (self._kept | self._now).items():
            begun = time.monotonic()
            try:
                assert self._driver.get(name) == data, name
            except ObjectNotFound:
                assert data is None, name
            slowest = max(slowest, time.monotonic() - begun)
        return round(slowest, 2)


main()
