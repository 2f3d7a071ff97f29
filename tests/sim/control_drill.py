"""One seeded run of a control plane under crashes, lost and late messages, moves and returning dead: what must hold.

* Versions of a range never go back, and nobody obeys a servant of an epoch that is over.
* Every change is told once, and begins where the one before of its node ended, unless it just came to another range;
  at the end what was told is what is. What began in a region ends before it begins again.
* Who was registered, removed or marked, and was told so, stays so. An answer names every node that it should, or
  its region among the missing; where the coordinator is silent, as of when the answer says.
* No ejection breaks a region's cap.
* By state, an answer has those who survive in each range that is as it answered, and all who are pinned; it says which
  regions are short, lends each what the ladder by brute force lends, and names all of a region in panic.
* A servant that was cut off and comes back under its old epoch obeys no newer one, nobody who knows the newer one obeys
  it, and what it has is not saved.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager, suppress
from unittest import mock

import numpy as np
from naive import ladder

from faultset_ray.backend.protocol import At, Place
from faultset_ray.backend.sim import SimBackend, SimFaults
from faultset_ray.control import metering
from faultset_ray.control.decisions import decide_since
from faultset_ray.control.region import Region
from faultset_ray.control.states import Mark, Rule, State
from faultset_ray.control.versions import Versions
from faultset_ray.coordinator.directory import RangeInfo
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.driver.keeper import REGION_PREFIX, address, orders
from faultset_ray.driver.moves import move_ranges
from faultset_ray.driver.watch import RegionChange
from faultset_ray.errors import ClusterError, InputError, StaleEpoch
from faultset_ray.geohash import cells_to_strings, encode
from faultset_ray.policy import Policy

HAPPENING = ("told", "observed", "whole", "partial", "moved", "crashed", "returned", "short", "enough", "in panic")
HAPPENING += ("pinned", "lent", "nothing to lend", "refused", "not saved")
"""What must happen over many seeds."""

PRECISION = 2
STEPS = 36
PLACES = [Place(f"p{index}") for index in range(5)]
POLICIES = [
    Policy(threshold_ms=100.0, samples=(2, 3, 2), hold_s=(1.0, 4.0), eject_max=0.5, survivors_min=2),
    Policy(threshold_ms=100.0, samples=(1, 1, 1), eject_max=0.34, ttl_s=20.0),
    Policy(threshold_ms=100.0, samples=(1, 2, 1), survivors_min=2, fallback="neighbours", panic="all", freeze_at=0.6),
    Policy(threshold_ms=100.0, survivors_min=3, fallback="none", panic="all"),
    Policy(threshold_ms=100.0, survivors_min=4, fallback="everywhere"),
    Policy(),
]


@contextmanager
def caps_watched():
    """Fail where a decision ejects more of a region than its policy allows."""

    def watched(health, rules, now_ms, freeze=None):
        def out():
            counted = (health.mark == Mark.NONE) & (health.state >= State.EJECTED)
            return np.bincount(health.group_of[counted], minlength=len(health.groups.cells))

        before = out()
        changes, since_ms = decide_since(health, rules, now_ms, freeze)
        nodes = np.bincount(health.group_of[health.mark == Mark.NONE], minlength=len(health.groups.cells))
        after = out()
        caps = np.array([rules.cap(int(count)) for count in nodes], np.int64)
        assert not ((after > before) & (after > caps)).any(), "a cap is broken"
        return changes, since_ms

    with mock.patch.object(metering, "decide_since", watched):
        yield


class Drill:
    def __init__(self, sim: SimBackend, seed: int) -> None:
        self.sim = sim
        self.dice = np.random.default_rng(seed)
        self.counted = Counter()
        self.nodes: dict[str, tuple[float, float]] = {}
        """Registered and so acknowledged."""
        self.handles: dict[str, int] = {}
        self.drained: set[str] = set()
        self.pinned: set[str] = set()
        self.unsure: set[str] = set()
        """Touched by a change that was not acknowledged."""
        self.acknowledged_ms: dict[str, int] = {}
        """When the last change of each node was."""
        self.versions = Versions()
        self.told: set[tuple[int, int]] = set()
        self.states: dict[int, State] = {}
        self.going_on: set[tuple[object, Rule]] = set()
        self.thawed: set[int] = set()
        """Ranges that told it."""
        self.relocated: set[int] = set()
        self.told_by: dict[int, int] = {}
        """Which range told of each node last."""
        self.names = 0
        self.returning = []

    def pick(self, population, most):
        ordered = sorted(population)
        count = min(len(ordered), int(self.dice.integers(1, most + 1)))
        return [ordered[at] for at in self.dice.choice(len(ordered), count, replace=False)] if ordered else []

    def acknowledge(self, ids):
        self.acknowledged_ms |= dict.fromkeys(ids, self.sim.now_ms())

    def unclear(self, answer):
        """Nodes of which it is not known what an answer should say: also those that changed after what it is based on."""
        known_ms = answer.at_ms - answer.directory_age_ms
        late = {each for each, at_ms in self.acknowledged_ms.items() if at_ms >= known_ms}
        return self.unsure | (late if answer.directory_age_ms else set())

    # -- What users do

    async def register(self, driver):
        fresh = []
        for _ in range(int(self.dice.integers(1, 8))):
            lat, lon = float(self.dice.choice([-40.0, 5.0, 50.0])), float(self.dice.uniform(-170, 170))
            fresh.append((f"n{self.names}", lat, lon, float(self.dice.uniform(1, 99))))
            self.names += 1
        try:
            fleet = await driver.register(fresh, PRECISION)
        except ClusterError:
            self.unsure |= {node[0] for node in fresh}
            raise
        self.acknowledge(node_id for node_id, *_ in fresh)
        self.nodes |= {node_id: (lat, lon) for node_id, lat, lon, _ in fresh}
        self.handles |= dict(zip(fleet.ids.tolist(), fleet.handles.tolist(), strict=True))

    async def relocate(self, driver):
        """Nodes are registered elsewhere, without a measurement: what is known of them goes along."""
        chosen = [node_id for node_id in self.pick(self.nodes, 3) if node_id not in self.unsure]
        if not chosen:
            return
        fresh = [
            (node_id, float(self.dice.choice([-40.0, 50.0])), float(self.dice.uniform(-170, 170)), np.nan)
            for node_id in chosen
        ]
        self.unsure |= set(chosen)
        self.relocated |= {self.handles[node_id] for node_id in chosen if node_id in self.handles}
        await driver.register(fresh, PRECISION)
        self.unsure -= set(chosen)
        self.acknowledge(chosen)
        self.nodes |= {node_id: (lat, lon) for node_id, lat, lon, _ in fresh}
        self.counted["relocated"] += len(chosen)

    async def remove(self, driver):
        chosen = self.pick(self.nodes, 2)
        for node_id in chosen:
            self.unsure.add(node_id)
        await driver.remove(chosen)
        self.unsure -= set(chosen)
        self.acknowledge(chosen)
        for node_id in chosen:
            del self.nodes[node_id]
            self.handles.pop(node_id, None)
            self.drained.discard(node_id)
            self.pinned.discard(node_id)

    async def mark(self, driver):
        chosen = self.pick(self.nodes.keys() - self.unsure, 3)
        mark = [None, "drain", "pin"][int(self.dice.integers(3))]
        self.unsure |= set(chosen)
        await driver.mark(chosen, mark)
        self.unsure -= set(chosen)
        self.acknowledge(chosen)
        self.drained = self.drained | set(chosen) if mark == "drain" else self.drained - set(chosen)
        self.pinned = self.pinned | set(chosen) if mark == "pin" else self.pinned - set(chosen)

    async def observe(self, driver):
        chosen = [node_id for node_id in self.pick(self.handles, 40) if node_id not in self.unsure]
        if chosen:
            latency = np.where(self.dice.random(len(chosen)) < 0.5, 20.0, 180.0)
            handles = np.array([self.handles[node_id] for node_id in chosen], np.uint32)
            self.counted["observed"] += await driver.observe(handles, latency)

    async def ask(self, driver):
        answer = await driver.survivors(threshold_ms=np.inf, deadline_s=2.0)
        missing = set(answer.missing_regions)
        expected = {
            node_id
            for node_id, (lat, lon) in self.nodes.items()
            if node_id not in self.drained and encode(lat, lon, PRECISION) not in missing
        }
        found = set(answer.ids.tolist())
        assert found - self.unclear(answer) == expected - self.unclear(answer), (
            "an answer shrank, or grew, and did not say so"
        )
        assert len(found) == len(answer)
        self.check_versions(answer)
        self.counted["whole" if answer.whole else "partial"] += 1

    async def ask_by_state(self, driver):
        answer = await driver.survivors(deadline_s=2.0)
        missing, found = set(answer.missing_regions), set(answer.ids.tolist())
        unclear = self.unclear(answer)
        assert not found & (self.drained - unclear)
        pinned = {each for each in self.pinned - unclear if encode(*self.nodes[each], PRECISION) not in missing}
        assert found >= pinned, "who is pinned survives"
        self.counted["pinned"] += len(pinned)
        self.check_versions(answer)
        self.check_loans(answer)
        for range_id, (epoch, version) in answer.versions.items():
            hosted = self.sim._world.hosted.get(address("default", RangeInfo(range_id, 0, epoch, 0)).name)
            if hosted is None or hosted.servant._version != version:
                continue  # it is not as it answered
            if hosted.servant._orders.policy != answer.policy:
                assert answer.directory_age_ms > 0, "an answer names another policy than it was decided by"
                continue
            self.check_range(answer, driver, hosted.servant._health)

    def check_range(self, answer, driver, health):
        """Of each region of a range: who survives by its own state, whether it is short, and who is named in panic."""
        ids = driver._keeper._directories._known["default"].fleet.ids[health.handles]
        survive = np.isin(health.state, (State.HEALTHY, State.SUSPECT)) & (health.mark == Mark.NONE)
        survive |= health.mark == Mark.PIN
        able = health.mark != Mark.DRAIN
        need, borrowed = answer.policy.survivors_min, answer.policy.fallback != "none"
        for cell in np.unique(health.cells):
            [region] = cells_to_strings(np.array([cell])).tolist()
            inside = health.cells == cell
            own, count = set(ids[inside & survive].tolist()), int((inside & survive).sum())
            short = region in answer.short
            assert answer.short.get(region, (count, need)) == (count, need)
            assert short in {ladder.flagged(was, count, int((inside & able).sum()), need) for was in (False, True)}
            named = set(answer.by_region.get(region, ())) & set(ids[inside].tolist())
            assert own <= set(answer.ids.tolist()), "a survivor is missing"
            if region in answer.panic:
                assert short
                assert answer.policy.panic == "all"
                assert named == set(ids[inside & able].tolist()), "in panic all are named"
            else:
                assert named == own
            if short and not borrowed and answer.policy.panic == "all":
                assert (region in answer.panic) == (count < min(need, int((inside & able).sum())))
                self.counted["nothing to lend"] += region in answer.panic
            self.counted["short" if short else "enough"] += 1
            self.counted["in panic"] += region in answer.panic

    def check_loans(self, answer):
        """Short regions, and missing ones, are given what the ladder by brute force gives them, and no others are."""
        need, fallback = answer.policy.survivors_min, answer.policy.fallback
        given = {
            region: list(zip(answer.by_region[region].tolist(), answer.tiers_of(region).tolist(), strict=True))
            for region in answer.by_region
        }
        silent = answer.missing_regions if need else []
        own = {region: [] for region in (*answer.empty_regions, *silent, *answer.short)}
        own |= {region: [each for each, tier in named if tier == 0] for region, named in given.items()}
        for region in own:
            lent = [(each, tier) for each, tier in given.get(region, []) if 0 < tier < ladder.PANIC]
            borrows = region in answer.short or region in silent
            assert lent == (ladder.borrow(region, own, need, fallback) if borrows else []), "not what the ladder lends"
            self.counted["lent"] += len(lent)

    def check_versions(self, answer):
        self.versions.birth = self.versions.birth or answer.versions.birth
        assert answer.versions.birth == self.versions.birth
        for range_id, version in answer.versions.items():
            assert version >= self.versions.get(range_id, (0, 0)), "a version went back"
            self.versions[range_id] = version

    async def move(self, driver):
        directory = await driver._keeper.directory("default")
        ranges = directory.ranges
        if len(ranges) > 1 and self.dice.random() < 0.5:
            at = int(self.dice.integers(len(ranges) - 1))
            ids, bounds = [ranges[at].id, ranges[at + 1].id], [ranges[at].lower]
        else:
            info = ranges[int(self.dice.integers(len(ranges)))]
            cells = np.unique(directory.cells[directory.members(info.id)])
            if len(cells) < 2:
                return
            ids, bounds = [info.id], [info.lower, int(cells[len(cells) // 2])]
        await move_ranges(driver._keeper, "default", ids, bounds, At())
        self.counted["moved"] += 1

    async def set_policy(self, driver):
        await driver.set_policy(POLICIES[int(self.dice.integers(len(POLICIES)))])

    # -- What goes wrong

    async def crash(self, _driver):
        """A place is lost; now and then it was only cut off, and what it hosted comes back later."""
        alive = sorted(self.sim._world.alive.keys() - {self.sim.home})
        if len(alive) < 3:
            return
        place = alive[int(self.dice.integers(len(alive)))]
        hosted = {name: each for name, each in self.sim._world.hosted.items() if each.place == place}
        self.sim.kill(place)
        self.counted["crashed"] += 1
        self.returning.append((place, hosted if self.dice.random() < 0.7 else {}))

    async def revive(self, driver):
        if self.returning:
            place, hosted = self.returning.pop(0)
            self.sim.revive(place)
            for name, each in hosted.items():
                self.sim._world.hosted.setdefault(name, each)
            self.counted["returned"] += len(hosted)
            for name in sorted(hosted):
                if name.startswith(REGION_PREFIX):
                    await self.haunt(driver, *map(int, name.split("/")[-2:]))

    async def haunt(self, driver, range_id, epoch):
        """One that was cut off goes on as it did, as far as it knows; whoever knows its successor does not listen."""
        directory = await driver._keeper.directory("default")
        info = directory.find(range_id)
        if info is None or info.epoch <= epoch:
            return  # nobody has taken its place yet, or its range is no more
        own, told = RangeInfo(range_id, info.lower, epoch, info.roster), orders(directory)
        ghost, successor, call = address("default", own), address("default", info), driver._keeper.backend.call
        handles = np.flatnonzero(np.isin(directory.fleet.ids, list(self.nodes))).astype(np.uint32)
        n, now_ms = len(handles), self.sim.now_ms()
        samples = handles, np.full(n, 500.0), np.ones(n, bool), np.full(n, now_ms)
        for servant, another in ((ghost, info.epoch), (successor, epoch)):
            for verb, arguments in (
                (Region.survivors, (told, self.sim.now_ms(), None)),
                (Region.observe, (told, self.sim.now_ms(), *samples)),
                (Region.checkpoint, (self.sim.now_ms(), True)),
            ):
                try:
                    await call(servant, verb, another, *arguments)
                except StaleEpoch:
                    self.counted["refused"] += 1
                else:
                    raise AssertionError(f"{servant.name} obeyed a caller of epoch {another}")
        with suppress(StaleEpoch):  # it is sealed, since it was in a move
            await call(ghost, Region.observe, epoch, told, self.sim.now_ms(), *samples)
        await call(ghost, Region.survivors, epoch, told, self.sim.now_ms(), None)
        try:
            saved = await driver._keeper.save("default", own, whole=True)
        except StaleEpoch:
            self.counted["not saved"] += 1
        else:
            assert not saved, "what a servant of an epoch that is over has seen was saved"

    async def weather(self, _driver):
        drop, slow = float(self.dice.choice([0.0, 0.0, 0.02, 0.1])), float(self.dice.choice([2.0, 50.0, 800.0]))
        self.sim.set_faults(SimFaults(drop=drop, delay_ms=(0.1, slow)))

    async def wait(self, _driver):
        await self.sim.sleep(float(self.dice.choice([0.1, 1.0, 5.0, 20.0])))

    # -- What watchers see

    async def follow(self, driver, versions):
        """Watch, and now and then begin a new watch where the last one stopped."""
        while True:
            watch = driver.watch(versions)
            for _ in range(int(self.dice.integers(1, 60))):
                try:
                    change = await anext(watch)
                except ClusterError:
                    break
                self.tell(change)
                versions = watch.versions

    def tell(self, change):
        key = change.range, change.version
        assert key not in self.told, f"told twice: {change}"
        self.told.add(key)
        self.counted["told"] += 1
        self.counted[change.rule.label] += 1
        if isinstance(change, RegionChange):
            self.tell_region(change)
            return
        state = self.states.get(change.handle, State.UNKNOWN)
        another = self.told_by.get(change.handle) != change.range  # the range that it left may not know yet
        late = change.handle in self.relocated and (
            another or change.before == State.UNKNOWN or change.rule == Rule.MOVED
        )
        self.told_by[change.handle] = change.range
        assert late or change.before == state, f"the node was told to be {state.label}: {change}"
        well = change.mark != Mark.DRAIN and change.after in {State.HEALTHY, State.SUSPECT}
        assert change.survives == (change.after != State.REMOVED and (well or change.mark == Mark.PIN)), change
        self.states[change.handle] = change.after

    def tell_region(self, change):
        """What is told of regions begins and ends in turn."""
        ends = {Rule.ENOUGH: Rule.SHORT, Rule.CALM: Rule.PANIC, Rule.THAWED: Rule.FROZEN}
        what = change.region or change.range, ends.get(change.rule, change.rule)
        inherited = change.rule == Rule.THAWED and what not in self.going_on and self.inherits_freeze(change.range)
        if change.rule == Rule.THAWED:
            self.thawed.add(change.range)
        assert inherited or (what in self.going_on) == (change.rule in ends), f"told out of turn: {change}"
        (self.going_on.discard if change.rule in ends else self.going_on.add)(what)

    def inherits_freeze(self, range_id):
        """Whether ejections were frozen in a range that gave way to this one, which has not told yet that they are no more."""
        coordinator = self.sim._world.hosted["coordinator"].servant
        gone = {parent: coordinator.retired("default", parent) for parent in range(range_id)}
        parents = [parent for parent, left in gone.items() if left is not None and range_id in left.children]
        return range_id not in self.thawed and any(
            (parent, Rule.FROZEN) in self.going_on or self.inherits_freeze(parent) for parent in parents
        )

    # -- The run

    async def run(self):
        drivers = [await AsyncDriver.start(self.sim, "drill", region_actors=4) for _ in range(2)]
        await self.register(drivers[0])
        await drivers[0].set_policy(POLICIES[0])
        directory = await drivers[0]._keeper.directory("default")
        beginning = Versions({info.id: (info.epoch, 0) for info in directory.ranges}, directory.birth)
        watching = asyncio.ensure_future(self.follow(drivers[1], beginning))
        actions = [
            *[self.register, self.remove, self.mark, self.move, self.set_policy, self.weather, self.relocate],
            *[self.mark, self.set_policy, self.crash, self.crash, self.revive, self.revive, self.wait, self.wait],
            *[self.ask, self.ask, *[self.ask_by_state] * 3],
            *[self.observe] * 6,
        ]
        for _ in range(STEPS):
            action = actions[int(self.dice.integers(len(actions)))]
            try:
                await action(drivers[int(self.dice.integers(2))])
            except InputError:
                assert action == self.move, "only a move that another is under way"
            except ClusterError as error:
                self.counted[type(error).__name__] += 1
            if watching.done():
                watching.result()
        await self.calm(drivers, watching)

    async def calm(self, drivers, watching):
        """All is well again: the system finds its way back by itself, and what was told is what is."""
        self.sim.set_faults(SimFaults())
        while self.returning:
            with suppress(ClusterError):
                await self.revive(drivers[0])
        for _ in range(60):
            await self.sim.sleep(5.0)
            answer = await drivers[0].survivors(deadline_s=5.0)
            if answer.whole:
                break
        assert answer.whole, "every region is brought back"
        await self.ask(drivers[0])
        for _ in range(60):
            await self.sim.sleep(5.0)
            directory = await drivers[0]._keeper.directory("default")
            hosted = [self.sim._world.hosted.get(address("default", info).name) for info in directory.ranges]
            if None in hosted:
                continue  # a range gave way to others just now
            servants = [each.servant for each in hosted]
            is_now = {}
            for servant in servants:
                health = servant._health
                is_now |= dict(zip(health.handles.tolist(), health.state.tolist(), strict=True))
            told = {handle: int(self.states.get(handle, State.UNKNOWN)) for handle in is_now}
            if told == is_now and all(servant._version == servant._saved for servant in servants):
                break
            if watching.done():
                watching.result()
        assert told == is_now, "what was told is what is"
        assert all(servant._version == servant._saved for servant in servants), "when nothing happens, all is saved"
        watching.cancel()
        assert set(is_now) >= {h for node_id, h in self.handles.items() if node_id not in self.unsure}
        for driver in drivers[::-1]:
            await driver.close()


def drill(seed: int) -> Counter:
    """Run one; what happened how often."""
    sim = SimBackend(PLACES, seed=seed)
    run = Drill(sim, seed)
    try:
        with caps_watched():
            sim.execute(run.run())
    finally:
        sim.dispose()
    return run.counted
