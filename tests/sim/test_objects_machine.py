"""A system with objects against a dictionary: whatever is done to it, it does what a dictionary does.

As long as no more stores are away or damaged than each object bears, nothing may fail, not even for a while.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sim.object_world import world

from faultset_ray.errors import CatalogLost, ObjectNotFound, PreconditionFailed

EXAMPLES = 16
PLACES = 9
TOLERATED = 2
NAMES = ["a", "b/../c", "ø\n", "d" * 1_024]
PLACE = st.integers(0, PLACES - 1).map("p{:02}".format)


happened: Counter[str] = Counter()
"""In all runs of this process: what a machine hardly ever draws shows nothing."""


class ObjectsMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1 << 32))
    def start(self, seed):
        self.stack = ExitStack()
        self.run = self.stack.enter_context(world(PLACES, seed=seed))
        self.sim = self.run.sim
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.deleted: dict[str, bytes] = {}
        self.before: dict[str, dict[str, bytes]] = {}
        """The shard files of the last generation that was overwritten, by name and index."""
        self.away: set[str] = set()
        self.harmed: set[str] = set()
        self.retired: set[str] = set()
        self.do(self.run.start())

    def do(self, work):
        return self.sim.execute(work)

    @property
    def driver(self):
        return self.run.driver

    # -- What users do

    @rule(
        name=st.sampled_from(NAMES),
        size=st.sampled_from([0, 1, 4_095, 40_000, 200_000]),
        code=st.sampled_from(["rs:4+2", "rs:3+2", "copy:3", "lrc:4+2+2"]),
        condition=st.sampled_from(["", "", "", "absent", "generation", "other generation"]),
    )
    def put(self, name, size, code, condition):
        if code == "lrc:4+2+2" and PLACES - len(self.away) - len(self.retired) < 8:
            code = "rs:4+2"
        data = self.sim.token(size)
        held = self.objects.get(name)
        options: dict = {"code": code, "tolerate": TOLERATED, "stripe_bytes": 32_768}
        allowed = True
        if condition == "absent":
            options["if_absent"], allowed = True, held is None
        elif condition:
            generation = held[1] if held and condition == "generation" else 12_345
            options["if_generation"], allowed = generation, bool(held) and condition == "generation"
        if not allowed:
            with pytest.raises(PreconditionFailed):
                self.do(self.driver.put(name, data, **options))
            return
        if held:
            self.before[name] = {index_of(path): path.read_bytes() for path in self.files(name)}
        receipt = self.do(self.driver.put(name, data, **options))
        happened["put"] += 1
        assert receipt.survivable >= TOLERATED
        assert held is None or receipt.generation > held[1]
        self.objects[name] = data, receipt.generation
        self.deleted.pop(name, None)

    @rule(name=st.sampled_from(NAMES), data=st.data())
    def get_range(self, name, data):
        if name in self.objects:
            whole = self.objects[name][0]
            start = data.draw(st.integers(0, len(whole)))
            stop = data.draw(st.integers(start, len(whole)))
            assert self.do(self.driver.get(name, (start, stop))) == whole[start:stop]

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name):
        if name not in self.objects:
            with pytest.raises(ObjectNotFound):
                self.do(self.driver.delete(name))
            return
        self.do(self.driver.delete(name))
        self.deleted[name] = self.objects.pop(name)[0]

    @rule(name=st.sampled_from(NAMES))
    def undelete(self, name):
        if name in self.deleted:
            receipt = self.do(self.driver.undelete(name))
            self.objects[name] = self.deleted.pop(name), receipt.generation
        else:
            with pytest.raises((ObjectNotFound, PreconditionFailed)):
                self.do(self.driver.undelete(name))

    @rule(seconds=st.sampled_from([1.0, 30.0, 400.0]))
    def wait(self, seconds):
        self.do(self.sim.sleep(seconds))

    # -- What goes wrong

    @property
    def room(self):
        return len(self.away | self.harmed) < TOLERATED

    def files(self, name, places=None):
        """The shard files of an object's newest generation at some places, or at all that are there."""
        write = self.do(self.run.entry(name)).record.write_id.hex()
        at = [f"p{index:02}" for index in range(PLACES)] if places is None else places
        roots = [root for place in at if place not in self.away and (root := self.run.root_of(place))]
        return [path for root in roots for path in sorted(root.glob(f"shards/*/{write}.*.shard"))]

    @rule(places=st.lists(PLACE, min_size=1, max_size=4, unique=True))
    def kill(self, places):
        for place in places:
            if (self.room or place in self.harmed) and place not in self.away | self.retired:
                self.run.kill(place)
                self.away.add(place)

    @precondition(lambda self: self.away)
    @rule()
    def revive(self):
        place = min(self.away)
        self.run.revive(place)
        self.away.discard(place)

    @rule(name=st.sampled_from(NAMES), code=st.sampled_from(["rs:4+2", "copy:3"]), start=st.integers(0, PLACES - 1))
    def overwrite_and_go_stale(self, name, code, start):
        """An object is overwritten, and then a disk has the shard of before in the place of the newer one."""
        for _ in range(2):
            self.put(name, 40_000, code, "")
        for place in (f"p{(start + step) % PLACES:02}" for step in range(PLACES)):
            if place not in self.away | self.retired and (self.room or place in self.harmed):
                for path, old in self.stale(name, place)[:1]:
                    path.write_bytes(old)
                    self.harmed.add(place)
                    happened["stale"] += 1
                    return

    @rule(place=PLACE, how=st.sampled_from(["flip", "truncate", "swap", "remove", "foreign"]), data=st.data())
    def damage(self, place, how, data):
        """All of it on one disk."""
        if place in self.away | self.retired or not (self.room or place in self.harmed):
            return
        root = self.run.root_of(place)
        files = sorted(root.glob("shards/*/*.shard")) if root else []
        if not files:
            return
        path, other = data.draw(st.sampled_from(files)), data.draw(st.sampled_from(files))
        self.harmed.add(place)
        whole = bytearray(path.read_bytes())
        if how == "flip":
            whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(whole)
        elif how == "truncate":
            path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
        elif how == "swap":
            path.write_bytes(other.read_bytes())
            other.write_bytes(whole)
        elif how == "foreign":
            path.write_bytes(other.read_bytes())
        else:
            path.unlink()

    def stale(self, name, place):
        """Of an object's files at a place, those whose like of the generation before is kept."""
        before = self.before.get(name, {})
        return [(path, before[index_of(path)]) for path in self.files(name, [place]) if index_of(path) in before]

    @rule()
    def mend(self):
        found = self.do(self.driver.scrub(deep=True))
        assert (found.orphans, found.leftovers) == ([], 0)
        done = self.do(self.driver.repair())
        assert not done.failed, done
        if not self.away:
            self.harmed.clear()

    @precondition(lambda self: not self.away and not self.harmed and not self.retired)
    @rule(place=PLACE)
    def decommission(self, place):
        self.do(self.driver.stores())
        self.do(self.driver.decommission(place))
        self.retired.add(place)

    @rule()
    def restart_driver(self):
        self.run.kill_driver()
        self.do(self.run.start())

    @rule()
    def restart_coordinator(self):
        if "coordinator" in self.sim._world.hosted:
            self.run.kill_coordinator()

    @precondition(lambda self: self.objects and not self.away and not self.harmed)
    @rule()
    def lose_catalog(self):
        self.do(self.run.settle(self.run.quiet))
        before = {name: self.do(self.run.entry(name)) for name in self.objects}
        self.run.kill_driver()
        self.restart_coordinator()
        shutil.rmtree(self.run.root / "state")
        self.do(self.run.start())
        with pytest.raises(CatalogLost):
            self.do(self.driver.get(min(self.objects)))
        rebuilt = self.do(self.driver.rebuild())
        assert (rebuilt.objects, rebuilt.lost, rebuilt.unreadable) == (len(self.objects), (), 0)
        for name, entry in before.items():
            again = self.do(self.run.entry(name))
            assert (again.record, again.layout) == (entry.record, entry.layout)

    # -- What must hold

    @invariant()
    def is_what_the_dictionary_is(self):
        if not hasattr(self, "run"):
            return
        for name in NAMES:
            if name in self.objects:
                assert self.do(self.driver.get(name)) == self.objects[name][0]
            else:
                with pytest.raises(ObjectNotFound):
                    self.do(self.driver.get(name))
        listed = [(info.name, info.generation) for info in self.do(self.driver.list())]
        expected = sorted(self.objects, key=str.encode)
        assert listed == [(name, self.objects[name][1]) for name in expected]

    def teardown(self):
        if not hasattr(self, "run"):
            return
        with self.stack:
            for place in sorted(self.away):
                self.run.revive(place)
            self.do(self.driver.scrub(deep=True))
            self.do(self.run.settle(self.run.quiet))
            self.run.payloads = {name: data for name, (data, _) in self.objects.items()}
            self.do(self.run.check_objects())
            self.do(self.run.check_shards())
            self.do(self.driver.close())


def index_of(path):
    return path.name.split(".")[1]


ObjectsMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=25, suppress_health_check=list(HealthCheck)
)


@pytest.mark.hypothesis  # which its plug-in does not see, as the method is another
class TestObjects(ObjectsMachine.TestCase):
    @pytest.fixture(autouse=True)
    def draw(self, derandomize):
        """What they did is counted below."""
        type(self).settings = settings(self.settings, derandomize=derandomize)

    def runTest(self):  # noqa: N802 - its name in unittest
        happened.clear()
        super().runTest()
        assert happened["put"] >= 2 * EXAMPLES, happened
        assert happened["stale"] >= EXAMPLES // 4, happened
