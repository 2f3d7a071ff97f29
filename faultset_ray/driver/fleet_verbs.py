"""The driver's verbs for fleets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faultset_ray.columns import check_name
from faultset_ray.config import Config
from faultset_ray.control.answer import Survivors
from faultset_ray.control.explain import Verdict
from faultset_ray.control.missing import Told
from faultset_ray.control.recording import Recording
from faultset_ray.control.versions import Versions, check_since
from faultset_ray.driver.fleets import Fleets
from faultset_ray.driver.keeper import Keeper
from faultset_ray.driver.observations import check_deadline, check_seconds
from faultset_ray.driver.planning import Plan
from faultset_ray.driver.watch import Watch
from faultset_ray.model import Fleet, OnDuplicate
from faultset_ray.policy import Policy
from faultset_ray.telemetry import tracing


class AsyncFleetVerbs:
    """The part of an :class:`~faultset_ray.driver.asynchronous.AsyncDriver` that is the control plane."""

    config: Config
    system: str
    _fleets: Fleets
    _keeper: Keeper

    def _soon(self, deadline_s: float | None) -> float:
        """A deadline, or that of answers."""
        return self.config.limits.survivors_s if deadline_s is None else deadline_s

    def _at_once(self, deadline_s: float | None) -> float:
        """A deadline, or that of observations."""
        return self.config.limits.observe_s if deadline_s is None else deadline_s

    async def register(
        self,
        nodes: Any,
        precision: int = 6,
        *,
        fleet: str | None = None,
        on_duplicate: OnDuplicate | None = None,
        policy: Policy | None = None,
        deadline_s: float | None = None,
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
            The fleet's policy from now on. By default that of its name in the config; without one it keeps the one it
            has, and a new fleet gets ``Policy()``.
        deadline_s : float, optional
            How long it may take; ``limits.register_s`` of the config by default. Without one each call has 30 s, and a
            region actor that is new as long as places with room for it need to come.

        Returns
        -------
        Fleet
            These nodes, with ``handles``: uint32[n], theirs for good.

        Raises
        ------
        InputError
            In its many forms, for nodes that can't be; nothing was registered.
        CoordinatorUnavailable
            It did not answer in time. The nodes may be registered.
        RegionTimeout
            Regions did not learn of the nodes by the deadline. The nodes are registered, and it goes on behind it.
        ClusterError
            The regions could not be brought up. The nodes are registered; the regions are restored when
            survivors are next asked for.
        """
        limit_s = self.config.limits.register_s if deadline_s is None else deadline_s
        with tracing.verb("register", self.system, fleet=fleet) as span:
            registered = await self._fleets.register(nodes, precision, fleet, on_duplicate, policy, limit_s)
            span.note({"faultset.fleet": registered.name, "faultset.nodes": len(registered)})
            return registered

    async def fleet(self, name: str = "default") -> Fleet:
        """The nodes of a fleet as they were registered, with their handles.

        Raises
        ------
        UnknownFleet
        EmptyNodesError
            All its nodes were removed.
        """
        with tracing.verb("fleet", self.system, fleet=name):
            return await self._fleets.fleet(name)

    async def handles(
        self, ids: Iterable[str], *, fleet: str = "default", deadline_s: float | None = None
    ) -> NDArray[np.uint32]:
        """The handles of nodes that are known by their ids: uint32[n], for :meth:`observe`.

        Raises
        ------
        UnknownFleet
        UnknownNode
            The fleet has no node of one of the ids.
        CoordinatorUnavailable
            It did not answer in time, and this driver knows nothing of the fleet yet, or not of all the nodes.
        """
        with tracing.verb("handles", self.system, fleet=fleet):
            return await self._fleets.handles(ids, fleet, self._at_once(deadline_s))

    async def remove(self, ids: Iterable[str], *, fleet: str = "default", deadline_s: float | None = None) -> Told:
        """Let go of nodes for good. One that is registered again is a new one, with a new handle.

        Parameters
        ----------
        ids
            Those that the fleet doesn't have are passed over.
        deadline_s : float
            A region that has not answered by then learns of it later, and is named.

        Returns
        -------
        Told
            How many were removed: an int, with ``missing_regions``.

        Raises
        ------
        CoordinatorUnavailable
            It did not answer in time. The nodes may be removed.
        """
        with tracing.verb("remove", self.system, fleet=fleet):
            return await self._fleets.remove(ids, fleet, self._soon(deadline_s))

    async def mark(
        self,
        ids: Iterable[str],
        mark: Literal["drain", "pin"] | None,
        *,
        fleet: str = "default",
        deadline_s: float | None = None,
    ) -> Told:
        """Decide by hand about nodes, until they are marked otherwise or removed.

        Parameters
        ----------
        ids
        mark : {"drain", "pin"} or None
            A drained node is never a survivor, a pinned one always; no policy and no cap counts them. None
            takes the mark away.
        deadline_s : float
            A region that has not answered by then learns of it later, and is named; its nodes are missing from answers
            until it does.

        Returns
        -------
        Told
            How many nodes have the mark now: an int, with ``missing_regions``.

        Raises
        ------
        UnknownNode
            The fleet has no node of one of the ids; nothing was changed.
        CoordinatorUnavailable
            It did not answer in time. The nodes may be marked.
        """
        with tracing.verb("mark", self.system, fleet=fleet):
            return await self._fleets.mark(ids, mark, fleet, self._soon(deadline_s))

    async def set_policy(self, policy: Policy, *, fleet: str = "default", deadline_s: float | None = None) -> None:
        """Decide by another policy from now on; see :meth:`plan` for what it will change.

        States are kept. Where it compares otherwise than the one before (statistic, threshold, recovery), each
        node's newest sample is judged again; those before stay as they were judged. Regions learn of it with the
        next question.

        Raises
        ------
        CoordinatorUnavailable
            It did not answer in time. The policy may be set.
        """
        with tracing.verb("set_policy", self.system, fleet=fleet):
            await self._fleets.set_policy(policy, fleet, self._soon(deadline_s))

    async def observe(
        self,
        handles: ArrayLike,
        latency_ms: ArrayLike,
        *,
        ok: ArrayLike | None = None,
        at_ms: ArrayLike | None = None,
        fleet: str = "default",
        deadline_s: float | None = None,
    ) -> Told:
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
        deadline_s : float
            A region that has not answered by then is named; it may still take what it was told.

        Returns
        -------
        Told
            How many observations were taken: an int. Fewer than n when something newer was known, or a region
            did not answer; those are its ``missing_regions``.

        Raises
        ------
        CoordinatorUnavailable
            It did not answer in time, and this driver knows nothing of the fleet yet.
        """
        with tracing.verb("observe", self.system, fleet=fleet):
            return await self._fleets.observe(handles, latency_ms, ok, at_ms, fleet, self._at_once(deadline_s))

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
        deadline_s: float | None = None,
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
            replaced when this returns, from what was saved of them. Where the coordinator does not answer within a
            quarter of the deadline, at most 2 s, the regions are asked that this driver knows:
            ``directory_age_ms`` says since when it did not hear whether there are others.

        Raises
        ------
        NegativeThresholdError
        UnknownFleet
        RegionTimeout
            With ``partial=False``.
        CoordinatorUnavailable
            It did not answer in time, and no region did, or this driver knows nothing of the fleet yet.
        """
        with tracing.verb("survivors", self.system, fleet=fleet) as span:
            answer = await self._fleets.survivors(threshold_ms, fleet, self._soon(deadline_s), partial=partial)
            span.note({"faultset.ranges.answered": len(answer.versions)})
            return answer

    async def why(self, node_id: str, *, fleet: str = "default", deadline_s: float | None = None) -> Verdict:
        """Explain one node: its state, the rule behind it, and what holds it there.

        Raises
        ------
        UnknownNode
        RegionTimeout
            Its region did not answer.
        """
        with tracing.verb("why", self.system, fleet=fleet):
            return await self._fleets.why(node_id, fleet, self._soon(deadline_s))

    async def plan(
        self,
        policy: Policy,
        *,
        fleet: str = "default",
        deadline_s: float | None = None,
        partial: bool = True,
    ) -> Plan:
        """Find out what another policy would change; nothing is changed.

        Returns
        -------
        Plan
            The answer as it is and as it would be, and every node that would change. Regions that did not
            answer are named in both answers.
        """
        with tracing.verb("plan", self.system, fleet=fleet):
            return await self._fleets.plan(policy, fleet, self._soon(deadline_s), partial=partial)

    def watch(
        self,
        since: Versions | Mapping[str, Any] | None = None,
        *,
        fleet: str = "default",
        idle_s: float | None = None,
        deadline_s: float | None = None,
    ) -> Watch:
        """Follow the changes of a fleet: who, from what state, to what, and why.

        Parameters
        ----------
        since
            ``versions`` of an answer or of another watch, or what their ``to_dict()`` gave: everything since, each
            change once. From now on by default, which is when the first change is asked for.
        idle_s : float, optional
            End when nothing changes for so long; by default there is no end.
        deadline_s : float
            How long to find out where to begin, if that is left open. Of a region that has not answered by then it is
            behind the last change that was saved.

        Returns
        -------
        Watch
            An asynchronous iterator of :class:`~faultset_ray.driver.watch.Change`, one of a node, and
            :class:`~faultset_ray.driver.watch.RegionChange`: of shortage, panic and freezes. It fetches when it has
            nothing left, so that a slow reader holds nothing up, and waits for no region that does not answer: what
            that one has follows when it does, or its successor. :attr:`Watch.versions
            <faultset_ray.driver.watch.Watch.versions>` is where to go on. What it gives was saved before,
            which takes a second or so, and survives the loss of its region's servant.

        Raises
        ------
        HistoryLost
            From the iteration: ``since`` is too old. Ask for survivors, and watch from there.
        OtherHistory
            From the iteration: ``since`` is of a fleet whose state was lost, or of another one. Do the same, and take
            the fleet's handles anew.
        CoordinatorUnavailable
            From the iteration: it was away for ``idle_s``, or its state has died with it. Else a watch waits for it.
        """
        idle = check_seconds("idle_s", idle_s)
        return Watch(
            self._keeper,
            check_name("fleet", fleet),
            check_since(since),
            idle,
            check_deadline(self._at_once(deadline_s)),
        )
