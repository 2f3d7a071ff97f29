"""The driver for code that does not await: the same verbs, over one background event loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray.backend.protocol import Backend, Place
from faultset_ray.config import Config
from faultset_ray.control.answer import Survivors
from faultset_ray.control.explain import Verdict
from faultset_ray.control.missing import Told
from faultset_ray.control.recording import Recording
from faultset_ray.control.versions import Versions
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.loop import Loop
from faultset_ray.driver.object_verbs import ObjectVerbs
from faultset_ray.driver.opening import Opening
from faultset_ray.driver.planning import Plan
from faultset_ray.driver.prober import SyncProbing
from faultset_ray.driver.shard_verbs import ShardVerbs
from faultset_ray.driver.upkeep_verbs import UpkeepVerbs
from faultset_ray.driver.watch import Change, RegionChange, Watch
from faultset_ray.errors import BackendClosed
from faultset_ray.limits import READY_SECONDS
from faultset_ray.maps.survey import FleetMap
from faultset_ray.model import Fleet, OnDuplicate
from faultset_ray.objects.shardset import attach_driver, detach_driver
from faultset_ray.policy import Policy

R = TypeVar("R")


def connect(
    address: str | None = None,
    *,
    system: str | None = None,
    backend: str | Backend | None = None,
    region_actors: int | None = None,
    state_dir: str | PathLike[str] | None = None,
    create: bool = True,
    config: Config | str | PathLike[str] | None = None,
) -> Driver:
    """Connect to a cluster and to a system on it.

    For arguments and errors see :func:`connect_async
    <faultset_ray.driver.asynchronous.connect_async>`.

    >>> with connect(backend="local") as driver:
    ...     fleet = driver.register([("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0)])
    ...     driver.survivors(threshold_ms=100.0).ids.tolist()
    ['a']
    """
    opening = Opening.of(address, system, backend, region_actors, state_dir, config)
    opened = opening.open()
    loop = Loop()
    try:
        driver = Driver(loop.run(AsyncDriver.opened(opening, opened, state_dir, create=create)), loop)
    except BaseException:
        loop.close()
        raise
    attach_driver(opening.system, driver.free)
    return driver


class SyncWatch:
    """An iterator of changes of nodes and regions; see :meth:`AsyncDriver.watch
    <faultset_ray.driver.asynchronous.AsyncDriver.watch>`. From now on is when it is made.
    """  # noqa: D205 - one sentence

    def __init__(self, watch: Watch, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._watch = watch
        self._run = run
        run(watch.start())

    @property
    def versions(self) -> Versions:
        """What to watch ``since`` to go on behind the last change that was given out."""
        return self._watch.versions

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change | RegionChange:
        try:
            change: Change | RegionChange = self._run(self._watch.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None
        return change


class Driver(ShardVerbs, ObjectVerbs, UpkeepVerbs):
    """A connection to one system; made by :func:`connect`, a context manager. Usable from any thread.

    Each method does what the method of that name of
    :class:`~faultset_ray.driver.asynchronous.AsyncDriver` does, and returns when it is done.
    """

    _core: AsyncDriver

    def __init__(self, core: AsyncDriver, loop: Loop) -> None:
        self._core = core
        self._loop = loop

    @property
    def system(self) -> str:
        """The name of the system."""
        return self._core.system

    @property
    def config(self) -> Config:
        """What it goes by where its verbs' arguments leave something open."""
        return self._core.config

    def register(
        self,
        nodes: Any,
        precision: int = 6,
        *,
        fleet: str | None = None,
        on_duplicate: OnDuplicate | None = None,
        policy: Policy | None = None,
        deadline_s: float | None = None,
    ) -> Fleet:
        """Make nodes known, or replace what is known of them by the same id."""
        return self._loop.run(
            self._core.register(
                nodes, precision, fleet=fleet, on_duplicate=on_duplicate, policy=policy, deadline_s=deadline_s
            )
        )

    def fleet(self, name: str = "default") -> Fleet:
        """The nodes of a fleet as they were registered, with their handles."""
        return self._loop.run(self._core.fleet(name))

    def handles(
        self, ids: Iterable[str], *, fleet: str = "default", deadline_s: float | None = None
    ) -> NDArray[np.uint32]:
        """The handles of nodes that are known by their ids: uint32[n]."""
        return self._loop.run(self._core.handles(ids, fleet=fleet, deadline_s=deadline_s))

    def remove(self, ids: Iterable[str], *, fleet: str = "default", deadline_s: float | None = None) -> Told:
        """Let go of nodes for good; how many."""
        return self._loop.run(self._core.remove(ids, fleet=fleet, deadline_s=deadline_s))

    def mark(
        self,
        ids: Iterable[str],
        mark: Literal["drain", "pin"] | None,
        *,
        fleet: str = "default",
        deadline_s: float | None = None,
    ) -> Told:
        """Decide by hand about nodes: "drain" for never a survivor, "pin" for always, None for neither; how many."""
        return self._loop.run(self._core.mark(ids, mark, fleet=fleet, deadline_s=deadline_s))

    def set_policy(self, policy: Policy, *, fleet: str = "default", deadline_s: float | None = None) -> None:
        """Decide by another policy from now on."""
        self._loop.run(self._core.set_policy(policy, fleet=fleet, deadline_s=deadline_s))

    def observe(
        self,
        handles: ArrayLike,
        latency_ms: ArrayLike,
        *,
        ok: ArrayLike | None = None,
        at_ms: ArrayLike | None = None,
        fleet: str = "default",
        deadline_s: float | None = None,
    ) -> Told:
        """Report what was measured; how many observations were taken."""
        return self._loop.run(
            self._core.observe(handles, latency_ms, ok=ok, at_ms=at_ms, fleet=fleet, deadline_s=deadline_s)
        )

    def record(self, path: str | PathLike[str], *, fleet: str = "default") -> Recording:
        """Write down what :meth:`observe` of this driver is given from now on: a trace, to replay policies on."""
        return self._core.record(path, fleet=fleet)

    def survivors(
        self,
        *,
        threshold_ms: float | None = None,
        fleet: str = "default",
        deadline_s: float | None = None,
        partial: bool = True,
    ) -> Survivors:
        """Ask every region at once who survives."""
        return self._loop.run(
            self._core.survivors(threshold_ms=threshold_ms, fleet=fleet, deadline_s=deadline_s, partial=partial)
        )

    def why(self, node_id: str, *, fleet: str = "default", deadline_s: float | None = None) -> Verdict:
        """Explain one node: its state, the rule behind it, and what holds it there."""
        return self._loop.run(self._core.why(node_id, fleet=fleet, deadline_s=deadline_s))

    def plan(
        self,
        policy: Policy,
        *,
        fleet: str = "default",
        deadline_s: float | None = None,
        partial: bool = True,
    ) -> Plan:
        """Find out what another policy would change; nothing is changed."""
        return self._loop.run(self._core.plan(policy, fleet=fleet, deadline_s=deadline_s, partial=partial))

    def watch(
        self,
        since: Versions | Mapping[str, Any] | None = None,
        *,
        fleet: str = "default",
        idle_s: float | None = None,
        deadline_s: float | None = None,
    ) -> SyncWatch:
        """Follow the changes of a fleet: an iterator that waits for the next one."""
        watch = self._core.watch(since, fleet=fleet, idle_s=idle_s, deadline_s=deadline_s)
        return SyncWatch(watch, self._loop.run)

    def places(self) -> Sequence[Place]:
        """The places of the cluster that are alive."""
        return self._loop.run(self._core.places())

    def map(
        self,
        *,
        threshold_ms: float | None = None,
        fleet: str = "default",
        deadline_s: float | None = None,
        stores: bool = True,
    ) -> FleetMap:
        """Put together what a map of a fleet shows: regions, who survives there, and where stores are."""
        return self._loop.run(
            self._core.map(threshold_ms=threshold_ms, fleet=fleet, deadline_s=deadline_s, stores=stores)
        )

    def tend(self) -> None:
        """Look after the system from now on, also where this driver uses nothing of it."""
        self._loop.run(self._core.tend())

    def ready(self, deadline_s: float = READY_SECONDS) -> None:
        """Find out whether the system answers, within some seconds."""
        self._loop.run(self._core.ready(deadline_s))

    def probe(
        self,
        *,
        every_s: float | None = None,
        timeout_s: float | None = None,
        rate: float | None = None,
        concurrent: int | None = None,
        labels: Mapping[str, str] | None = None,
        fleet: Fleet | None = None,
        targets: Mapping[str, str] | None = None,
    ) -> SyncProbing:
        """Measure the places from now on, and feed what is found to the fleet ``"places"``."""
        probing = self._loop.run(
            self._core.probe(
                every_s=every_s,
                timeout_s=timeout_s,
                rate=rate,
                concurrent=concurrent,
                labels=labels,
                fleet=fleet,
                targets=targets,
            )
        )
        return SyncProbing(probing, self._loop.run)

    def close(self) -> None:
        """Leave; a private system ends with it. A second close does nothing."""
        with suppress(BackendClosed):
            self._end(self._core.close)

    def shutdown(self) -> None:
        """End the system, for all its drivers, and leave."""
        self._end(self._core.shutdown)

    def _end(self, how: Callable[[], Coroutine[Any, Any, None]]) -> None:
        detach_driver(self.system, self.free)
        try:
            self._loop.run(how())
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
