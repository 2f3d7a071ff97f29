"""A shard made anew on another store: the same bytes, the cheapest plan, and one block over each border."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from functools import wraps

import numpy as np
import pytest
from damaging import flip
from stores import FENCE

from faultset_ray import codes
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.errors import CorruptShard, NotEnoughShards, StoresLost
from faultset_ray.objects.encode import StoreRef, write_object
from faultset_ray.objects.place_store import PlaceStore
from faultset_ray.objects.rebuild import copy_shard, plan_reads, rebuild_shard
from faultset_ray.objects.source import Source
from faultset_ray.shards.format import Header
from faultset_ray.shards.layout import layout_for

WRITE_ID = bytes(range(16))


class Borders(LocalBackend):
    """Counts the bytes of arrays that go from one region to another: by calls of tasks, and by results that are held."""

    def __init__(self, places):
        super().__init__(places, cpus=2)
        self.crossed = Counter()
        self._regions = {place.id: place.region for place in places}
        self._here = ""
        self._made = {}

    def region(self, place):
        return self._regions[place]

    def within(self, seconds):
        other = super().within(seconds)
        other._here = self._here
        return other

    async def call(self, to, method, /, *args, **kwargs):
        result = await super().call(to, method, *args, **kwargs)
        there = self.region(self._at(to.name).place)
        if self._here and there != self._here:
            for value in [*args, *(result if isinstance(result, tuple) else [result])]:
                if isinstance(value, np.ndarray) and value.ndim == 1:
                    self.crossed[there, self._here] += value.size
        return result

    async def run(self, task, at, /, *args, **kwargs):
        here = self.region(at.place)
        for value in args:
            if id(value) in self._made and self._made[id(value)][0] != here and value.block is not None:
                self.crossed[self._made[id(value)][0], here] += value.block.size

        async def located(net, *args, **kwargs):
            net._here = here
            return await task(net, *args, **kwargs)

        return await super().run(located, at, *args, **kwargs)

    async def hold(self, task, at, /, *args, **kwargs):
        result = await self.run(task, at, *args, **kwargs)
        self._made[id(result)] = self.region(at.place), result
        return result


class Fixture:
    """An object on stores of a counting backend, one store a place."""

    def __init__(self, spec, regions, size, stripe_bytes=400_000):
        self.places = [Place(f"p{i}", {"faultset.io/region": name}) for i, name in enumerate(regions)]
        self.code = codes.get(spec)
        self.size = size
        block = layout_for(size, self.code.k, self.code.n, stripe_bytes).block_bytes
        self.header = Header(0, self.code.k, self.code.n, block, WRITE_ID, self.code.spec)

    async def build(self):
        self.backend = Borders(self.places)
        self.refs, self.regions = [], {}
        for number, place in enumerate(self.places):
            identity = number.to_bytes(16, "big")
            addr = await self.backend.spawn(
                PlaceStore, f"store/{place.id}", place.id, place.region, "test", identity, True
            )
            info = await self.backend.call(addr, PlaceStore.info)
            self.refs.append(StoreRef(addr.name, info.uuid, place.id))
            self.regions[info.uuid] = place.region
        data = np.random.default_rng(5).integers(0, 256, self.size, np.uint8)
        with Source(data) as source:
            stores = self.refs[: self.code.n]
            self.sha256, _ = await write_object(self.backend, source, self.header, stores)
        assert self.sha256 == hashlib.sha256(data).digest()
        self.sources = dict(enumerate(stores))
        self.backend.crossed.clear()
        return self

    async def rebuild(self, index, to, without=()):
        sources = {at: ref for at, ref in self.sources.items() if at not in without}
        return await rebuild_shard(
            *(self.backend, self.header, self.size, self.sha256, index, sources, self.refs[to], FENCE),
            survivors=None,
            regions=self.regions,
        )

    async def file(self, ref, index):
        found = await self.backend.call(ref.addr, PlaceStore.stat, WRITE_ID, index)
        return found.path

    @property
    def shard_bytes(self):
        layout = self.header.layout
        return sum(layout.block_len(stripe, self.size) for stripe in range(layout.stripes(self.size)))


def scenario(spec, regions, size, work, **options):
    async def main():
        fixture = await Fixture(spec, regions, size, **options).build()
        try:
            await work(fixture)
        finally:
            await fixture.backend.close()

    asyncio.run(main())


FIVE = [f"r{i % 5}" for i in range(15)]


@pytest.mark.parametrize("size", [0, 1, 777, 1_000_000])
@pytest.mark.parametrize(("spec", "index"), [("rs:10+4", 3), ("rs:10+4", 12), ("lrc:8+2+2", 0), ("copy:3", 1)])
def test_a_rebuilt_shard_is_byte_for_byte_the_lost_one(spec, index, size):
    async def work(fixture):
        before = (await fixture.file(fixture.refs[index], index)).read_bytes()
        receipt = await fixture.rebuild(index, 14)
        assert (receipt.store, receipt.index) == (fixture.refs[14].uuid, index)
        assert (await fixture.file(fixture.refs[14], index)).read_bytes() == before
        assert await fixture.rebuild(index, 14) == receipt, "again does nothing"

    scenario(spec, FIVE, size, work)


def test_one_block_a_region_crosses_its_border():
    """Of ten shards two are at home, and eight in three other regions: three blocks cross, not eight."""

    async def work(fixture):
        await fixture.rebuild(3, 14, without={3})
        crossed = fixture.backend.crossed
        assert set(crossed.values()) == {fixture.shard_bytes}
        assert {to for _, to in crossed} == {"r4"}
        assert len(crossed) == 3

    scenario("rs:10+4", FIVE, 1_000_000, work)


def test_the_fewest_regions_are_read():
    """Home has four of six; one region alone has the other two."""
    regions = ["home"] * 4 + ["a", "b", "c", "c", "c"] + ["home"]

    async def work(fixture):
        await fixture.rebuild(0, 9, without={0})
        assert fixture.backend.crossed == {("c", "home"): fixture.shard_bytes}

    scenario("rs:6+3", regions, 600_000, work)


def test_a_local_group_is_rebuilt_within_its_region():
    """Data 0..3 and their parity in one region, the other group and the globals elsewhere: nothing crosses."""
    regions = ["a"] * 4 + ["b"] * 4 + ["a", "b", "c", "c"] + ["a", "b"]

    async def work(fixture):
        await fixture.rebuild(2, 12, without={2})
        assert not fixture.backend.crossed
        await fixture.rebuild(9, 13, without={9})
        assert not fixture.backend.crossed
        fixture.backend.crossed.clear()
        await fixture.rebuild(2, 13, without={2})
        assert fixture.backend.crossed == {("a", "b"): fixture.shard_bytes}, "to another region: one sum of the group"

    scenario("lrc:8+2+2", regions, 700_000, work)


def test_damage_under_way_is_read_around():
    async def work(fixture):
        for index in (1, 5):
            flip(await fixture.file(fixture.refs[index], index), 300)
        before = (await fixture.file(fixture.refs[0], 0)).read_bytes()
        await fixture.rebuild(0, 8, without={0})
        assert (await fixture.file(fixture.refs[8], 0)).read_bytes() == before

    scenario("rs:5+3", ["a", "a", "b", "b", "c", "c", "d", "d", "a"], 500_000, work)


def test_sound_granules_of_damaged_shards_suffice():
    """Every shard that is left is damaged, each elsewhere: no whole block is enough, granule by granule it is."""

    async def work(fixture):
        for index, granule in ((1, 0), (2, 1), (3, 2)):
            flip(await fixture.file(fixture.refs[index], index), 256 + 65_536 * granule + 9)
        before = (await fixture.file(fixture.refs[0], 0)).read_bytes()
        await fixture.rebuild(0, 4, without={0})
        assert (await fixture.file(fixture.refs[4], 0)).read_bytes() == before

    scenario("rs:2+2", list("abcde"), 400_000, work)


def test_too_little_is_left():
    async def work(fixture):
        with pytest.raises(NotEnoughShards) as caught:
            await fixture.rebuild(0, 6, without={0, 1, 2})
        assert (caught.value.have, caught.value.need) == (3, 4)
        assert set(caught.value.missing) == {0, 1, 2}

    scenario("rs:4+2", list("abcdefg"), 100_000, work)


def test_a_target_that_is_gone_is_named():
    async def work(fixture):
        fixture.backend.kill("p6")
        with pytest.raises(StoresLost) as caught:
            await fixture.rebuild(0, 6)
        assert set(caught.value.failed) == {fixture.refs[6].uuid}

    scenario("rs:4+2", list("abcdefg"), 100_000, work)


def test_what_does_not_read_back_does_not_count(monkeypatch):
    """A disk that keeps another byte than it was given is found out before the shard is anyone's."""
    seal = PlaceStore.seal

    @wraps(seal)  # servants are called by names
    def careless(store, write_id, index, *rest):
        receipt = seal(store, write_id, index, *rest)
        flip(store.stat(write_id, index).path, 300)
        return receipt

    async def work(fixture):
        monkeypatch.setattr(PlaceStore, "seal", careless)
        with pytest.raises(CorruptShard, match="does not read it back"):
            await fixture.rebuild(0, 6)
        found = await fixture.backend.call(fixture.refs[6].addr, PlaceStore.stat, WRITE_ID, 0)
        assert found.reason.startswith("quarantined: corrupt: stripe 0")
        monkeypatch.undo()
        assert (await fixture.rebuild(0, 6)).index == 0

    scenario("rs:4+2", list("abcdefg"), 100_000, work)


def test_a_copy_carries_its_digests_along_and_refuses_damage():
    async def work(fixture):
        move = (fixture.backend, fixture.header, fixture.size, fixture.sha256)
        receipt = await copy_shard(*move, 1, fixture.refs[1], fixture.refs[6], FENCE)
        assert receipt.index == 1
        path = await fixture.file(fixture.refs[1], 1)
        assert (await fixture.file(fixture.refs[6], 1)).read_bytes() == path.read_bytes()
        flip(await fixture.file(fixture.refs[2], 2), 300)
        with pytest.raises(NotEnoughShards) as caught:
            await copy_shard(*move, 2, fixture.refs[2], fixture.refs[6], FENCE)
        assert caught.value.missing[2].startswith("corrupt: stripe 0")

    scenario("rs:4+2", list("abcdefg"), 100_000, work)


def test_a_plan_goes_by_regions_first_and_then_by_number():
    refs = {i: StoreRef(f"s{i}", f"u{i}", f"p{i}") for i in range(12)}
    target = StoreRef("t", "t", "pt")
    regions = {f"u{i}": "a" if i < 4 or i == 8 else "b" if i < 8 or i == 9 else "c" for i in range(12)} | {"t": "c"}
    plan = plan_reads(codes.get("lrc:8+2+2"), 0, refs, {}, target, None, regions)
    assert set(plan.reads) == {1, 2, 3, 8}, "the group from one other region, rather than eight from two"
