"""The fallback ladder by brute force, on geohashes as texts and lists of ids."""

import math
from functools import cache

from . import geohash

TIERS = {"none": 0, "neighbours": 1, "parent": 2, "nearest": 3, "everywhere": 4}
PANIC = 5


@cache
def center(region):
    (west, east), (south, north) = geohash.bounds(region)
    return float(south + north) / 2, float(west + east) / 2


@cache
def point(region):
    """The centre on a globe of radius 2**30, in whole numbers."""
    lat, lon = map(math.radians, center(region))
    return [
        round(2**30 * part) for part in (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
    ]


around = cache(geohash.neighbours)


def apart(one, other):
    return sum((a - b) ** 2 for a, b in zip(point(one), point(other), strict=True))


def great_circle_m(one, other):
    """Haversine, on a globe of 6371 km."""
    (lat1, lon1), (lat2, lon2) = ([math.radians(degrees) for degrees in center(region)] for region in (one, other))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_371_000 * math.asin(min(1.0, math.sqrt(h)))


def flagged(was, own, eligible, need, full_for_a_half_life=False):
    """Below the need; or it was, it is not a quarter of the need (at least one) above it, nor has long been all well."""
    if need == 0:
        return False
    if own < need:
        return True
    return was and own < need + max(1, need // 4) and not (own == eligible and full_for_a_half_life)


def borrow(region, survivors, need, fallback):
    """[(id, tier), …] that a flagged region gets besides its own; ``survivors`` is {region: [id, …]}."""
    wanted = max(1, need - len(survivors[region]))
    order = sorted(
        (lender for lender in survivors if survivors[lender] and lender != region),
        key=lambda lender: (apart(region, lender), [geohash.ALPHABET.index(letter) for letter in lender]),
    )
    got = []
    for tier in range(1, TIERS[fallback] + 1):
        if len(got) >= wanted:
            break
        if tier == 1:
            rung = [lender for lender in order if lender in around(region)]
        elif tier == 2:
            rung = [lender for lender in order if len(region) > 1 and lender.startswith(region[:-1])]
        elif tier == 3:
            rung = order[:1]
        else:
            rung = list(order)
        for lender in rung:
            got += [(node, tier) for node in survivors[lender]]
            order.remove(lender)
    return got[:wanted]


def silent(region, missing, fallback):
    """Which of the regions that did not answer ``region`` might borrow from."""
    climbs = TIERS[fallback]
    return {
        lender
        for lender in missing
        if climbs >= 3
        or (climbs >= 1 and lender in around(region))
        or (climbs >= 2 and len(region) > 1 and lender.startswith(region[:-1]))
    }


def answer(survivors, flags, rest, need, fallback, panic, missing=()):
    """({region: [(id, tier), …]}, regions in panic, {region that would be: how many within its reach are silent}).

    ``flags`` is a set of regions, ``rest`` {region: [id, …]}.
    """
    by_region, panicking, withheld = {}, set(), {}
    for region, own in survivors.items():
        named = [(node, 0) for node in own]
        if region in flags:
            borrowed = borrow(region, survivors, need, fallback)
            named += borrowed
            if panic == "all" and rest[region] and len(own) + len(borrowed) < need:
                if quiet := silent(region, missing, fallback):
                    withheld[region] = len(quiet)
                else:
                    panicking.add(region)
                    named += [(node, PANIC) for node in rest[region]]
        if named:
            by_region[region] = named
    return by_region, panicking, withheld
