"""Plans against every set of shards that could be read: none is cheaper."""

import random
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from naive.codes import rank

from faultset_ray import codes
from faultset_ray.errors import InputError, NotEnoughShards


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


MDS = ["rs:4+3", "rs:3+3,matrix=backblaze", "rs:2+2", "copy:3", "copy:5", "xor:5+1", "xor:1+1"]


@pytest.mark.parametrize("spec", MDS)
def test_no_set_of_shards_is_cheaper_though_lost_ones_can_be_read_too(spec):
    """As where a shard that is there is wanted, but dear: others may be cheaper, together."""
    code, chance = codes.get(spec), random.Random(spec)
    generator = code.generator.tolist()
    made_of_others = 0
    for _ in range(60):
        lost = chance.sample(range(code.n), chance.randint(1, min(3, code.n)))
        have = chance.sample(range(code.n), chance.randint(max(1, code.k), code.n))
        cost = {index: float(chance.choice((1, 1, 2, 5, 50, 1000))) for index in have}
        plan = code.plan(lost, have, cost)
        assert sum(cost[index] for index in plan.reads) == cheapest(generator, lost, have, cost), (lost, have, cost)
        assert code.reads(lost, have, cost) == plan.reads
        made_of_others += set(lost) <= set(have) and not set(lost) <= set(plan.reads)
    assert made_of_others or code.k == code.n - code.k == 1


@pytest.mark.parametrize("spec", ["lrc:4+2+2", "lrc:6+2+2", "rs:5+4,matrix=isal_vand", "ldpc:6+4,left_degree=3"])
def test_a_dear_shard_is_not_read_where_its_others_suffice(spec):
    """Of codes that are not MDS plans are near to the cheapest; nowhere by far."""
    code, chance = codes.get(spec), random.Random(spec)
    for _ in range(30):
        lost = chance.sample(range(code.n), chance.randint(1, 2))
        dear = chance.choice(lost)
        cost = {index: 1000.0 if index == dear else float(chance.choice((1, 2, 5))) for index in range(code.n)}
        plan = code.plan(lost, range(code.n), cost)
        assert dear not in plan.reads, (lost, cost)
        assert plan.wanted == tuple(lost)


@pytest.mark.parametrize("cost", [10**400, -(10**400), Fraction(10**400), -1.0, float("-inf"), float("nan")])
def test_a_cost_that_is_no_price_is_refused(cost):
    for spec in ("rs:4+2", "copy:3", "lrc:4+2+2", "ldpc:6+4,left_degree=3"):
        with pytest.raises(InputError, match="cost of shard 1 is"):
            codes.get(spec).plan([0], range(1, codes.get(spec).n), {1: cost})


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
