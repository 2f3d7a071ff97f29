"""Plans against every set of shards that could be read: none is cheaper."""

import random
from itertools import combinations

import numpy as np
import pytest
from naive import gf

from faultset_ray import codes
from faultset_ray.errors import NotEnoughShards


def rank(rows):
    """Of a matrix over GF(2^8), one coefficient at a time."""
    rows, found = [list(row) for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in rows[found:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(found, pivot)
        scale = gf.inv(pivot[column])
        for row in rows[found + 1 :]:
            factor = gf.mul(row[column], scale)
            row[:] = [a ^ gf.mul(factor, b) for a, b in zip(row, pivot, strict=True)]
        found += 1
    return found


def determine(generator, some, lost):
    """Whether some shards determine the lost ones: these add nothing to their rank."""
    rows = [generator[index] for index in some]
    return rank(rows + [generator[index] for index in lost]) == rank(rows)


def cheapest(generator, lost, have, cost):
    """What the cheapest shards that determine the lost ones cost; None if none do."""
    sets = sorted(
        (sum(cost[index] for index in some), some) for size in range(len(have) + 1) for some in combinations(have, size)
    )
    return next((price for price, some in sets if determine(generator, some, lost)), None)


@pytest.mark.parametrize("spec", ["rs:4+3", "rs:3+3,matrix=backblaze", "lrc:4+2+2", "lrc:2+2+2", "copy:5", "xor:5+1"])
def test_no_set_of_shards_is_cheaper_than_what_a_plan_reads(spec):
    code, chance = codes.get(spec), random.Random(spec)
    generator = code.generator.tolist()
    planned = 0
    for number in range(30):
        lost = chance.sample(range(code.n), chance.choice((1, 1, 2, 3)))
        rest = [index for index in range(code.n) if index not in lost]
        have = chance.sample(rest, chance.randint(max(1, len(rest) - 2), len(rest)))
        cost = {index: 1.0 if number % 5 == 0 else float(chance.choice((1, 1, 2, 5, 10, 50))) for index in have}
        least = cheapest(generator, lost, have, cost)
        try:
            plan = code.plan(lost, have, cost)
        except NotEnoughShards:
            assert least is None
            continue
        planned += 1
        assert sum(cost[index] for index in plan.reads) == least, (lost, have, cost)
    assert planned >= 5


@pytest.mark.parametrize("spec", ["ldpc:6+4,left_degree=3", "ldpc:4+4,left_degree=2"])
def test_a_plan_of_ldpc_suffices_wherever_one_can(spec):
    """It is only near to the cheapest, which is hard to find."""
    code, chance = codes.get(spec), random.Random(spec)
    unit = np.eye(code.k, dtype=np.uint8)
    generator = [*unit.tolist(), *code.encode(unit).tolist()]
    for _ in range(30):
        lost = chance.sample(range(code.n), chance.choice((1, 1, 2)))
        have = [index for index in range(code.n) if index not in lost]
        cost = {index: float(chance.choice((1, 1, 2, 5, 10))) for index in have}
        least = cheapest(generator, lost, have, cost)
        try:
            plan = code.plan(lost, have, cost)
        except NotEnoughShards:
            assert least is None
            continue
        assert determine(generator, plan.reads, lost)
        assert sum(cost[index] for index in plan.reads) >= least
