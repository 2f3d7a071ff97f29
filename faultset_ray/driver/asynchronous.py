"""The driver's asynchronous core."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from faultset_ray.backend.protocol import Backend, Place
from faultset_ray.columns import check_name
from faultset_ray.control.answer import Survivors
from faultset_ray.control.explain import Verdict
from faultset_ray.control.policy import Policy
from faultset_ray.control.recording import Recording
from faultset_ray.driver.authority import Authority
from faultset_ray.driver.caretaker import Caretaker
from faultset_ray.driver.fleets import Fleets
from faultset_ray.driver.keeper import Keeper
from faultset_ray.driver.moving import Mover
from faultset_ray.driver.object_verbs import AsyncObjectVerbs
from faultset_ray.driver.objects import Objects
from faultset_ray.driver.observations import check_seconds
from faultset_ray.driver.places import Places
from faultset_ray.driver.planning import Plan
from faultset_ray.driver.prober import Pace, Probing, stop_probers
from faultset_ray.driver.shard_verbs import AsyncShardVerbs
from faultset_ray.driver.shards import Shards
from faultset_ray.driver.steward import Steward
from faultset_ray.driver.stores import StoreDirectory
from faultset_ray.driver.systems import check_region_actors, is_private, keeps_state, open_backend, system_name
from faultset_ray.driver.upkeep import Upkeep
from faultset_ray.driver.upkeep_verbs import AsyncUpkeepVerbs
from faultset_ray.driver.watch import Watch, check_since
from faultset_ray.limits import SURVIVORS_SECONDS
from faultset_ray.model import Fleet, OnDuplicate
from faultset_ray.objects.shardset import attach_driver, detach_driver


async def connect_async(
    address: str | None = None,
    *,
    system: str | None = None,
    backend: str | Backend = "ray",
    region_actors: int | None = None,
    state_dir: str | PathLike[str] | None = None,
    create: bool = True,
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
        ``"ray"``; ``"local"`` for everything in this process; or a backend object.
    region_actors
        At most so many region actors for a fleet; by default twice the cluster's CPUs, at least 4.
    state_dir
        Of a named system: the directory, on the head node, under which its coordinator keeps what was
        registered, in a directory of the system's name. By default ``FAULTSET_STATE_DIR`` of the head
        node, else ``~/.local/state/faultset-ray``.
    create
        With False, a named system that there is not yet is an error.

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
    check_region_actors(region_actors)
    name = system_name(system)
    durable = keeps_state(backend, name, state_dir)
    opened = await asyncio.to_thread(open_backend, backend, name, address)
    made = AsyncDriver.start(opened, name, region_actors, durable=durable, state_dir=state_dir, create=create)
    driver = await made
    attach_driver(name, driver.free)
    return driver


class AsyncDriver(AsyncShardVerbs, AsyncObjectVerbs, AsyncUpkeepVerbs):
    """A connection to one system; made by :func:`connect_async`, an async context manager.

    Methods may run at the same time on one event loop.
    """

    def __init__(
        self, backend: Backend, system: str, region_actors: int | None, *, durable: bool, state_dir: str | None
    ) -> None:
        self.system = system
        """The name of the system."""
        self._backend = backend
        self._authority = Authority(backend, system, durable=durable, state_dir=state_dir)
        self._keeper = Keeper(backend, self._authority)
        self._fleets = Fleets(backend, self._keeper, region_actors)
        self._places = Places(backend, self.survivors, self._keeper.directory)
        self._stores = StoreDirectory(backend, system, self._places.survivors)
        self._shards = Shards(backend, system, self._places, self._stores)
        mover = Mover(backend, self._authority, self._stores, self._places)
        self._upkeep = Upkeep(backend, self._authority, self._stores, mover)
        self._steward = Steward(self._keeper, Caretaker(backend, self._authority, self._stores, mover))
        self._objects = Objects(backend, system, self._authority, self._places, self._stores, self._steward.start)
        self._probings: list[Probing] = []

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
    ) -> Self:
        """Attach to the system's coordinator, or create it; the backend is closed if that fails."""
        directory = None if state_dir is None else os.fspath(state_dir)
        driver = cls(backend, system, region_actors, durable=durable, state_dir=directory)
        try:
            await driver._authority.start(create=create or is_private(system))
        except BaseException:
            await backend.close()
            raise
        return driver

    # -- Control plane

    async def register(
        self,
        nodes: Any,
        precision: int = 6,
        *,
        fleet: str | None = None,
        on_duplicate: OnDuplicate | None = None,
        policy: Policy | None = None,
    ) -> Fleet:
        """Make nodes known, or replace what is known of them by the same id.

        The latency of a known node is one more sample; NaN says nothing, and what was measured stays.

        Parameters
        ----------
        nodes
            Whatever :meth:`Fleet.of <faultset_ray.model.Fleet.of>` takes: nodes, columns, a DataFrame, a path.
        precision : int
            Geohash precision of the regions, 1 to 12.
        fleet : str, optional
            The fleet's name; by default that of a ``Fleet`` that is passed, else "default".
        on_duplicate
            As for ``Fleet.of``.
        policy : Policy, optional
            The fleet's policy from now on. By default it keeps the one it has, a new fleet gets ``Policy()``.

        Returns
        -------
        Fleet
            These nodes, with ``handles``: uint32[n], theirs for good.

        Raises
        ------
        InputError
            In its many forms, for nodes that can't be; nothing was registered.
        ClusterError
            The regions could not be brought up. The nodes are registered; the regions are restored when
            survivors are next asked for.
        """
        return await self._fleets.register(nodes, precision, fleet, on_duplicate, policy)

    async def fleet(self, name: str = "default") -> Fleet:
        """The nodes of a fleet as they were registered, with their handles.

        Raises
        ------
        UnknownFleet
        EmptyNodesError
            All its nodes were removed.
        """
        return await self._fleets.fleet(name)

    async def remove(self, ids: Iterable[str], *, fleet: str = "default") -> int:
        """Let go of nodes for good. One that is registered again is a new one, with a new handle.

        Parameters
        ----------
        ids
            Those that the fleet doesn't have are passed over.

        Returns
        -------
        int
            How many were removed.
        """
        return await self._fleets.remove(ids, fleet)

    async def mark(self, ids: Iterable[str], mark: Literal["drain", "pin"] | None, *, fleet: str = "default") -> int:
        """Decide by hand about nodes, until they are marked otherwise or removed.

        Parameters
        ----------
        ids
        mark : {"drain", "pin"} or None
            A drained node is never a survivor, a pinned one always; no policy and no cap counts them. None
            takes the mark away.

        Returns
        -------
        int
            How many nodes have the mark now.

        Raises
        ------
        UnknownNode
            The fleet has no node of one of the ids; nothing was changed.
        """
        return await self._fleets.mark(ids, mark, fleet)

    async def set_policy(self, policy: Policy, *, fleet: str = "default") -> None:
        """Decide by another policy from now on; see :meth:`plan` for what it will change.

        States are kept. Where it compares otherwise than the one before, each node is judged as if its
        measurements went on as they are now.
        """
        await self._fleets.set_policy(policy, fleet)

    async def observe(
        self,
        handles: ArrayLike,
        latency_ms: ArrayLike,
        *,
        ok: ArrayLike | None = None,
        at_ms: ArrayLike | None = None,
        fleet: str = "default",
    ) -> int:
        """Report what was measured. Lossy by contract: newer supersedes older, and nothing is retried.

        Parameters
        ----------
        handles : uint32[n]
            Of ``fleet.handles``.
        latency_ms : float[n]
            NaN where a node did not answer.
        ok : bool[n], optional
            False where a node failed, whatever its latency: it does not survive until it is measured again.
        at_ms : int or int64[n], optional
            When it was measured, in ms since the epoch; now by default.

        Returns
        -------
        int
            How many observations were taken. Fewer than n when something newer was known, or a region
            did not answer.
        """
        return await self._fleets.observe(handles, latency_ms, ok, at_ms, fleet)

    def record(self, path: str | PathLike[str], *, fleet: str = "default") -> Recording:
        """Write down what :meth:`observe` of this driver is given from now on: a trace, to replay policies on.

        Parameters
        ----------
        path
            Of a ``.jsonl`` file; one that is there is gone on with.

        Returns
        -------
        Recording
            A context manager. It ends with it, with its ``close()``, or with this driver.

        Raises
        ------
        OSError
            The file can't be opened.
        """
        return self._fleets.record(path, fleet)

    async def survivors(
        self,
        *,
        threshold_ms: float | None = None,
        fleet: str = "default",
        deadline_s: float = SURVIVORS_SECONDS,
        partial: bool = True,
    ) -> Survivors:
        """Ask every region at once who survives.

        Parameters
        ----------
        threshold_ms : float, optional
            Nodes whose last latency is at or below it survive: the plain rule, and marks. Without it the
            fleet's policy decides.
        deadline_s : float
            A region that has not answered by then is named in ``missing_regions``.
        partial : bool
            With False, a missing region is an error.

        Returns
        -------
        Survivors
            Without survivors it is empty. The servants of missing regions that are gone are being
            replaced when this returns, from what was saved of them.

        Raises
        ------
        NegativeThresholdError
        UnknownFleet
        RegionTimeout
            With ``partial=False``.
        """
        return await self._fleets.survivors(threshold_ms, fleet, deadline_s, partial=partial)

    async def why(self, node_id: str, *, fleet: str = "default", deadline_s: float = SURVIVORS_SECONDS) -> Verdict:
        """Explain one node: its state, the rule behind it, and what holds it there.

        Raises
        ------
        UnknownNode
        RegionTimeout
            Its region did not answer.
        """
        return await self._fleets.why(node_id, fleet, deadline_s)

    async def plan(
        self,
        policy: Policy,
        *,
        fleet: str = "default",
        deadline_s: float = SURVIVORS_SECONDS,
        partial: bool = True,
    ) -> Plan:
        """Find out what another policy would change; nothing is changed.

        Returns
        -------
        Plan
            The answer as it is and as it would be, and every node that would change. Regions that did not
            answer are named in both answers.
        """
        return await self._fleets.plan(policy, fleet, deadline_s, partial=partial)

    def watch(
        self,
        since: Mapping[int, tuple[int, int]] | None = None,
        *,
        fleet: str = "default",
        idle_s: float | None = None,
    ) -> Watch:
        """Follow the changes of a fleet: who, from what state, to what, and why.

        Parameters
        ----------
        since
            ``versions`` of an answer or of another watch: everything since, each change once. From now on by
            default, which is when the first change is asked for.
        idle_s : float, optional
            End when nothing changes for so long; by default there is no end.

        Returns
        -------
        Watch
            An asynchronous iterator of :class:`~faultset_ray.driver.watch.Change`, one of a node, and
            :class:`~faultset_ray.driver.watch.RegionChange`: of shortage, panic and freezes. It fetches when it has
            nothing left, so that a slow reader holds nothing up. :attr:`Watch.versions
            <faultset_ray.driver.watch.Watch.versions>` is where to go on. What it gives was saved before,
            which takes a second or so, and survives the loss of its region's servant.

        Raises
        ------
        HistoryLost
            From the iteration: ``since`` is too old. Ask for survivors, and watch from there.
        """
        return Watch(self._keeper, check_name("fleet", fleet), check_since(since), check_seconds("idle_s", idle_s))

    # -- System

    async def places(self) -> Sequence[Place]:
        """The places of the cluster that are alive."""
        return await self._backend.places()

    async def probe(
        self,
        *,
        every_s: float = 0.2,
        timeout_s: float = 1.0,
        rate: float = 200.0,
        concurrent: int = 16,
        labels: Mapping[str, str] | None = None,
        fleet: Fleet | None = None,
        targets: Mapping[str, str] | None = None,
    ) -> Probing:
        """Measure the places from now on, and feed what is found to the fleet ``"places"``.

        Reads and writes of all drivers of the system then use the places that survive in it.

        Parameters
        ----------
        every_s : float
            The time between two pings of a place, ± 10 %. Four times as long between two surveys of a place,
            in which it measures the round trips to others, and between two measurements of a target.
        timeout_s : float
            What does not answer for so long is not reached.
        rate : float
            At most so many probes a second, of all kinds together; with more places they come more rarely.
        concurrent : int
            At most so many targets are measured at once from one place.
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
        pace = Pace(every_s, timeout_s, rate, concurrent)
        probing = Probing(self._backend, self, pace, labels, fleet, targets)
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
        await stop_probers(self._backend)
        await self._steward.close(save=True)
        await self._fleets.stop()
        await self._stores.stop()
        await self._authority.stop()
        await self.close()

    async def _stop_probing(self) -> None:
        await asyncio.gather(*(probing.stop() for probing in self._probings))
        self._probings.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
