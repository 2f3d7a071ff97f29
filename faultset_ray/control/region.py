"""The servant that holds one range of a fleet and decides who in it survives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from faultset_ray.backend.protocol import Servant, sizeable
from faultset_ray.control.alarms import Alarms, tell
from faultset_ray.control.census import condition, count_heads
from faultset_ray.control.checkpoint import Checkpoint, since_of
from faultset_ray.control.compose import RegionPart
from faultset_ray.control.decisions import warm_up
from faultset_ray.control.dryrun import DryRun, dry_run, rejudge
from faultset_ray.control.explain import Verdict, explain
from faultset_ray.control.health import Changes, Health, absorb, needs_sketch
from faultset_ray.control.journal import Events, Journal
from faultset_ray.control.messages import Census, Members, Orders, Tail
from faultset_ray.control.metering import count_changes, decide_counted
from faultset_ray.control.parts import blank_part, by_state, by_threshold
from faultset_ray.control.passage import Passage, Rows
from faultset_ray.control.states import Mark
from faultset_ray.errors import HistoryLost, StaleEpoch, UnknownNode
from faultset_ray.limits import DECIDE_MS
from faultset_ray.policy import Policy, Rules

Handles = NDArray[np.uint32]

_PLAIN = Orders(0, Policy())


class Region(Servant):
    """The nodes of one range, owned by this servant alone.

    Every call names the epoch that the caller believes this servant to be of, and one of another epoch is
    refused. A call that asks or tells something also brings the caller's clock. Time here is the latest of all that
    were brought, and never goes back; in place of one that is far ahead of the host's, the host's counts (see
    :meth:`Servant.ahead_ms <faultset_ray.backend.protocol.Servant.ahead_ms>`).

    State is in memory. When the servant dies, a successor with a higher epoch goes on from what was saved:
    it has every change that anyone was shown.
    """

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._version, self._saved = 0, -1
        self._roster = 0
        self._now_ms = 0
        self._decided_ms = 0
        self._sealed: int | None = None
        self._samples = 0
        self._dirty_ms: int | None = None
        """When the oldest observation was taken that is in no whole checkpoint; or before."""
        self._epochs = np.array([epoch], np.int64)
        self._begins = np.zeros(1, np.int64)
        self._orders, self._rules = _PLAIN, _PLAIN.policy.rules
        self._health = Health.empty(np.empty(0, np.uint32), np.empty(0, np.uint64))
        self._journal = Journal(self._health)
        self._alarms = Alarms()
        self._uncounted = True
        """Whether the survivors of regions may have changed since they were last counted."""
        self._passage = Passage()
        self._parting = 0
        """The roster to come, while nodes that it has elsewhere are on their way: until then, nothing is decided."""
        warm_up()

    # -- Nodes

    def load(
        self,
        epoch: int,
        orders: Orders,
        now_ms: int,
        members: Members,
        checkpoint: Checkpoint | None,
        arrivals: Rows | None = None,
    ) -> int:
        """Take the whole roster of the range: these nodes and no others.

        Whole, since of increments one may be lost; so rosters may come in any order, and again. One that is
        not newer than what is loaded changes nothing. The rows of nodes that are no longer in it are parked.

        Parameters
        ----------
        checkpoint : Checkpoint, optional
            What was saved of the range, whole: a servant that holds nothing yet goes on from there.
        arrivals : Rows, optional
            As for :meth:`adopt`.

        Returns
        -------
        int
            How many nodes are parked now.

        Raises
        ------
        StaleEpoch
            This servant holds nothing and is not the range's first, and is not given what was saved; or
            another of its epoch has saved something.
        """
        self._begin(epoch, orders, now_ms)
        if self.clock is not None:  # else one wrong clock would outdo all that is measured until then
            latest_ms = max(self._now_ms, self.clock.now_ms())
            members = replace(members, registered_ms=np.minimum(members.registered_ms, latest_ms))
        if self._roster == 0:
            if checkpoint is not None:
                self._restore(checkpoint)
            elif epoch > 1:
                self._check_loaded()
        if members.roster > self._roster:
            self._version += 1
            self._roster = members.roster
            self._passage, health, told = self._passage.enrolled(
                self._health, members, arrivals or Rows.none(), self._rules, self._version
            )
            self._hold(health)
            self._note(told)
            self._uncounted = True
            self._decide(self._marked(members.handles, members.marks))
        elif arrivals is not None:
            self._adopt(arrivals)
        return len(self._passage.parked)

    def part(self, epoch: int, orders: Orders, now_ms: int, roster: int, handles: Handles) -> Rows:
        """Hand out the rows of nodes that a roster to come has elsewhere; until it comes, nothing is decided here.

        Where that roster was loaded already, the rows that were parked then.
        """
        self._begin(epoch, orders, now_ms)
        self._check_loaded()
        self._check_open()
        if roster > self._roster:
            self._decide()
            self._parting = max(roster, self._parting)
            leaving = self._health.take(np.isin(self._health.handles, handles))
            return Rows.none().parked(leaving, roster)
        parked = self._passage.parked
        return parked.of(np.isin(parked.handles, handles))

    def adopt(self, epoch: int, orders: Orders, now_ms: int, arrivals: Rows) -> None:
        """Go on with the rows of nodes as another range had parked them. Rows that come again are passed over."""
        self._begin(epoch, orders, now_ms)
        self._check_loaded()
        self._adopt(arrivals)

    def parked(self, epoch: int) -> Rows:
        """Nodes that left the range and were not followed up yet."""
        self._check(epoch)
        self._check_open()
        return self._passage.parked

    def followed(
        self, epoch: int, orders: Orders, now_ms: int, roster: int, removed: Handles, adopted: Handles
    ) -> None:
        """Let go of rows that were parked up to a roster: of nodes that were removed, and that are safe elsewhere."""
        self._begin(epoch, orders, now_ms)
        self._passage, told = self._passage.followed(roster, removed, adopted)
        self._version += 1
        self._note(told)

    def mark(
        self,
        epoch: int,
        orders: Orders,
        now_ms: int,
        before: int,
        roster: int,
        handles: Handles,
        marks: NDArray[np.uint8],
    ) -> int:
        """Mark some nodes, if the roster here is ``before``, which makes it ``roster``; return the roster now."""
        self._begin(epoch, orders, now_ms)
        if self._roster == before:
            self._roster = roster
            self._version += 1
            self._decide(self._marked(handles, marks))
        return self._roster

    def observe(
        self,
        epoch: int,
        orders: Orders,
        now_ms: int,
        handles: Handles,
        latency_ms: NDArray[np.float64],
        ok: NDArray[np.bool_],
        at_ms: NDArray[np.int64],
    ) -> int:
        """Take samples in; older than what is known, and unknown nodes, are passed over.

        Parameters
        ----------
        handles, latency_ms, ok, at_ms : uint32[n], float64[n], bool[n], int64[n]
            NaN or False for a node that failed. ``at_ms`` is by the caller's clock; where that is too far ahead, it is
            set right.

        Returns
        -------
        int
            How many were taken.
        """
        ahead_ms = self._begin(epoch, orders, now_ms)
        self._check_loaded()
        self._check_open()
        at_ms = at_ms - ahead_ms if ahead_ms else at_ms
        taken = absorb(self._health, self._health.find(handles), latency_ms, ok, at_ms, self._rules)
        self._samples += taken
        if taken and self._dirty_ms is None:
            self._dirty_ms = self._now_ms
        if self._now_ms - self._decided_ms >= DECIDE_MS:
            self._decide()
        return taken

    # -- Answers

    @sizeable
    def survivors(
        self, epoch: int, orders: Orders, now_ms: int, threshold_ms: float | None, known_roster: int = 0
    ) -> RegionPart:
        """Who survives, cell by cell: at or below a threshold, or by state where there is none.

        To an asker who knows the cells of the roster they are not told again.
        """
        ahead_ms = self._begin(epoch, orders, now_ms)
        if threshold_ms is not None:
            part = by_threshold(self._blank(self._orders.policy, ahead_ms), self._health, threshold_ms)
        else:
            self._decide()
            part = self._by_state(self._health, self._orders.policy, ahead_ms)
        part = replace(part, newer=self._orders.news_to(orders))
        return replace(part, cells=part.cells[:0], first=part.first[:0]) if known_roster == self._roster else part

    def why(self, epoch: int, orders: Orders, now_ms: int, handle: int, node_id: str, region: str) -> Verdict:
        """Explain one node.

        Raises
        ------
        UnknownNode
            It is not here.
        """
        self._begin(epoch, orders, now_ms)
        self._check_loaded()
        self._decide()
        [slot] = self._health.find(np.array([handle], np.uint32))
        if slot < 0:
            raise UnknownNode(node_id, region, 1)
        return explain(self._health, int(slot), self._rules, self._now_ms, node_id, region)

    @sizeable
    def plan(self, epoch: int, orders: Orders, now_ms: int, policy: Policy) -> tuple[RegionPart, RegionPart, DryRun]:
        """What is, what another policy would make of it, and where they differ; nothing is changed."""
        self._begin(epoch, orders, now_ms)
        self._decide()
        live = replace(self._by_state(self._health, self._orders.policy), newer=self._orders.news_to(orders))
        freeze = self._alarms.freeze_under(policy, self._now_ms)
        run, copy = dry_run(self._health, self._rules, policy.rules, self._now_ms, freeze)
        return live, self._by_state(copy, policy), run

    def changes(self, epoch: int, orders: Orders, now_ms: int, since: tuple[int, int] | None, limit: int) -> Tail:
        """What changed since a version that a servant of an epoch had, as far as it was saved; None for since now.

        Raises
        ------
        HistoryLost
            Some of it is no longer kept, or the range never was there.
        """
        self._begin(epoch, orders, now_ms)
        self._check_loaded()
        self._decide()
        since_epoch, version = since or (epoch, self._version)
        if (since_epoch, version) > (epoch, self._version):
            raise HistoryLost(version, self._journal.floor, self._version)
        since_version = since_of(self._epochs, self._begins, since_epoch, version)
        events = self._journal.since(since_version, limit, self._saved)
        more = len(events) == limit
        reached = int(events.version[-1]) if more else max(since_version, self._saved)
        return Tail(events, reached, more, self._version > self._saved)

    def census(self, epoch: int, orders: Orders, now_ms: int) -> Census:
        """How the range is."""
        self._begin(epoch, orders, now_ms)
        self._decide()
        health = self._health
        return Census(
            roster=self._roster,
            nodes=len(health),
            version=self._version,
            saved=self._saved,
            dirty_ms=self._dirty_ms,
            samples=self._samples,
            sealed=self._sealed,
            condition=condition(health, slice(None), self._now_ms),
            parked=len(self._passage.parked),
            short=len(self._alarms.flagged),
            headcount=count_heads(health, panicking=len(self._alarms.panicking)),
        )

    def freeze(self, epoch: int, orders: Orders, now_ms: int, since_ms: int, until_ms: int) -> None:
        """Eject nobody until ``until_ms``, and take back who was ejected since: the observer seems to be at fault."""
        self._begin(epoch, orders, now_ms)
        if self._alarms.freeze != (since_ms, until_ms):
            self._alarms = replace(self._alarms, freeze=(since_ms, until_ms))
            self._decide()

    def panic(self, epoch: int, orders: Orders, now_ms: int, cells: NDArray[np.uint64]) -> None:
        """Learn which regions are in panic, for those who watch: it is seen where the answers of all ranges meet."""
        self._begin(epoch, orders, now_ms)
        self._decide()
        if self._orders.policy.panic == "all":
            self._alarms, told = self._alarms.panicked(cells)
            self._note(told)

    # -- What is saved

    def checkpoint(self, epoch: int, now_ms: int, whole: bool) -> Checkpoint | None:
        """What is to be saved; None if that is nothing.

        An increment where there is a whole one to build on and it is not asked for; it holds the changes since
        what was last saved, and the nodes that they are about.
        """
        self._check(epoch)
        self._look_up(now_ms)
        whole = whole or self._saved < self._journal.floor
        unsaved = self._version > self._saved or (whole and self._dirty_ms is not None)
        if self._sealed is not None or self._roster == 0 or not unsaved:
            return None
        return self._made(-1 if whole else self._saved)

    def saved(self, epoch: int, version: int, samples: int | None, at_ms: int) -> None:
        """Learn that everything up to a version was saved; of a whole checkpoint also what was in it, and when."""
        self._check(epoch)
        self._saved = max(self._saved, min(version, self._version))
        if samples is not None:
            self._passage = self._passage.saved(version)
        if samples is not None and self._dirty_ms is not None and at_ms >= self._dirty_ms:
            self._dirty_ms = None if samples == self._samples else at_ms

    def seal(self, epoch: int, now_ms: int, move_id: int) -> Checkpoint:
        """Take no more observations, for a move, and hand over what there is, whole.

        A sealed range still answers, so that nobody waits while its successors are loaded; but what it decides
        from now on is not saved, and they decide it again.
        """
        self._check(epoch)
        self._check_loaded()
        self._now_ms = max(self._now_ms, now_ms)
        self._decide()
        self._sealed = move_id
        return self._made(-1)

    def unseal(self, epoch: int, move_id: int) -> None:
        """Go on, since that move was given up; nothing happens if it is sealed for another."""
        self._check(epoch)
        if self._sealed == move_id:
            self._sealed = None

    # -- Inside

    def _check(self, epoch: int) -> None:
        if epoch != self._epoch:
            raise StaleEpoch("region", epoch, self._epoch)

    def _check_loaded(self) -> None:
        """Refuse to speak for a range before its nodes and what was saved of them are here."""
        if self._roster == 0:
            raise StaleEpoch("empty region", self._epoch, self._epoch + 1)

    def _check_open(self) -> None:
        """Refuse what would go on from decisions that are not saved."""
        if self._sealed is not None:
            raise StaleEpoch("sealed region", self._epoch, self._epoch + 1)

    def _look_up(self, now_ms: int) -> int:
        """Take the time from a caller; by how much his clock is too far ahead to be believed."""
        ahead_ms = self.ahead_ms(now_ms)
        self._now_ms = max(self._now_ms, now_ms - ahead_ms)
        return ahead_ms

    def _begin(self, epoch: int, orders: Orders, now_ms: int) -> int:
        """Check what every call brings, and take it in; returned is what :meth:`_look_up` does."""
        self._check(epoch)
        self._orders.check_birth(orders, epoch)
        ahead_ms = self._look_up(now_ms)
        if orders.version > self._orders.version:
            if orders.policy != self._orders.policy:
                self._judge_by(orders.policy, self._rules)
            self._orders = orders
        return ahead_ms

    def _judge_by(self, policy: Policy, before: Rules) -> None:
        """Go on under a policy with samples that were judged by other rules."""
        self._rules, self._uncounted = policy.rules, True
        self._hold(self._health.with_sketch(wanted=needs_sketch(self._rules)))
        rejudge(self._health, before, self._rules)

    def _decide(self, marked: Changes | None = None) -> None:
        """Decide, if nothing is in the way; ``marked`` are marks that were set just before, and not told yet."""
        self._decided_ms = self._now_ms
        if self._parting > self._roster:
            if marked is not None:
                self._note(marked)
                self._count()  # who survives changed by the marks
            return
        policy = self._orders.policy
        self._alarms, told = self._alarms.looked(policy, self._now_ms)
        self._note(told)
        decided = decide_counted(self._orders, self._health, self._rules, self._now_ms, self._alarms)
        if marked is not None:
            marked, decided = marked.settled(decided)
            self._note(marked)
        self._note(decided)
        if self._uncounted or self._alarms.rested(policy, self._now_ms):
            self._count()

    def _count(self) -> None:
        """See which regions are short of survivors."""
        policy = self._orders.policy
        if policy.survivors_min > 0 or len(self._alarms.flagged):
            self._alarms, told = self._alarms.counted(self._health, policy, self._now_ms)
            self._note(told)
        self._uncounted = False

    def _adopt(self, arrivals: Rows) -> None:
        self._passage, health, told = self._passage.adopted(self._health, arrivals, self._rules)
        self._hold(health)
        self._version += 1
        self._note(told)
        self._decide()

    def _marked(self, handles: Handles, marks: NDArray[np.uint8]) -> Changes:
        """Set marks; what changed is not told yet."""
        slots = self._health.find(handles)
        return Changes.joined([self._health.set_marks(slots[marks == mark], mark) for mark in Mark])

    def _hold(self, health: Health) -> None:
        """Hold these nodes from now on."""
        self._health = health
        self._journal.rehome(health)

    def _note(self, changes: Changes) -> None:
        """Put changes into the journal, each with a version of its own."""
        if not (count := len(changes)):
            return
        self._uncounted = True
        tell(self._epoch, changes)
        count_changes(self._orders.fleet, changes)
        version = np.arange(self._version + 1, self._version + 1 + count, dtype=np.int64)
        self._version += count
        self._journal.append(Events(version, np.full(count, self._now_ms, np.int64), *changes))

    def _blank(self, policy: Policy, ahead_ms: int = 0) -> RegionPart:
        until = (freeze := self._alarms.freeze_under(policy, self._now_ms)) and freeze[1]
        return blank_part(self._epoch, self._version, self._roster, frozen_until_ms=until, ahead_ms=ahead_ms)

    def _by_state(self, health: Health, policy: Policy, ahead_ms: int = 0) -> RegionPart:
        return by_state(self._blank(policy, ahead_ms), health, policy, self._alarms, self._now_ms)

    def _made(self, since: int) -> Checkpoint:
        """A checkpoint, whole or since a version; it shares nothing that changes."""
        events = self._journal.since(max(since, self._journal.floor))
        health = self._health
        if since >= 0:
            slots = health.find(np.unique(events.handle))
            health = health.take(slots[slots >= 0])
        return Checkpoint(
            self._epoch,
            self._version,
            since,
            self._now_ms,
            self._roster,
            self._journal.floor,
            self._samples,
            health.to_columns(),
            events,
            self._epochs,
            self._begins,
            self._alarms,
            self._passage,
            self._orders.policy.to_json(),
            self._orders.birth,
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Go on from what was saved."""
        if checkpoint.epoch == self._epoch and checkpoint.version > 0:
            raise StaleEpoch("second region", self._epoch, self._epoch + 1)
        checkpoint = checkpoint.set_back(self.ahead_ms(checkpoint.at_ms))
        succeeded = checkpoint if checkpoint.epoch == self._epoch else checkpoint.succeeded(self._epoch)
        self._epochs, self._begins = succeeded.epochs, succeeded.begins
        self._version = checkpoint.version
        self._saved = checkpoint.version if checkpoint.roster else -1
        self._now_ms = max(self._now_ms, checkpoint.at_ms)
        self._alarms, self._passage = checkpoint.alarms, checkpoint.passage
        self._health = Health.from_columns(checkpoint.health)
        self._journal = Journal(self._health, checkpoint.floor)
        self._journal.append(checkpoint.events)
        policy = self._orders.policy
        self._judge_by(policy, Policy.from_json(checkpoint.policy).rules if checkpoint.policy else policy.rules)
