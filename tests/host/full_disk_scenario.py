"""A cluster one of whose four stores has a small disk, which becomes full; then what its runbook says is done.

Run by ``test_disk_full.py``. Disks are ``disk-REGION`` below the directory that is named; that of ``a`` is the small one.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cluster.disks import Hosts
from cluster.kept_objects import SYSTEM, payload
from cluster.support import result_of, verb
from runbooks import commands_by_heading
from waiting import until

import faultset_ray as fs
from faultset_ray.errors import NotEnoughPlaces
from faultset_ray.limits import STORE_RESERVE_SHARE

WIDE, NARROW = "rs:2+2", "rs:2+1"
"""The first needs all four stores; the second finds three elsewhere."""
TOLERATE = {WIDE: 2, NARROW: 1}
SIZE = 1_000_000
SHARD = SIZE // 2
SECONDS = 240.0
RUNBOOK = "A store's disk is full"


def main(root: Path) -> None:
    with Hosts(root, "abcd") as hosts:
        os.environ.update(hosts.environ)
        disk = root / "disk-a"
        with fs.connect(system=SYSTEM) as driver:
            kept = Kept(driver)
            until(lambda: len(driver.status().stores) == 4, SECONDS)
            kept.fill("scratch")
            assert free(disk) < reserve(disk) + 2 * SHARD, "as full as placement makes it"
            take_the_rest(disk)
            assert told_free(driver) == 0
            kept.work_beside("full")
            kept.check()

        # Nobody is connected: only the commands.
        for command in commands_by_heading()[RUNBOOK]:
            found = result_of(verb(hosts.environ, *command))
            assert not found.get("orphans"), found
            assert not found.get("missing"), found
        del kept.names["scratch/0001"]
        more = [f"scratch/{number:04}" for number in range(2, 8)]
        verb(hosts.environ, "rm", "--grace", "0", *more)
        kept.names = {name: code for name, code in kept.names.items() if name not in more}
        took("deleted shards are dropped", lambda: verb(hosts.environ, "repair") and free(disk) > 6 * SHARD)

        with fs.connect(system=SYSTEM) as driver:
            kept.driver = driver
            kept.put("there is room", WIDE)
            kept.fill("again")
            hosts.add("e")
            took("five stores", lambda: len(driver.status().stores) == 5)
            took("shards went to the new store", lambda: free(disk) > 8 * SHARD)
            kept.put("there is room again", WIDE)
            kept.check()
            found = result_of(verb(hosts.environ, "scrub", "--deep"))
            assert (found["missing"], found["corrupt"], found["orphans"]) == (0, 0, [])
            driver.shutdown()
        sys.stdout.write(f"{len(kept.names)} objects are as they were put\n")


class Kept:
    """The objects that were acknowledged and not deleted, with their codes."""

    def __init__(self, driver: fs.Driver) -> None:
        self.driver = driver
        self.names: dict[str, str] = {}

    def put(self, name: str, code: str) -> None:
        self.driver.put(name, payload(name, SIZE), code=code, tolerate=TOLERATE[code])
        self.names[name] = code

    def fill(self, what: str) -> None:
        """Put until the small disk is so full that a promise that needs it is refused."""
        with suppress(NotEnoughPlaces):
            for number in itertools.count():
                self.put(f"{what}/{number:04}", WIDE)

    def work_beside(self, what: str) -> None:
        """What needs the full store is refused; all else goes on, deletions too."""
        with pytest.raises(NotEnoughPlaces, match="have 3 places, need 4"):
            self.put(f"{what}/wide", WIDE)
        self.put(f"{what}/narrow", NARROW)
        self.put(f"{what}/deleted", NARROW)
        for name in (f"{what}/deleted", "scratch/0000"):
            self.driver.delete(name)
            del self.names[name]

    def check(self) -> None:
        """Every object is there, and bears what was promised."""
        assert {listed.name for listed in self.driver.list()} == set(self.names)
        for name in self.names:
            assert self.driver.get(name) == payload(name, SIZE), name
            stat = self.driver.stat(name)
            assert (stat.health, stat.survivable >= stat.tolerate) == ("healthy", True), stat


def free(disk: Path) -> int:
    """Bytes that are free on a disk."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def reserve(disk: Path) -> float:
    """Bytes of it that placement leaves free."""
    found = os.statvfs(disk)
    return found.f_blocks * found.f_frsize * STORE_RESERVE_SHARE


def take_the_rest(disk: Path) -> None:
    """Some other program writes to the disk until nothing is left."""
    with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def told_free(driver: fs.Driver) -> int:
    """Bytes that ``status`` says are free on the small disk."""
    [found] = [store.row.free_bytes for store in driver.status().stores if store.row.region == "a"]
    return found


def took(what: str, condition: Callable[[], object]) -> None:
    """Wait for something, and tell how long it took."""
    begun = time.monotonic()
    until(condition, SECONDS)
    sys.stderr.write(f"{what}: after {time.monotonic() - begun:.1f} s\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
