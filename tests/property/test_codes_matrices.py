"""Every matrix against the libraries it is compatible with, and against its definition."""

# ruff: noqa: PT017 - whether it raises depends on the pattern, which the oracle tells

from itertools import combinations

import numpy as np
import pytest
import zfec
from naive import gf
from naive import jerasure as naive_jerasure
from pyeclib import ec_iface

from faultset_ray import codes
from faultset_ray.codes import matrices
from faultset_ray.errors import InvalidCodeSpec, NotEnoughShards


def random_rows(k, length, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (k, length), dtype=np.uint8)


@pytest.mark.parametrize(("k", "m"), [(1, 1), (3, 2), (5, 4), (10, 4), (32, 8), (200, 55)])
def test_zfec(k, m):
    data = random_rows(k, 40)
    theirs = zfec.Encoder(k, k + m).encode([row.tobytes() for row in data], tuple(range(k, k + m)))
    ours = codes.get(f"rs:{k}+{m},matrix=zfec").encode(data)
    assert [bytes(row) for row in theirs] == [row.tobytes() for row in ours]


@pytest.mark.parametrize(("k", "m"), [(2, 1), (4, 2), (10, 4), (16, 4), (20, 3)])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("isa_l_rs_cauchy", "cauchy"), ("isa_l_rs_vand", "isal_vand"), ("isa_l_rs_vand_inv", "vandinv")],
)
def test_pyeclib(theirs, ours, k, m):
    fragments = ec_iface.ECDriver(k=k, m=m, ec_type=theirs).encode(random_rows(k, 64).tobytes())
    header = len(fragments[0]) - 64
    rows = np.array([np.frombuffer(fragment, dtype=np.uint8)[header:] for fragment in fragments])
    assert np.array_equal(codes.get(f"rs:{k}+{m},matrix={ours}").encode(rows[:k]), rows[k:])


def test_backblaze_as_klauspost_tests_it():
    data = np.array([[0, 1], [4, 5], [2, 3], [6, 7], [8, 9]], dtype=np.uint8)
    parity = codes.get("rs:5+5,matrix=backblaze").encode(data)
    assert parity.tolist() == [[12, 13], [10, 11], [14, 15], [90, 91], [94, 95]]


@pytest.mark.parametrize(
    ("k", "m"), [(1, 1), (1, 3), (2, 1), (3, 1), (2, 2), (4, 2), (6, 3), (7, 7), (10, 4), (1, 60), (50, 1), (20, 12)]
)
def test_jerasure_as_its_source_makes_it(k, m):
    assert matrices.jerasure(k, m).tolist() == naive_jerasure.parity(k, m)


def test_jerasure_as_its_manual_prints_it():
    """``reed_sol_01 7 7 8``."""
    assert matrices.jerasure(7, 7)[:2].tolist() == [[1] * 7, [1, 199, 210, 240, 105, 121, 248]]


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("backblaze", lambda n: list(range(n))),
        ("zfec", lambda n: [0, *(gf_power(2, e) for e in range(n - 1))]),
        ("vandinv", lambda n: [gf_power(2, e) for e in range(n)]),
    ],
)
def test_systematic_vandermonde_from_its_definition(name, points):
    """P · V_top = V_bottom, multiplied bit by bit."""
    k, m = 6, 4
    rows = [[gf_power(point, exponent) for exponent in range(k)] for point in points(k + m)]
    columns = list(zip(*rows[:k], strict=True))
    parity = matrices.PARITY[name](k, m).tolist()
    assert [[gf.dot(row, list(column)) for column in columns] for row in parity] == rows[k:]


def gf_power(base, exponent):
    product = 1
    for _ in range(exponent):
        product = gf.mul(product, base)
    return product


@pytest.mark.parametrize("name", [name for name in matrices.PARITY if name != "isal_vand"])
@pytest.mark.parametrize(("k", "m"), [(4, 4), (8, 3), (3, 8)])
def test_any_k_shards_suffice(name, k, m):
    code = codes.get(f"rs:{k}+{m},matrix={name}")
    data = random_rows(k, 3)
    shards = np.concatenate([data, code.encode(data)])
    for kept in combinations(range(k + m), k):
        assert np.array_equal(code.decode({index: shards[index] for index in kept}), data)


@pytest.mark.parametrize("name", [name for name in matrices.PARITY if name != "isal_vand"])
def test_the_widest(name):
    code = codes.get(f"rs:200+55,matrix={name}")
    data = random_rows(200, 10)
    shards = np.concatenate([data, code.encode(data)])
    kept = np.random.default_rng(1).permutation(255)[:200]
    assert np.array_equal(code.decode({int(index): shards[index] for index in kept}), data)


def test_isal_vand_is_refused_where_it_is_not_mds():
    with pytest.raises(InvalidCodeSpec, match="allow_non_mds=1"):
        codes.get("rs:5+6,matrix=isal_vand")
    with pytest.raises(InvalidCodeSpec):
        codes.get("rs:5+6,allow_non_mds=1")
    with pytest.raises(InvalidCodeSpec):
        codes.get("rs:5+6,allow_non_mds=yes,matrix=isal_vand")
    code = codes.get("rs:5+6,allow_non_mds=1,matrix=isal_vand")
    data = random_rows(5, 4)
    shards = np.concatenate([data, code.encode(data)])
    undecodable = 0
    for kept in combinations(range(11), 5):
        try:
            assert np.array_equal(code.decode({index: shards[index] for index in kept}), data)
        except NotEnoughShards as error:
            undecodable += 1
            assert error.have == error.need == 5
            assert "not determined by those there" in error.missing.values()
    assert 0 < undecodable < 20
    # a dependent row among the cheapest doesn't hide one that helps
    assert np.array_equal(code.decode({index: shards[index] for index in range(1, 11)}), data)


@pytest.mark.parametrize(("k", "m"), [(3, 9), (4, 6), (5, 5), (8, 4), (9, 3)])
def test_isal_vand_is_mds_where_it_is_taken(k, m):
    assert matrices.isal_vand_is_mds(k, m)
    code = codes.get(f"rs:{k}+{m},matrix=isal_vand")
    for kept in combinations(range(k + m), k):
        code.plan(range(k), kept)
