"""One seeded run of a system with objects, under crashes, lost messages, damaged disks and places that leave.

Never more stores are lost or damaged at once than the code bears. What must hold, at every step and at the end:

* What was acknowledged reads back with its bytes, or is told to be out of reach; never other bytes.
* What was not acknowledged is there wholly or not at all: a name is what it was, or what was being written.
* When nothing goes wrong any more, every object gets back all that it was promised, every shard of every layout is
  where the catalog says, with a record beside it, and nothing is left over.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import numpy as np
from sim.object_world import World, world

from faultset_ray.backend.sim import SimFaults
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.errors import BackendClosed, ClusterError, CodingError, ObjectNotFound, PreconditionFailed
from faultset_ray.failpoints import NAMES, arm
from faultset_ray.limits import INTENT_SECONDS
from faultset_ray.objects.needs import margin
from faultset_ray.telemetry.metrics import recording

HAPPENING = ("put", "read", "deleted", "killed", "damaged", "points", "drivers")
"""What must happen over many seeds."""

PLACES = 9
STEPS = 40
CODES = ["rs:3+2", "rs:4+2", "copy:3", "lrc:4+2+2"]
TOLERATED = 2
"""What every one of the codes bears."""
OPERATIONS = {"put": "put.", "delete": "delete.", "wait": "move."}


class Drill:
    def __init__(self, run: World, seed: int) -> None:
        self.run = run
        self.sim = run.sim
        self.dice = np.random.default_rng(seed)
        self.counted: Counter[str] = Counter()
        self.objects: dict[str, set[bytes | None]] = {}
        """What each name may be: one value where that is sure; None for absent."""
        self.down: list[str] = []
        self.harmed: set[str] = set()
        """Places whose disks have a damaged shard that was not mended yet."""
        self.names = 0

    @property
    def driver(self) -> AsyncDriver:
        return self.run.driver

    def choice(self, items):
        return items[int(self.dice.integers(len(items)))]

    def name(self) -> str:
        if self.objects and self.dice.random() < 0.5:
            return self.choice(sorted(self.objects))
        self.names += 1
        return f"o{self.names}"

    # -- What users do

    async def put(self):
        name, payload = self.name(), self.dice.bytes(int(self.choice([0, 1, 5_000, 40_000, 200_000])))
        options = {"if_absent": True} if self.dice.random() < 0.2 else {}
        before = self.objects.get(name, {None})
        try:
            await self.driver.put(
                name, payload, code=self.choice(CODES), stripe_bytes=32_768, tolerate=TOLERATED, **options
            )
        except PreconditionFailed:
            assert before != {None}, "it was absent for sure"
            return
        except (ClusterError, CodingError) as error:
            self.counted[f"put {type(error).__name__}"] += 1
            self.objects[name] = before | {payload}
            raise
        self.objects[name] = {payload}
        self.counted["put"] += 1

    async def delete(self):
        name = self.choice(sorted(self.objects)) if self.objects else "none"
        before = self.objects.get(name, {None})
        try:
            await self.driver.delete(name)
        except ObjectNotFound:
            # a write whose driver ended may still be carried on, after this
            assert None in before, "it was there for sure"
            return
        except ClusterError:
            self.objects[name] = before | {None}
            raise
        self.objects[name] = {None}
        self.counted["deleted"] += 1

    async def get(self):
        if self.objects:
            await self.read(self.choice(sorted(self.objects)))

    async def read(self, name: str) -> None:
        may_be = self.objects[name]
        try:
            found = await self.driver.get(name)
        except ObjectNotFound:
            found = None
        assert found in may_be, f"{name!r} is {_told(found)}, and was to be one of {sorted(map(_told, may_be))}"
        self.counted["read"] += 1

    async def wait(self):
        await self.sim.sleep(float(self.choice([1.0, 10.0, 100.0, 400.0])))

    # -- What goes wrong

    async def kill(self):
        alive = sorted(self.sim._world.alive.keys() - {"head"})
        if len(self.down) + len(self.harmed) < TOLERATED:
            place = self.choice(alive)
            self.run.kill(place)
            self.down.append(place)
            self.counted["killed"] += 1

    async def revive(self):
        if self.down:
            self.run.revive(self.down.pop(0))

    async def damage(self):
        """A disk loses or changes bytes of a shard."""
        alive = sorted(self.sim._world.alive.keys() - {"head"} - self.harmed)
        if len(self.down) + len(self.harmed) >= TOLERATED or not alive:
            return
        place = self.choice(alive)
        files = sorted((self.run.root / "stores").rglob("shards/*/*.shard"))
        root = self.run.root_of(place)
        files = [path for path in files if root is not None and path.is_relative_to(root)]
        if files:
            path = self.choice(files)
            self.harmed.add(place)
            self.counted["damaged"] += 1
            if self.dice.random() < 0.5:
                path.unlink()
            else:
                _flip(path, int(self.dice.integers(path.stat().st_size)))

    async def scrub(self):
        """Whatever is damaged is found and mended, if the stores answer."""
        found = await self.driver.scrub(deep=True)
        done = await self.driver.repair()
        if not found.silent and not done.failed and not done.waiting:
            self.harmed.clear()

    async def crash_coordinator(self):
        if "coordinator" in self.sim._world.hosted:
            self.run.kill_coordinator()

    async def crash_driver(self):
        self.run.kill_driver()
        await self.start()
        self.counted["drivers"] += 1

    async def crash_at_a_point(self):
        """The driver ends in the middle of something."""

        def crash():
            self.counted["points"] += 1
            self.run.kill_driver()
            raise BackendClosed

        action = self.choice([self.put, self.put, self.delete, self.wait])
        points = [name for name in sorted(NAMES) if name.startswith(OPERATIONS[action.__name__])]
        with arm(self.choice(points), crash), suppress(ClusterError, CodingError):
            await action()
        if self.run.client.life["over"]:
            await self.start()

    async def weather(self):
        drop = float(self.choice([0.0, 0.0, 0.0, 0.003]))
        self.sim.set_faults(SimFaults(drop=drop, delay_ms=(0.1, float(self.choice([2.0, 50.0])))))

    async def start(self):
        while True:
            try:
                await self.run.start()
            except ClusterError:
                continue
            return

    # -- All of it

    async def all(self) -> None:
        await self.start()
        actions = [
            *[self.put] * 8, *[self.get] * 6, *[self.delete] * 2, *[self.wait] * 3,
            *[self.kill] * 2, *[self.revive] * 2, self.damage, self.scrub,
            self.crash_coordinator, self.crash_driver, *[self.crash_at_a_point] * 2, self.weather,
        ]  # fmt: skip
        for _ in range(STEPS):
            action = self.choice(actions)
            try:
                await action()
            except (ClusterError, CodingError) as error:
                self.counted[type(error).__name__] += 1
        await self.calm()

    async def calm(self) -> None:
        """All is well again: everything is mended, and is what it was."""
        self.sim.set_faults(SimFaults())
        while self.down:
            await self.revive()
        await self.sim.sleep(2 * INTENT_SECONDS)
        await self.driver.scrub(deep=True)
        await self.run.settle(self.run.quiet, 7200)
        for name in sorted(self.objects):
            await self.read(name)
        status = await self.driver.status()
        assert not status.margins, "every object has what it was promised"
        self.run.payloads = {
            name: value for name, [value, *more] in self.sure().items() if value is not None and not more
        }
        for entry in [await self.run.entry(name) for name in self.run.payloads]:
            assert margin(entry) >= TOLERATED, "it bears what was promised"
        await self.run.check_shards()
        await self.driver.close()

    def sure(self):
        return {name: sorted(may_be, key=str) for name, may_be in self.objects.items()}


def _flip(path, at) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def _told(value: bytes | None) -> str:
    return "absent" if value is None else f"{len(value)} bytes from {value[:4].hex()}"


def drill(seed: int) -> Counter[str]:
    """Run one; what happened how often."""
    # what only metrics need is done too, whoever listens in this process
    with recording(), world(PLACES, seed=seed) as run:
        each = Drill(run, seed)
        run.sim.execute(each.all())
        each.counted["trace"] = int(run.sim.trace_digest()[:8], 16)
        return each.counted
