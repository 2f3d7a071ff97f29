"""A simulated system with objects on stores whose disks outlive crashes, and what must hold of it at any time.

* What was acknowledged reads back with its bytes, as long as no more stores are lost at once than was promised.
* What was not is there wholly or not at all.
* Every shard that the catalog names is on its store, once nothing is under way; and nothing else is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from stores import crash

from faultset_ray.backend.protocol import Place
from faultset_ray.backend.sim import SimBackend
from faultset_ray.config import Config
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.stores import ref_of, servant_of
from faultset_ray.errors import BackendClosed, CatalogLost
from faultset_ray.objects.place_store import PlaceStore

SYSTEM = "objects"


def places(count, regions=None):
    """A head that outlives everything, and places with stores."""
    return [Place("head")] + [
        Place(f"p{index:02}", {"faultset.io/region": f"r{index % (regions or count)}", "faultset.io/store": "true"})
        for index in range(count)
    ]


class Client(SimBackend):
    """What one driver has of the simulation, until its process ends."""

    def __init__(self, sim: SimBackend, life: dict | None = None) -> None:
        self.__dict__.update(sim.__dict__)
        self.life = {"over": False} if life is None else life

    def kill(self) -> None:
        """End the driver's process, its tasks too."""
        self.life["over"] = True

    def within(self, seconds):
        return Client(super().within(seconds), self.life)

    async def sleep(self, seconds):
        self._check_open()
        await super().sleep(seconds)

    def now_ms(self):
        """By this driver's clock, which may be wrong by ``life["ahead_ms"]``."""
        return super().now_ms() + self.life.get("ahead_ms", 0)

    async def close(self):
        """The simulation goes on."""
        self.kill()

    def _check_open(self):
        if self.life["over"]:
            raise BackendClosed
        super()._check_open()


class World:
    """One simulation; made by :func:`world`."""

    def __init__(self, sim: SimBackend, root: Path, config: Config | None = None) -> None:
        self.sim = sim
        self.root = root
        self.config = config
        """Of every driver."""
        self.payloads: dict[str, bytes] = {}
        """What was acknowledged, by name."""

    async def start(self) -> AsyncDriver:
        """A driver of the system; the first one makes it."""
        self.client = Client(self.sim)
        self.driver = await AsyncDriver.start(
            self.client, SYSTEM, durable=True, state_dir=self.root / "state", config=self.config
        )
        self.driver._steward.start()
        return self.driver

    # -- Objects

    async def put(self, name: str, payload: bytes, code: str = "rs:4+2", **options) -> None:
        """Write an object, in small stripes."""
        await self.driver.put(name, payload, code=code, stripe_bytes=32_768, **options)
        self.payloads[name] = payload

    async def entry(self, name: str):
        [found] = await self.driver._authority.ask(Coordinator.lookup, [name])
        return found

    async def check_objects(self) -> None:
        """Every acknowledged object reads back."""
        for name, payload in self.payloads.items():
            assert await self.driver.get(name) == payload, name

    async def check_shards(self) -> None:
        """What the catalog says is what the stores have: every shard of every layout with a record beside it."""
        await self.driver._stores.look()
        entries = {}
        for name in self.payloads:
            entries[name] = await self.entry(name)
        for name, entry in entries.items():
            for index, uuid in enumerate(entry.layout):
                addr = ref_of(self.driver._stores.info(uuid)).addr
                [held] = await self.sim.call(addr, PlaceStore.held, [entry.record.write_id])
                assert index in held.indices, (name, index, uuid)
                assert held.recorded, (name, index)
        found = await self.driver.scrub(deep=True)
        assert (found.missing, found.corrupt, found.orphans, found.leftovers) == (0, 0, [], 0), found
        assert set(found.silent) <= {store.row.uuid for store in (await self.driver.status()).stores if not store.here}

    async def layout(self, name: str) -> list[str]:
        """The places of an object's shards, by index."""
        entry = await self.entry(name)
        rows = await self.driver._authority.ask(Coordinator.stores)
        return [rows[uuid].place for uuid in entry.layout]

    async def settle(self, done, seconds: float = 3600.0) -> float:
        """Let time pass until ``done()`` is true; how much did."""
        start = self.sim.uptime_s()
        while not await done():
            assert self.sim.uptime_s() - start < seconds, "it does not come about"
            await self.sim.sleep(1.0)
        return self.sim.uptime_s() - start

    async def quiet(self) -> bool:
        """Whether nothing is to be ended, mended or moved, and the stores that answer have nothing to drop."""
        status = await self.driver.status()
        tally = status.tally
        garbage = await self.driver._authority.ask(Coordinator.garbage, 1000)
        here = {store.row.uuid for store in status.stores if store.here}
        waits = tally.damage or tally.moves or tally.open_writes or any(item.store in here for item in garbage)
        return not (status.margins or status.leaving or waits)

    # -- Faults

    def kill(self, place: str) -> None:
        """A place crashes; its disk stays."""
        hosted = self.sim._world.hosted
        name = servant_of(place)
        store = hosted[name].servant if name in hosted and hosted[name].place == place else None
        self.sim.kill(place)
        if store is not None:
            crash(store)

    def revive(self, place: str) -> None:
        """A crashed place starts again, with its disk."""
        self.sim.revive(place)

    def kill_driver(self) -> None:
        """The driver's process ends; :meth:`start` makes another."""
        self.client.kill()

    def kill_coordinator(self) -> None:
        """The coordinator's process ends; a driver that misses it starts it again."""
        ledger = self.sim._world.hosted.pop("coordinator").servant._ledger
        ledger.catalog.close()

    def place_of(self, uuid: str) -> str:
        """Where a store was last seen."""
        return self.driver._stores.info(uuid).place

    def store(self, place: str):
        """The servant itself."""
        return self.sim._world.hosted[servant_of(place)].servant

    def root_of(self, place: str) -> Path | None:
        """The directory of a place's store; None where there is none now."""
        hosted = self.sim._world.hosted.get(servant_of(place))
        return None if hosted is None else Path(hosted.servant.info().path)

    def shard_file(self, place: str, write_id: bytes, index: int) -> Path:
        """A shard's file on its disk."""
        return self.store(place).stat(write_id, index).path

    def drain(self, place: str) -> None:
        """A notice says that the place is about to leave."""
        world = self.sim._world
        old = world.all_places[place]
        world.all_places[place] = Place(old.id, old.labels, old.cpus, draining=True)


@contextmanager
def world(count, *, seed, regions=None, faults=None, config=None):
    """A simulation with stores on a directory in memory."""
    fast = "/dev/shm" if Path("/dev/shm").is_dir() else None
    root = Path(tempfile.mkdtemp(prefix="faultset-sim-", dir=fast))
    sim = SimBackend(places(count, regions), seed=seed, faults=faults)
    # what others do on this machine's disk must not change where shards go
    disk = os.statvfs_result((4096, 4096, 1 << 30, 1 << 29, 1 << 29, 1 << 20, 1 << 20, 1 << 20, 0, 255))
    stores = mock.patch.dict(os.environ, {"FAULTSET_STORE_DIR": str(root / "stores")})
    with stores, mock.patch.object(os, "statvfs", return_value=disk):
        try:
            yield World(sim, root, config)
        finally:
            for hosted in sim._world.hosted.values():
                hosted.servant.close()
            sim.dispose()
            shutil.rmtree(root, ignore_errors=True)


async def lose_catalog(run: World) -> None:
    """The coordinator's directory is deleted; nobody takes that for an empty system."""
    await run.settle(run.quiet)
    run.kill_driver()
    run.kill_coordinator()
    shutil.rmtree(run.root / "state")
    await run.start()
    with pytest.raises(CatalogLost):
        await run.driver.get("o")


def simulate(count, scenario, *, seed=1, absent=(), **options):
    """Run ``scenario(world)`` to its end; places that are absent are down at first."""
    with world(count, seed=seed, **options) as run:

        async def main():
            for place in absent:
                run.kill(place)
            await run.start()
            await run.driver.status()
            result = await scenario(run)
            await run.driver.close()
            return result

        return run.sim.execute(main())
