"""The Ray backend: places are Ray nodes, servants are named actors, tasks are Ray tasks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import ray
from ray import ActorID
from ray._private.state import state as ray_state
from ray.autoscaler.sdk import request_resources
from ray.core.generated.gcs_pb2 import ActorTableData
from ray.exceptions import ActorAlreadyExistsError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors import ship
from actors.attach import attach
from actors.exposure import warn_if_open
from actors.faults import ray_faults
from actors.hosted import hostable, remote_task
from actors.metering import meter, unmeter
from actors.net import SYSTEM, RayNet, fetch, forget_handles
from faultset_ray.backend.guard import check_version
from faultset_ray.backend.protocol import ANYWHERE, Addr, At, Load, Net, Place, Servant
from faultset_ray.backend.spread import to_pack_onto
from faultset_ray.config import Config
from faultset_ray.config.process import variables
from faultset_ray.errors import CallTimeout, ClusterError, PlaceUnreachable, RemoteFailure
from faultset_ray.limits import PLACING_SECONDS, SPAWN_SECONDS, TASK_SECONDS
from faultset_ray.telemetry import events, tracing

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Servant)

_CLOSE_SECONDS = 5.0
_NAME_SECONDS = 0.05
_LOOK_SECONDS = 1.0
_NODE_LABEL = "ray.io/node-id"
_HEAD_RESOURCE = "node:__internal_head__"


def _others(avoid: Iterable[str]) -> dict[str, str]:
    """The label selector of all nodes but some."""
    return {_NODE_LABEL: f"!in({','.join(sorted(avoid))})"} if avoid else {}


def living_actors() -> list[Any]:
    """``ActorTableData`` of every actor that is alive, whoever's it is; Ray's own face leaves the namespace out."""
    accessor = ray_state._connect_and_get_accessor()  # noqa: SLF001
    return [ActorTableData.FromString(raw) for raw in accessor.get_actor_table(None, "ALIVE")]


def _has_place(actor_id: str) -> bool:
    """Whether an actor that is being created was given a worker."""
    accessor = ray_state._connect_and_get_accessor()  # noqa: SLF001
    raw = accessor.get_actor_info(ActorID.from_hex(actor_id))
    return raw is not None and bool(ActorTableData.FromString(raw).address.node_id)


class RayBackend(RayNet):
    """A :class:`~faultset_ray.backend.protocol.Backend` on Ray.

    Parameters
    ----------
    namespace
        Ray namespace of this system's actors.
    lasting
        Whether its servants outlive this driver (detached actors) or die with it.
    address
        As for :func:`actors.attach.attach`. Blocks while Ray connects.
    config
        What it says of processes is in the environment of every actor and task that this backend starts.
    """

    def __init__(
        self, namespace: str, *, lasting: bool, address: str | None = None, config: Config | None = None
    ) -> None:
        super().__init__(namespace, float(len(os.sched_getaffinity(0))))
        self.lasting = lasting
        self._connected = not ray.is_initialized()
        """Whether this backend connected the process, and so disconnects it."""
        config = config or Config()
        started = attach(address, security=config.security)
        meter(namespace)
        same_code = started or ship.shipped_with_job()
        environ = variables(config)
        self._runtime_env = ({} if same_code else ship.runtime_env()) | ({"env_vars": environ} if environ else {})
        self._kept: dict[str, Any] = {}
        """A handle of each servant spawned here: Ray ends an actor that no handle refers to."""
        nodes = ray.nodes()
        gcs_address = ray.get_runtime_context().gcs_address
        warn_if_open(gcs_address, [node["NodeManagerAddress"] for node in nodes if node["Alive"]])
        heads = [node["NodeID"] for node in nodes if _HEAD_RESOURCE in node["Resources"]]
        self.here: str = ray.get_runtime_context().get_node_id()
        self.home: str = heads[0] if heads else self.here

    async def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function on a thread: the driver's loop also watches deadlines."""
        return await asyncio.to_thread(function, *args, **kwargs)

    async def places(self) -> Sequence[Place]:
        """The Ray nodes that are alive, by NodeID."""
        self._check_open()
        nodes = await asyncio.to_thread(ray.nodes)
        draining = await asyncio.to_thread(ray_state.get_draining_nodes)
        places = [
            Place(
                id=node["NodeID"],
                labels=dict(node["Labels"]),
                cpus=float(node["Resources"].get("CPU", 0.0)),
                draining=node["NodeID"] in draining,
                host=node["NodeManagerAddress"],
            )
            for node in nodes
            if node["Alive"]
        ]
        return sorted(places, key=lambda place: place.id)

    async def loads(self) -> Sequence[Load]:
        """From the control service's tables: some 100 ms behind, and without actors that still wait for a place."""
        places = await self.places()
        free = await asyncio.to_thread(ray_state.available_resources_per_node)
        servants: dict[str, set[str]] = {place.id: set() for place in places}
        others = dict.fromkeys(servants, 0)
        for actor in await asyncio.to_thread(living_actors):
            node = actor.address.node_id.hex()
            if node not in servants:
                continue
            if actor.ray_namespace == self.namespace and actor.name:
                servants[node].add(actor.name)
            else:
                others[node] += 1
        return [
            Load(place, float(free.get(place.id, {}).get("CPU", 0.0)), frozenset(servants[place.id]), others[place.id])
            for place in places
        ]

    async def spawn(self, role: type[S], name: str, /, *args: Any, at: At = ANYWHERE) -> Addr[S]:
        """See :meth:`Backend.spawn <faultset_ray.backend.protocol.Backend.spawn>`."""
        at = await self._packed(at)
        found = await self.find(role, name)
        if found is not None:
            return found
        deadline = asyncio.get_running_loop().time() + SPAWN_SECONDS
        while not self._create(role, name, args, at):
            # another made it just now, or it is dead and Ray has yet to give its name back
            if asyncio.get_running_loop().time() > deadline:
                raise CallTimeout(name, "spawn", SPAWN_SECONDS)
            await asyncio.sleep(_NAME_SECONDS)
            await self._check_place(name, at)
            found = await self.find(role, name)
            if found is not None:
                return found
        addr: Addr[S] = Addr(name)
        try:
            check_version(name, await self._started(addr, at))
        except BaseException:
            # nobody is told of it, so it must not come up later; while it waits, it goes on asking for room
            await asyncio.shield(self._dropped(name))
            raise
        return addr

    async def find(self, role: type[S], name: str) -> Addr[S] | None:  # noqa: ARG002 - the role types the result
        """See :meth:`Backend.find <faultset_ray.backend.protocol.Backend.find>`."""
        self._check_open()
        addr: Addr[S] = Addr(name)
        try:
            theirs = await self.call(addr, Servant.version)  # Ray goes on naming actors that are dead
        except (PlaceUnreachable, RemoteFailure):
            self._forget(name)
            return None
        check_version(name, theirs)
        return addr

    async def stop(self, addr: Addr[Any]) -> None:
        """See :meth:`Backend.stop <faultset_ray.backend.protocol.Backend.stop>`."""
        self._check_open()
        try:
            await self.within(_CLOSE_SECONDS).call(addr, Servant.close)
        except ClusterError as error:
            events.SERVANT_NOT_CLOSED.tell(servant=addr.name, error=error)
        try:
            with ray_faults(addr.name):
                await asyncio.to_thread(lambda: ray.kill(self._handle(addr.name)))
        except PlaceUnreachable:
            events.SERVANT_GONE.tell(servant=addr.name)
        self._forget(addr.name)

    async def run(
        self,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """See :meth:`Backend.run <faultset_ray.backend.protocol.Backend.run>`."""
        with tracing.running(SYSTEM, task) as span:
            ref: Any = await self._held(span.carrier, task, at, *args, **kwargs)
            target = getattr(task, "__name__", "task")
            with ray_faults(target):
                # who stops waiting leaves the task to its end: ray.cancel that meets it there kills this whole process
                return cast("R", await fetch(ref, target, "run", TASK_SECONDS))

    async def hold(
        self,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Submit the task; the reference stands for its result as an argument, and for its error."""
        with tracing.running(SYSTEM, task) as span:  # until it is submitted; its own span tells how long it ran
            return await self._held(span.carrier, task, at, *args, **kwargs)

    async def _held(
        self,
        carrier: tracing.Carrier | None,
        task: Callable[Concatenate[Net, P], Awaitable[R]],
        at: At,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        self._check_open()
        at = await self._packed(at)
        target = getattr(task, "__name__", "task")
        with ray_faults(target):
            remote = remote_task.options(name=target, **self._placed(at))
            return cast("R", remote.remote(self.namespace, at.cpus, carrier, task, *args, **kwargs))

    def share(self, value: R) -> R:
        """Put the value into the object store; the reference stands for it as an argument."""
        return cast("R", ray.put(value))

    async def fetch(self, value: Any) -> Any:
        """What an ``ObjectRef`` stands for, without a copy where it is an array; anything else as it is."""
        if not isinstance(value, ray.ObjectRef):
            return value
        with ray_faults("an object reference"):
            return await fetch(value, "an object reference", "get", TASK_SECONDS)

    async def want(self, demand: Sequence[At]) -> None:
        """Ask Ray's autoscaler for room for ``demand``, until asked otherwise."""
        bundles = [{"CPU": at.cpus} for at in demand]
        await asyncio.to_thread(request_resources, bundles=bundles)

    async def close(self) -> None:
        """End what would not outlive this driver; leave Ray if this backend joined it."""
        if self._closed.is_set():
            return
        if not self.lasting:
            await asyncio.gather(*(self.stop(Addr(name)) for name in list(self._kept)), return_exceptions=True)
        self._closed.set()
        unmeter(self.namespace)
        self._kept.clear()
        if self._connected:
            await asyncio.to_thread(ray.shutdown)
            forget_handles()

    def _create(self, role: type[Servant], name: str, args: Sequence[Any], at: At) -> bool:
        """Create an actor; False if its name is taken."""
        options: dict[str, Any] = {
            "name": name,
            "namespace": self.namespace,
            "max_concurrency": role.concurrency,
            "max_restarts": 0,  # a restarted constructor would have lost its state without saying so
        }
        if self.lasting:
            options["lifetime"] = "detached"
        with ray_faults(name):
            try:
                actor = ray.remote(hostable(role)).options(**options, **self._placed(at))
                handle = actor.remote(self.namespace, *args)
            except ActorAlreadyExistsError:
                return False
        self._kept[name] = self._handles[name] = handle
        return True

    async def _started(self, addr: Addr[Any], at: At) -> str:
        """The version of a servant that was just created, once it answers.

        It may wait for a place for ``PLACING_SECONDS``, as an autoscaler may need them; from then on it has
        ``SPAWN_SECONDS`` to start.
        """
        loop = asyncio.get_running_loop()
        actor_id = self._handle(addr.name)._actor_id.hex()  # noqa: SLF001 - Ray has no other name for what waits
        began = loop.time()
        placed_at: float | None = None
        answer = asyncio.ensure_future(self.within(PLACING_SECONDS + SPAWN_SECONDS).call(addr, Servant.version))
        try:
            while not (await asyncio.wait({answer}, timeout=_LOOK_SECONDS))[0]:
                await self._check_place(addr.name, at)
                if placed_at is None and await asyncio.to_thread(_has_place, actor_id):
                    placed_at = loop.time()
                if placed_at is not None and loop.time() - placed_at > SPAWN_SECONDS:
                    raise CallTimeout(addr.name, "spawn", SPAWN_SECONDS)
                if placed_at is None and loop.time() - began > PLACING_SECONDS:
                    raise CallTimeout(addr.name, "spawn, for want of a place", PLACING_SECONDS)
            return await answer
        finally:
            answer.cancel()

    async def _check_place(self, name: str, at: At) -> None:
        """Refuse to wait for a place that is no more."""
        if at.place is not None and not at.soft and at.place not in {place.id for place in await self.places()}:
            raise PlaceUnreachable(name, f"place {at.place} left before it was there")

    async def _dropped(self, name: str) -> None:
        with suppress(ClusterError), ray_faults(name):
            await asyncio.to_thread(lambda: ray.kill(self._handle(name)))
        self._forget(name)

    async def _packed(self, at: At) -> At:
        """Name the place to pack onto; where none has room, leave it to Ray, which lets the autoscaler know."""
        if not at.pack or at.place is not None:
            return at
        found = to_pack_onto(await self.loads(), at.cpus)
        return at if found is None else replace(at, place=found.place.id, soft=True)

    def _placed(self, at: At) -> dict[str, Any]:
        options: dict[str, Any] = {"num_cpus": at.cpus, "scheduling_strategy": "DEFAULT" if at.pack else "SPREAD"}
        if at.place is not None and at.soft:
            # a soft affinity would wait for its node while others are idle, and unseen by the autoscaler
            options |= {
                "scheduling_strategy": "DEFAULT",
                "label_selector": {_NODE_LABEL: at.place},
                "fallback_strategy": [{"label_selector": _others(at.avoid)}],
            }
        elif at.place is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(at.place, soft=False)
        elif at.avoid:
            options["label_selector"] = _others(at.avoid)
        if self._runtime_env:
            options["runtime_env"] = self._runtime_env
        return options

    def _forget(self, name: str) -> None:
        self._kept.pop(name, None)
        self._handles.pop(name, None)
