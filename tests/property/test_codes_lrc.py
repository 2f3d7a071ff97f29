"""Local reconstruction codes: what a repair reads, and how many losses they survive."""

from itertools import combinations

import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.errors import NotEnoughShards
from faultset_ray.kernels.solve import eliminate


def survived(code, losses):
    """The part of all patterns of so many losses that leaves the generator its rank."""
    ranks = []
    for lost in combinations(range(code.n), losses):
        kept = [index for index in range(code.n) if index not in lost]
        ranks.append(len(eliminate(np.ascontiguousarray(code.generator[kept]), code.k)) == code.k)
    return np.mean(ranks)


@pytest.mark.parametrize(("spec", "of_four"), [("lrc:6+2+2", 0.85), ("lrc:12+2+2", 0.86)])
def test_losses_survived(spec, of_four):
    code = codes.get(spec)
    assert [survived(code, losses) for losses in (1, 2, 3)] == [1, 1, 1]
    assert survived(code, 4) >= of_four


@pytest.mark.parametrize("spec", ["lrc:4+4+1", "lrc:10+5+2", "lrc:20+2+3", "lrc:40+9+2", "lrc:64+2+4"])
def test_any_shape_survives_one_more_than_its_globals_in_one_group(spec):
    code = codes.get(spec)
    globals_ = code.n - code.k - len(code.groups)
    group = code.groups[0]
    for lost in list(combinations(group, min(globals_ + 1, len(group))))[:200]:
        code.plan(lost, [index for index in range(code.n) if index not in lost])


def test_order_of_shards():
    code = codes.get("lrc:6+2+2")
    assert code.groups == ((0, 1, 2, 6), (3, 4, 5, 7))
    data = np.random.default_rng(0).integers(0, 256, (6, 10), dtype=np.uint8)
    parity = code.encode(data)
    assert np.array_equal(parity[0], data[0] ^ data[1] ^ data[2])
    assert np.array_equal(parity[1], data[3] ^ data[4] ^ data[5])


@pytest.mark.parametrize("lost", range(14))
def test_one_loss_reads_only_its_group(lost):
    code = codes.get("lrc:12+2+2")
    plan = code.plan([lost], [index for index in range(16) if index != lost])
    group = next(group for group in code.groups if lost in group)
    assert set(plan.reads) == set(group) - {lost}


def test_two_losses_in_two_groups_read_both_groups_and_no_global():
    code = codes.get("lrc:12+2+2")
    plan = code.plan([3, 13], [index for index in range(16) if index not in (3, 13)])
    assert set(plan.reads) == (set(code.groups[0]) | set(code.groups[1])) - {3, 13}


def test_a_dear_group_is_not_read():
    code = codes.get("lrc:4+2+2")
    have = [1, 2, 3, 4, 5, 6, 7]
    assert set(code.plan([0], have).reads) == {1, 4}
    dear = dict.fromkeys(have, 1.0) | {4: 100.0}
    assert 4 not in code.plan([0], have, dear).reads


def test_what_cannot_be_decoded_says_so_at_once():
    code = codes.get("lrc:12+2+2")
    have = [index for index in range(16) if index not in (0, 1, 2, 3)]
    with pytest.raises(NotEnoughShards, match="not determined by those there") as caught:
        code.plan([0, 1, 2, 3], have)
    assert (caught.value.have, caught.value.need) == (12, 12)
