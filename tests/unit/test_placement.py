"""Which store gets which shard, why that is refused, and which shard a reader asks for first."""

import math

import pytest
from stores import store_at

from faultset_ray import codes
from faultset_ray.errors import InputError, NotEnoughPlaces
from faultset_ray.limits import STORE_RESERVE_BYTES_MAX
from faultset_ray.objects.placement import place_object, read_order, replace_lost, seconds_away, trusted
from faultset_ray.objects.sites import Columns, Site

GB = 10**9
RS = codes.get("rs:4+2")


def sites_of(*sizes, free=100 * GB, **given):
    return [
        Site(f"u{region}-{number}", f"p{region}-{number}", f"r{region}", 100 * GB, free, **given)
        for region, size in enumerate(sizes)
        for number in range(size)
    ]


def test_no_store():
    with pytest.raises(NotEnoughPlaces, match="no store") as caught:
        place_object(b"a", RS, [], flag=True)
    assert (caught.value.have, caught.value.need) == (0, 6)


def test_a_refusal_tells_what_is_missing():
    sites = [*sites_of(3), *(Site(f"d{at}", "gone", "r9", GB, GB, draining=at == 0) for at in range(4))]
    sites.append(Site("full", "p0-0", "r9", GB, 0))
    with pytest.raises(NotEnoughPlaces) as caught:
        place_object(b"a", RS, sites, Answer(r=["p0-0", "p0-1", "p0-2"]))
    assert (caught.value.have, caught.value.need) == (3, 6)
    for text in ("rs:4+2", "on 3 stores", "any 1 of them, not of 2", "1 draining", "3 at places that do not", "1 full"):
        assert text in str(caught.value)


@pytest.mark.parametrize(("promised", "stores"), [(2, 6), (1, 3), (0, 1)])
def test_the_promise_says_how_many_stores_are_needed(promised, stores):
    assert place_object(b"a", RS, sites_of(stores), tolerate=promised).survivable_stores >= promised
    if stores > 1:
        with pytest.raises(NotEnoughPlaces) as caught:
            place_object(b"a", RS, sites_of(stores - 1), tolerate=promised)
        assert (caught.value.have, caught.value.need) == (stores - 1, stores)


def test_a_store_keeps_its_reserve():
    roomy, tight = sites_of(1)[0], Site("tight", "p", "r", 100 * GB, STORE_RESERVE_BYTES_MAX + 999)
    small = Site("small", "p", "r", 1000, 1000)
    copy = codes.get("copy:2")
    assert place_object(b"a", copy, [roomy, tight], shard_bytes=999).survivable_stores == 1
    assert place_object(b"a", copy, [roomy, small], shard_bytes=950).survivable_stores == 1
    for full, shard_bytes in ((tight, 1000), (small, 951)):
        with pytest.raises(NotEnoughPlaces, match="1 full"):
            place_object(b"a", copy, [roomy, full], shard_bytes=shard_bytes)
    with pytest.raises(NotEnoughPlaces, match="full"):
        place_object(b"a", copy, [small], shard_bytes=500, flag=True)


def test_a_fuller_store_is_chosen_less_often_and_an_empty_one_not_always():
    sites = [
        *sites_of(8, free=50 * GB),
        Site("empty", "p", "r8", 100 * GB, 100 * GB),
        Site("f", "p", "r9", GB, GB // 4),
    ]
    weights = dict(zip(Columns(sites).stores, Columns(sites).weights(), strict=True))
    assert weights["empty"] == 200 * GB
    assert weights["f"] == GB / 2
    assert len(set(weights.values())) == 3
    assert (Columns(sites_of(3)).weights() == 100 * GB).all()


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4, 4), (4, 4, 4, 1, 1, 1)])
def test_a_repair_stays_in_the_region_of_its_group(sizes):
    code = codes.get("lrc:4+2+2")
    sites = sites_of(*sizes)
    region = {site.store: site.region for site in sites}
    before = place_object(b"a", code, sites)
    for index in range(code.n):
        left = [site for site in sites if site.store != before.stores[index]]
        after = replace_lost(b"a", code, before.stores, left)
        assert region[after.stores[index]] == region[before.stores[index]]


def test_a_group_that_lost_its_region_gets_another():
    code = codes.get("lrc:4+2+2")
    sites = sites_of(4, 4, 4, 4, 4)
    region = {site.store: site.region for site in sites}
    before = place_object(b"a", code, sites)
    gone = region[before.stores[0]]
    after = replace_lost(b"a", code, before.stores, [site for site in sites if site.region != gone])
    assert len({region[after.stores[index]] for index in code.groups[0]}) == 1
    assert after.survivable_regions == before.survivable_regions == 1


def test_a_repair_goes_not_where_another_group_is():
    code = codes.get("lrc:4+2+2")
    taken = {0: "u0-0", 4: "u0-1", 2: "u0-2", 3: "u1-0", 5: "u1-1", 6: "u2-0", 7: "u2-1"}
    layout = place_object(b"a", code, sites_of(5, 5, 5, 1), taken=taken)
    assert layout.stores[1] == "u3-0", "the only region without a shard"


def test_groups_that_can_not_lie_together_are_spread():
    """Each region has four of lrc:12+2+2, which bears a loss of four only if they are not of one group."""
    code = codes.get("lrc:12+2+2")
    for number in range(50):
        assert place_object(b"%d" % number, code, sites_of(4, 4, 4, 4)).survivable_regions == 1


def test_what_is_lost_comes_before_what_is_doubled():
    code = codes.get("copy:4")
    held = {0: "u0-0", 1: "u0-0", 2: "u1-0"}
    assert replace_lost(b"a", code, held, sites_of(1, 1, 1), flag=True).stores == held | {3: "u2-0"}
    after = replace_lost(b"a", code, held, sites_of(1, 1, 1, 1), flag=True)
    assert {after.stores[index] for index in (1, 3)} == {"u2-0", "u3-0"}


def test_room_is_for_shards_that_come_not_for_those_that_are_there():
    copy, site = codes.get("copy:2"), Site("a", "p", "r", 1000, 450)
    assert place_object(b"a", copy, [site], taken={0: "a"}, shard_bytes=400, flag=True).stores == {0: "a", 1: "a"}
    with pytest.raises(NotEnoughPlaces, match="full"):
        place_object(b"a", copy, [site], shard_bytes=400, flag=True)


def test_the_same_layout_on_every_machine():
    layout = place_object(b"ledger/0001", RS, sites_of(3, 3, 3))
    assert " ".join(layout.stores[index] for index in range(6)) == "u0-2 u1-0 u2-0 u2-1 u0-0 u1-2"


def test_a_store_that_is_away_keeps_its_shards_gets_none_and_does_not_count_as_full():
    sites = sites_of(2, 2, 2, 2, 2, 2, 2, free=60 * GB)
    before = place_object(b"a", RS, sites)
    lost, away = before.stores[0], before.stores[1]
    now = [
        Site(site.store, site.place, site.region, 100 * GB, 0, away=True) if site.store == away else site
        for site in sites
        if site.store != lost
    ]
    after = replace_lost(b"a", RS, before.stores, now)
    assert [index for index in range(6) if after.stores[index] != before.stores[index]] == [0]
    columns = Columns(now)
    assert set(columns.weights()[columns.open]) == {100 * GB}
    alone = [Site(site.store, site.place, site.region, GB, GB, away=True) for site in sites_of(6)]
    with pytest.raises(NotEnoughPlaces, match=r"of 6 stores 6 away"):
        place_object(b"a", RS, alone, flag=True)


def test_shards_that_stay_need_no_room_and_need_not_survive():
    sites = sites_of(1, 1, 1, 1, 1, 1, free=0, draining=True) + sites_of(*[0] * 6, 2)
    taken = {index: f"u{index}-0" for index in range(5)}
    layout = place_object(b"a", RS, sites, Answer(r=["p6-0", "p6-1"]), taken=taken, shard_bytes=GB)
    assert layout.stores == taken | {5: layout.stores[5]}
    assert layout.stores[5].startswith("u6")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"tolerate": 3}, "bears any 2 losses, not 3"),
        ({"tolerate": -1}, "expected how many losses"),
        ({"tolerate": True}, "expected how many losses"),
        ({"taken": {6: "u0-0"}}, "shard 6 of 6"),
        ({"taken": {0: "nowhere"}}, "'nowhere'"),
        ({"shard_bytes": -1}, "shard_bytes is -1"),
        ({"key": "text"}, "key is 'text'"),
        ({"sites": sites_of(6) + sites_of(1)}, "u0-0 stands twice"),
        ({"sites": [Site("a", "p", "r", 10, 11)]}, "11 free bytes of 10"),
    ],
)
def test_what_makes_no_sense(given, text):
    with pytest.raises(InputError, match=text):
        place_object(**{"key": b"a", "code": RS, "sites": sites_of(6)} | given)


def test_a_store_tells_what_placement_needs(tmp_path):
    store = store_at(tmp_path, "here", "r")
    site = Site.of(store.info(), draining=True)
    assert (site.store, site.place, site.region, site.draining) == (store.uuid, "here", "r", True)
    assert 0 < site.free_bytes <= site.capacity_bytes


class Answer:
    """Survivors by region, the nearest first: what placement looks at."""

    def __init__(self, **by_region):
        self.by_region = by_region
        self.ids = [place for ids in by_region.values() for place in ids]


def test_trusted_are_those_that_survive_unless_none_does():
    assert trusted(["a", "b", "c"], Answer(r=["c", "a", "x"]), str) == ["a", "c"]
    assert trusted(["a", "b"], Answer(r=["x"]), str) == trusted(["a", "b"], None, str) == ["a", "b"]


BERLIN, PARIS, LONDON, SYDNEY = "u33d", "u09t", "gcpv", "r3gx"


def test_a_reader_asks_its_own_place_then_its_region_then_by_distance():
    answer = Answer(**{SYDNEY: ["s"], LONDON: ["l1", "l2"], BERLIN: ["b1", "b2", "b3"], PARIS: ["p"]})
    shards = dict(enumerate(["s", "l2", "l1", "b3", "b2", "b1", "p", "gone", "b2"]))

    def order(reader):
        cost = read_order(shards, answer, reader)
        assert cost.keys() == shards.keys()
        assert cost.pop(7) == math.inf
        assert cost[4] == cost[8], "two shards of one place"
        assert min(cost.values()) > 0
        return list(dict.fromkeys(shards[index] for index in sorted(cost, key=lambda index: cost[index])))

    assert order("b2") == ["b2", "b1", "b3", "p", "l1", "l2", "s"]
    assert order("l1") == ["l1", "l2", "p", "b1", "b2", "b3", "s"]
    assert order("gone") == order(None) == ["s", "l1", "l2", "b1", "b2", "b3", "p"], "as the answer has it"
    assert len(set(read_order(shards, None, "b2").values())) == 1


def test_how_far_places_are_is_measured_or_else_goes_by_the_great_circle():
    answer = Answer(**{SYDNEY: ["s"], PARIS: ["p"], BERLIN: ["b1", "b2"]})
    away = seconds_away(answer, "b2", {})
    assert list(away) == ["s", "p", "b1", "b2"]
    assert sorted(away, key=away.get) == ["b2", "b1", "p", "s"]
    assert away["b2"] < 1e-6, "it is there"
    assert 0 < away["b1"] < 0.001
    assert away["p"] == pytest.approx(0.0088, rel=0.1), "878 km there, and back"
    assert away["s"] == pytest.approx(0.161, rel=0.1)
    measured = seconds_away(answer, "b2", {"s": 0.25, "b1": 0.003, "b2": 0.002, "gone": 1.0})
    assert measured["s"] == pytest.approx(0.25)
    assert measured["b1"] == pytest.approx(0.003)
    assert measured["b2"] < 1e-6, "a call costs more than the way"
    assert measured["p"] == away["p"]
    lost = seconds_away(answer, "elsewhere", {})
    assert max(lost.values()) < 0.001, "where the reader is in no region, nothing is known"
    assert sorted(lost, key=lost.get) == ["s", "p", "b1", "b2"]


def test_distance_goes_over_the_antimeridian_and_the_poles():
    fiji, samoa, nairobi = "ruy8", "2jtc", "kzf0"
    answer = Answer(**{fiji: ["fiji"], nairobi: ["nairobi"], samoa: ["samoa"]})
    cost = read_order({0: "nairobi", 1: "samoa", 2: "fiji"}, answer, "fiji")
    assert cost[2] < cost[1] < cost[0]
