"""LDPC-Staircase: RFC 5170's matrix, and how many symbols above k it needs."""

import random

import numpy as np
import pytest

from faultset_ray import codes, pack_shards, unpack_shards
from faultset_ray.codes.ldpc import _ParkMiller
from faultset_ray.errors import InvalidCodeSpec
from faultset_ray.kernels.peel import eliminate_bits

CODE = codes.get("ldpc:1000+500")


def test_park_miller_as_published():
    """The 10,000th number after seed 1 is 1043618065 (Park and Miller, CACM 1988)."""
    rng = _ParkMiller(1)
    for _ in range(10_000):
        rng.below(2)
    assert rng._state == 1043618065


def test_the_matrix_is_a_staircase_beside_columns_of_the_left_degree():
    degree = np.zeros(1500, dtype=int)
    for index, row in enumerate(CODE.checks.rows):
        assert row.tolist() == sorted(set(row.tolist()))
        stairs = [s for s in row.tolist() if s >= 1000]
        assert stairs == ([1000] if index == 0 else [999 + index, 1000 + index])
        degree[row] += 1
    assert (degree[:1000] == 7).all()
    sizes = [len(row) for row in CODE.checks.rows]
    assert max(sizes[1:]) - min(sizes[1:]) <= 1, "ones are spread evenly over the checks"


def test_parity_satisfies_every_check():
    data = np.random.default_rng(0).integers(0, 256, (1000, 16), dtype=np.uint8)
    shards = np.concatenate([data, CODE.encode(data)])
    for row in CODE.checks.rows:
        assert not np.bitwise_xor.reduce(shards[row], axis=0).any()


def fails(order, extra):
    known = np.zeros(1500, dtype=np.bool_)
    known[order[: 1000 + extra]] = True
    _, found = CODE.checks.solve(known)
    return not found[:1000].all()


def test_few_symbols_above_k_suffice():
    """100 receptions here; thousands in the long tier."""
    rng = np.random.default_rng(7)
    orders = [rng.permutation(1500) for _ in range(100)]
    assert sum(fails(order, 10) for order in orders) <= 3
    assert sum(fails(order, 20) for order in orders) == 0


def test_one_loss_is_repaired_from_one_check():
    plan = CODE.plan([17], [index for index in range(1500) if index != 17])
    smallest = min(len(row) for row in CODE.checks.rows if 17 in row)
    assert len(plan.reads) == smallest - 1


def test_no_checks_are_eliminated_too():
    for combine in (True, False):
        pivots, reduced, combination = eliminate_bits(np.zeros((0, 127), np.bool_), combine=combine)
        assert pivots.shape == (0,)
        assert reduced.shape == (0, 127)
        assert combination.shape == (0, 0)


@pytest.mark.parametrize("stripes", [1, 5])
def test_an_object_is_decoded_with_few_eliminations_and_no_dense_matrix(monkeypatch, stripes):
    """As many for five stripes as for one: what to read goes by which shards there are, and that doesn't change."""
    from faultset_ray.codes import checks

    code = codes.get(f"ldpc:1000+500,seed={20 + stripes}")  # new, with nothing remembered
    data = np.random.default_rng(3).bytes(4_096_000 * stripes)
    shards = pack_shards(data, code, stripe_bytes=4_096_000)
    random.Random(stripes).shuffle(shards)
    sizes = []

    def counted(matrix, **options):
        sizes.append(matrix.shape)
        return eliminate(matrix, **options)

    eliminate = checks.eliminate_bits
    monkeypatch.setattr(checks, "eliminate_bits", counted)
    monkeypatch.setattr(type(code), "plan", lambda *_: pytest.fail("a plan has a dense matrix"))
    assert unpack_shards(shards[400:]) == data
    assert 1 <= len(sizes) <= 16, sizes


def test_reads_are_those_of_the_plan_and_its_matrix_makes_the_lost():
    data = np.random.default_rng(4).integers(0, 256, (1000, 3), dtype=np.uint8)
    shards = np.concatenate([data, CODE.encode(data)])
    have = np.random.default_rng(5).permutation(1500)[:1100].tolist()
    lost = [index for index in range(1000) if index not in have]
    cost = {index: float(index % 7) for index in have}
    for prices in (None, cost):
        plan = CODE.plan(lost, have, prices)
        assert CODE.reads(lost, have, prices) == plan.reads
        assert len(plan.reads) < 1060
        assert np.array_equal(plan.fold({index: shards[index] for index in plan.reads}), shards[lost])


@pytest.mark.parametrize(
    "text",
    ["ldpc:10", "ldpc:0+5", "ldpc:5+0", "ldpc:20000+1", "ldpc:10+5,left_degree=6", "ldpc:10+5,left_degree=0",
     "ldpc:10+5,left_degree=03", "ldpc:10+5,seed=0", "ldpc:10+5,seed=2147483647", "ldpc:10+5,seed=x"],
)  # fmt: skip
def test_specs_refused(text):
    with pytest.raises(InvalidCodeSpec):
        codes.get(text)
