"""Enough good rows of one stripe, whatever fails; no more read than needed; and all reasons where too few are left."""

import asyncio
import itertools
from dataclasses import replace

import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.errors import (
    BackendClosed,
    CallTimeout,
    CorruptShard,
    InputError,
    NotEnoughShards,
    PlaceUnreachable,
    RemoteFailure,
    ShardNotFound,
    StoreFailure,
    UnsupportedFormat,
)
from faultset_ray.objects.gather import gather_rows
from faultset_ray.shards.digest import granule_digests
from faultset_ray.shards.format import Header

STRIPE, LENGTH = 3, 9 * 1024
FAULTS = {
    "late": CallTimeout("store", "read", 10.0),
    "unreachable": PlaceUnreachable("store", "killed"),
    "missing": ShardNotFound("uuid", "ab", 1),
    "disk failure": StoreFailure("uuid", "read a block", "EIO"),
    "corrupt: the file: became shorter": CorruptShard("the file", "became shorter"),
    "corrupt: the file: key id 7 is not known to this version of faultset-ray (known: none); install a newer one": (
        UnsupportedFormat("the file", "key id", "7", "none")
    ),
    "store failed: ValueError: no": RemoteFailure("store", "ValueError: no"),
    "stripe is 3; this shard has 2": InputError("stripe is 3; this shard has 2"),
}


class Stripe:
    """One stripe of a code, its shards with faults by index."""

    def __init__(self, k, m, faults=()):
        self.code = codes.get(f"rs:{k}+{m}")
        self.header = Header(0, k, k + m, LENGTH, bytes(16), self.code.spec, granule_bytes=4096)
        data = np.random.default_rng(k * 100 + m).integers(0, 256, (k, LENGTH), np.uint8)
        self.rows = [*data, *self.code.encode(data)]
        self.faults = dict(faults)
        self.asked = []
        self.under_way = self.together = 0

    async def fetch(self, index):
        self.asked.append(index)
        self.under_way += 1
        self.together = max(self.together, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        row = self.rows[index]
        digests = granule_digests(replace(self.header, index=index), STRIPE, row)
        fault = self.faults.get(index)
        if isinstance(fault, Exception):
            raise fault
        if fault == "flipped":
            row = row.copy()
            row[5000] ^= 4
        if fault == "shorter":
            return row[:-1], digests
        if fault == "moved":
            other = (index + 1) % self.code.n
            return self.rows[other], granule_digests(replace(self.header, index=other), STRIPE, self.rows[other])
        return row, digests

    def gather(self, unusable=None):
        unusable = {} if unusable is None else unusable
        return asyncio.run(gather_rows(self.code, self.header, STRIPE, LENGTH, self.fetch, unusable))

    def check(self, rows):
        """They are right, and suffice."""
        for index, row in rows.items():
            assert row.tobytes() == self.rows[index].tobytes()
        assert (self.code.decode(rows) == np.stack(self.rows[: self.code.k])).all()


@pytest.mark.parametrize(("k", "m"), [(1, 1), (1, 3), (2, 2), (3, 2), (4, 3), (6, 1), (2, 5)])
def test_every_pattern_of_failures_known_and_found(k, m):
    kinds = ["flipped", FAULTS["late"], "shorter", FAULTS["unreachable"], "moved"]
    for bad in itertools.chain.from_iterable(itertools.combinations(range(k + m), count) for count in range(k + m + 1)):
        for known in {(), bad[::2], bad}:
            stripe = Stripe(k, m, {index: kinds[index % 5] for index in bad})
            unusable = dict.fromkeys(known, "missing")
            if k + m - len(bad) < k:
                with pytest.raises(NotEnoughShards) as caught:
                    stripe.gather(unusable)
                assert caught.value.missing == unusable
                assert unusable.keys() == set(bad)
                assert caught.value.have == k + m - len(bad) < caught.value.need == k
            else:
                stripe.check(stripe.gather(unusable))
                assert set(stripe.asked) & set(bad) == unusable.keys() - set(known)
                # what is read: k good ones, and those that failed when asked
                assert len(stripe.asked) == k + len(unusable) - len(known)
            assert len(set(stripe.asked)) == len(stripe.asked), "none is read twice"
            assert not set(stripe.asked) & set(known)


def test_the_whole_is_read_alone_and_at_once():
    stripe = Stripe(4, 3)
    assert list(stripe.gather()) == stripe.asked == [0, 1, 2, 3]
    assert stripe.together == 4


def test_what_is_known_to_be_lost_costs_no_second_round():
    stripe = Stripe(4, 3)
    unusable = {1: "missing", 4: "late"}
    stripe.check(stripe.gather(unusable))
    assert sorted(stripe.asked) == [0, 2, 3, 5]
    assert stripe.together == 4
    assert unusable == {1: "missing", 4: "late"}


def test_too_few_are_all_told_of():
    stripe = Stripe(2, 3, {1: FAULTS["late"]})
    with pytest.raises(NotEnoughShards) as caught:
        stripe.gather({0: "missing", 2: "missing", 3: "missing", 4: "unreachable"})
    assert stripe.asked == [1]
    assert (caught.value.have, caught.value.need) == (0, 2)
    assert caught.value.missing == {0: "missing", 1: "late", 2: "missing", 3: "missing", 4: "unreachable"}


@pytest.mark.parametrize("why", FAULTS)
def test_reasons_are_in_words(why):
    unusable = {}
    stripe = Stripe(2, 1, {1: FAULTS[why]})
    stripe.check(stripe.gather(unusable))
    assert unusable == {1: why}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("flipped", "corrupt: stripe 3, granule 1"),
        ("moved", "wrong index: stripe 3 is that of shard 2"),
        ("shorter", f"corrupt: a block of {LENGTH - 1} bytes in place of {LENGTH}"),
    ],
)
def test_damage_is_located(fault, why):
    unusable = {}
    Stripe(2, 1, {1: fault}).gather(unusable)
    assert unusable == {1: why}


def damaged_everywhere(k, m):
    """Each shard corrupt in one granule, at most m of them in the same."""
    stripe = Stripe(k, m)
    whole = list(stripe.rows)

    async def fetch(index):
        row = whole[index].copy()
        digests = granule_digests(replace(stripe.header, index=index), STRIPE, row)
        row[index % 3 * 4096] ^= 1
        return row, digests

    stripe.fetch = fetch
    return stripe


def test_where_no_block_is_whole_each_granule_is_made_of_those_sound_there():
    stripe = damaged_everywhere(4, 2)  # two shards to each granule
    unusable = {}
    rows = stripe.gather(unusable)
    assert sorted(rows) == [0, 1, 2, 3]
    for index, row in rows.items():
        assert np.array_equal(row, stripe.rows[index])
    assert unusable == {index: f"corrupt: stripe 3, granule {index % 3}" for index in range(6)}


def test_a_granule_lost_in_too_many_shards_is_lost():
    with pytest.raises(NotEnoughShards) as caught:
        damaged_everywhere(6, 1).gather()  # three to the first
    assert caught.value.missing.keys() == set(range(7))


def test_rows_that_are_wanted_are_made_of_what_a_plan_reads():
    stripe = Stripe(4, 3)
    rows = asyncio.run(gather_rows(stripe.code, stripe.header, STRIPE, LENGTH, stripe.fetch, {}, [1, 6]))
    assert sorted(rows) == stripe.asked == [1, 6]
    stripe = Stripe(4, 3)
    rows = asyncio.run(gather_rows(stripe.code, stripe.header, STRIPE, LENGTH, stripe.fetch, {6: "missing"}, [6]))
    assert len(stripe.asked) == 4
    assert np.array_equal(stripe.code.reconstruct(rows, [6])[0], stripe.rows[6])


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), BackendClosed()])
def test_what_is_no_shards_fault_is_raised(error):
    with pytest.raises(type(error)) as caught:
        Stripe(2, 2, {1: error}).gather()
    assert caught.value is error


def gather_at(stripe, cost, unusable=None):
    return asyncio.run(
        gather_rows(
            stripe.code, stripe.header, STRIPE, LENGTH, stripe.fetch, {} if unusable is None else unusable, cost=cost
        )
    )


def test_shards_of_infinite_cost_are_left_alone_where_others_suffice():
    stripe = Stripe(4, 3)
    rows = gather_at(stripe, {0: 5.0, 1: np.inf, 2: 1.0, 3: 2.0, 4: 9.0, 5: 3.0})  # 6 is not named at all
    assert sorted(stripe.asked) == sorted(rows) == [0, 2, 3, 5], "data that is there, and the nearest parity"


def test_no_more_is_read_because_something_is_near():
    stripe = Stripe(4, 3)
    gather_at(stripe, {0: np.inf, 1: 90.0, 2: 91.0, 3: 92.0, 4: 1.0, 5: 2.0, 6: 3.0})
    assert sorted(stripe.asked) == [1, 2, 3, 4]


def test_shards_of_infinite_cost_are_asked_when_nothing_else_is_left():
    stripe = Stripe(4, 3, {4: FAULTS["late"], 5: FAULTS["unreachable"]})
    unusable = {}
    rows = gather_at(stripe, dict.fromkeys(range(7), 1.0) | {0: np.inf, 1: np.inf}, unusable)
    assert unusable == {4: "late", 5: "unreachable"}
    assert len(rows) == 4
    assert {0, 1}.isdisjoint(stripe.asked[:4]), "the others were asked first"
    assert {0, 1} & set(rows)
