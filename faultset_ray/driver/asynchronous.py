"""The driver's asynchronous core."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Self

from faultset_ray.backend.protocol import Addr, Backend, Place
from faultset_ray.config import Config
from faultset_ray.control.prober import PLACES
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import ATTENDANT, Authority
from faultset_ray.driver.caretaker import Caretaker
from faultset_ray.driver.fleet_verbs import AsyncFleetVerbs
from faultset_ray.driver.fleets import Fleets
from faultset_ray.driver.keeper import Keeper
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.object_verbs import AsyncObjectVerbs
from faultset_ray.driver.objects import Objects
from faultset_ray.driver.opening import Opening
from faultset_ray.driver.places import POLICY, Places
from faultset_ray.driver.prober import Pace, Probing, stop_probers
from faultset_ray.driver.shard_verbs import AsyncShardVerbs
from faultset_ray.driver.shards import Shards
from faultset_ray.driver.sites import sites_of
from faultset_ray.driver.steward import Steward
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.driver.system_names import is_private
from faultset_ray.driver.upkeep import Upkeep
from faultset_ray.driver.upkeep_verbs import AsyncUpkeepVerbs
from faultset_ray.limits import READY_SECONDS
from faultset_ray.maps.survey import FleetMap, survey
from faultset_ray.model import Fleet
from faultset_ray.objects.shardset import attach_driver, detach_driver
from faultset_ray.telemetry import tracing


async def connect_async(
    address: str | None = None,
    *,
    system: str | None = None,
    backend: str | Backend | None = None,
    region_actors: int | None = None,
    state_dir: str | PathLike[str] | None = None,
    create: bool = True,
    config: Config | str | PathLike[str] | None = None,
) -> AsyncDriver:
    """Connect to a cluster and to a system on it.

    Parameters
    ----------
    address
        Of the Ray cluster: ``HOST:PORT`` or ``"auto"``. By default the connection that this process
        has, else ``RAY_ADDRESS``, else a new cluster on this machine.
    system
        The system's name: it is created if need be, and outlives this driver until :meth:`shutdown
        <AsyncDriver.shutdown>`. By default a private system, which ends with this driver, however it ends.
    backend
        ``"ray"``, the default; ``"local"`` for everything in this process; or a backend object.
    region_actors
        Into so many region actors a new fleet is cut, if it has as many regions; later they are merged and split by
        their load. By default one for each 150,000 nodes, at least 4 and at most twice the cluster's CPUs.
    state_dir
        Of a named system: the directory, on the head node, under which its coordinator keeps what was
        registered and which objects there are, in a directory of the system's name. By default
        ``FAULTSET_STATE_DIR`` of the head node, else ``~/.local/state/faultset-ray``. With a backend object that
        lives in this process, nothing is kept unless one of the first two says where.
    create
        With False, a named system that there is not yet is an error.
    config
        A :class:`~faultset_ray.config.Config`, such as ``Config.load()`` makes; or the path of a TOML file, which is
        loaded with the environment before it. It says what these arguments, and those of the driver's verbs, leave
        open. By default nothing is read but the variables of Ray, and those that each machine has for itself.

    Raises
    ------
    UnknownSystem
        There is no such system, and it is not to be created.
    AuthError
        The cluster refuses this client's token.
    ClusterUnreachable
        Nothing answers at the address.
    VersionSkew
        The system runs another version of faultset-ray.
    StateInUse, UnsupportedState, StateFailure
        The coordinator can't serve what is in its directory.
    InputError
        An argument is not valid.
    """
    opening = Opening.of(address, system, backend, region_actors, state_dir, config)
    driver = await AsyncDriver.opened(opening, await asyncio.to_thread(opening.open), state_dir, create=create)
    attach_driver(opening.system, driver.free)
    return driver


class AsyncDriver(AsyncFleetVerbs, AsyncShardVerbs, AsyncObjectVerbs, AsyncUpkeepVerbs):
    """A connection to one system; made by :func:`connect_async`, an async context manager.

    Methods may run at the same time on one event loop.
    """

    def __init__(
        self,
        backend: Backend,
        system: str,
        region_actors: int | None,
        *,
        durable: bool,
        state_dir: str | None,
        config: Config | None = None,
    ) -> None:
        self.system = system
        """The name of the system."""
        config = self.config = config or Config()
        """What it goes by where its verbs' arguments leave something open."""
        self._backend = backend
        self._authority = Authority(backend, system, durable=durable, state_dir=state_dir)
        self._keeper = Keeper(backend, self._authority)
        self._fleets = Fleets(backend, self._keeper, region_actors, config.policies)
        self._places = Places(backend, self.survivors, self._keeper.directory)
        self._stores = StoreDirectory(backend, system, self._places.survivors)
        self._shards = Shards(backend, system, self._places, self._stores)
        mover = Mover(backend, self._authority, self._stores, self._places)
        health = config.health
        self._upkeep = Upkeep(backend, self._authority, self._stores, mover, health.repair)
        self._steward = Steward(self._keeper, Caretaker(backend, self._authority, self._stores, mover, health))
        self._probings: list[Probing] = []
        self._objects = Objects(
            backend, system, self._authority, self._places, self._stores, self._steward.start, self._trips
        )

    @classmethod
    async def start(
        cls,
        backend: Backend,
        system: str,
        region_actors: int | None = None,
        *,
        durable: bool = False,
        state_dir: str | PathLike[str] | None = None,
        create: bool = True,
        config: Config | None = None,
    ) -> Self:
        """Attach to the system's coordinator, or create it; the backend is closed if that fails."""
        directory = None if state_dir is None else os.fspath(state_dir)
        driver = cls(backend, system, region_actors, durable=durable, state_dir=directory, config=config)
        try:
            await driver._authority.start(create=create or is_private(system))
        except BaseException:
            await backend.close()
            raise
        return driver

    @classmethod
    async def opened(
        cls, opening: Opening, backend: Backend, state_dir: str | PathLike[str] | None, *, create: bool
    ) -> Self:
        """As :meth:`start`, of what ``connect`` was asked for."""
        return await cls.start(
            backend,
            opening.system,
            opening.region_actors,
            durable=opening.durable,
            state_dir=state_dir,
            create=create,
            config=opening.config,
        )

    # -- System

    async def places(self) -> Sequence[Place]:
        """The places of the cluster that are alive."""
        return await self._backend.places()

    async def map(
        self,
        *,
        threshold_ms: float | None = None,
        fleet: str = "default",
        deadline_s: float | None = None,
        stores: bool = True,
    ) -> FleetMap:
        """Put together what a map of a fleet shows: regions, who survives there, and where stores are.

        Parameters
        ----------
        threshold_ms, fleet, deadline_s
            As for :meth:`survivors`.
        stores : bool
            Whether the system's stores are looked at as well, if it has any.

        Returns
        -------
        FleetMap
            With ``html()`` and ``png(path)``.

        Raises
        ------
        UnknownFleet
        EmptyNodesError
            The fleet has no nodes.
        NegativeThresholdError, CoordinatorUnavailable
        """
        with tracing.verb("map", self.system, fleet=fleet):
            answer = await self.survivors(threshold_ms=threshold_ms, fleet=fleet, deadline_s=deadline_s)
            registered = await self.fleet(fleet)
            looked = stores and bool(await self._authority.ask(Coordinator.stores))
            sites = sites_of((await self.status()).stores, await self.places()) if looked else ()
            return await self._backend.compute(survey, registered, answer, sites)

    async def ready(self, deadline_s: float = READY_SECONDS) -> None:
        """Find out whether the system answers, within some seconds.

        Raises
        ------
        CoordinatorUnavailable
            It does not. A coordinator that is gone is being started again when this raises.
        """
        await self._authority.ask_within(deadline_s, Coordinator.about)

    async def tend(self) -> None:
        """Look after the system from now on, as a driver does that has used it: one of all that do so has the lease."""
        self._steward.start()

    async def probe(
        self,
        *,
        every_s: float | None = None,
        timeout_s: float | None = None,
        rate: float | None = None,
        concurrent: int | None = None,
        labels: Mapping[str, str] | None = None,
        fleet: Fleet | None = None,
        targets: Mapping[str, str] | None = None,
    ) -> Probing:
        """Measure the places from now on, and feed what is found to the fleet ``"places"``.

        Reads and writes of all drivers of the system then use the places that survive in it. What is not given is as
        ``health.probe`` of the config says.

        Parameters
        ----------
        every_s : float
            The time between two pings of a place, ± 10 %; 0.2 s by default. Four times as long between two surveys
            of a place, in which it measures the round trips to others, and between two measurements of a target.
        timeout_s : float
            What does not answer for so long is not reached; 1 s by default.
        rate : float
            At most so many probes a second, of all kinds together, 200 by default; with more places they come more
            rarely.
        concurrent : int
            At most so many targets are measured at once from one place; 16 by default.
        labels
            Only the places that carry them. By default all but those labelled ``faultset.io/elastic`` that hold
            no store: a prober is an actor, and like every actor it keeps an autoscaled node from leaving.
        fleet, targets
            Nodes of a registered fleet that are servers, as ``{id: "tcp://HOST:PORT"}``, or ``http://…`` or
            ``https://…``: the places measure them for that fleet.

        Returns
        -------
        Probing
            An asynchronous context manager. The probes end with it, with its ``stop()``, or with this driver.

        Raises
        ------
        InputError
            An argument is not valid.
        ClusterError
            The places could not be registered.
        """
        by = self.config.health.probe
        pace = Pace(
            by.every_s if every_s is None else every_s,
            by.timeout_s if timeout_s is None else timeout_s,
            by.rate if rate is None else rate,
            by.concurrent if concurrent is None else concurrent,
        )
        if targets is None and fleet is None and by.targets:
            fleet, targets = await self.fleet(by.fleet), by.targets
        labels = by.labels or None if labels is None else labels
        policy = self.config.policies.get(PLACES, POLICY)
        probing = Probing(self._backend, self, pace, labels, fleet, targets, policy=policy)
        self._places.probed()
        self._probings.append(probing)
        return await probing.start()

    async def close(self) -> None:
        """Leave. A private system ends with it and leaves nothing behind; a named one goes on."""
        detach_driver(self.system, self.free)
        await self._stop_probing()
        self._fleets.end_recordings()
        await self._steward.close(save=not is_private(self.system))
        await self._keeper.close()
        await self._objects.close()
        await self._stores.close()
        await self._authority.close()
        await self._backend.close()

    async def shutdown(self) -> None:
        """End the system, for all its drivers, and leave. What durable stores hold stays on their disks."""
        await self._stop_probing()
        await self._backend.stop(Addr(ATTENDANT))  # it would start again what ends now
        await stop_probers(self._backend)
        await self._steward.close(save=True)
        await self._fleets.stop()
        await self._stores.stop()
        await self._authority.stop()
        await self.close()

    def _trips(self) -> dict[str, float]:
        """The ways to places that this driver measures, in seconds there and back."""
        return {place: trip for probing in self._probings for place, trip in probing.ways().items()}

    async def _stop_probing(self) -> None:
        await asyncio.gather(*(probing.stop() for probing in self._probings))
        self._probings.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
