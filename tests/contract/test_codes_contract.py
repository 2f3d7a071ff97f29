"""One suite over every code: what :class:`faultset_ray.codes.Code` promises, each keeps."""

# ruff: noqa: PT017 - whether it raises depends on the pattern, which the oracle tells

import json
import pickle
from itertools import combinations
from math import comb

import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.codes.spec import parse
from faultset_ray.errors import CodingError, InputError, InvalidShardIndex, NotEnoughShards, UnsupportedOperation

SPECS = [
    "rs:4+2",
    "rs:1+1",
    "rs:10+4",
    "rs:6+5",
    "rs:5+3,matrix=backblaze",
    "rs:4+3,matrix=isal_vand",
    "rs:4+4,matrix=zfec",
    "rs:6+2,matrix=vandinv",
    "rs:7+4,matrix=jerasure",
    "rs:100+20",
    "lrc:6+2+2",
    "lrc:12+2+2",
    "lrc:7+3+1",
    "xor:1+1",
    "xor:9+1",
    "copy:2",
    "copy:5",
    "ldpc:6+5,left_degree=3",
    "ldpc:1+2,left_degree=2",
    "ldpc:300+150",
]
SUPPORTING_ALL = {"rs", "lrc", "xor", "copy"}
"""Codes that update and have batches; all can verify."""
EVERY_PATTERN_N_MAX = 12
SAMPLES = 60


@pytest.fixture(params=SPECS, scope="module")
def code(request):
    return codes.get(request.param)


def coded(code, length, seed=0):
    data = np.random.default_rng(seed).integers(0, 256, (code.k, length), dtype=np.uint8)
    return np.concatenate([data, code.encode(data)])


def binary_rank(matrix):
    """Of a matrix of 0 and 1 over GF(2), by plain elimination on Python ints."""
    rows = [int("".join(map(str, row)), 2) for row in matrix]
    rank = 0
    while rows:
        pivot = rows.pop()
        if pivot:
            rank += 1
            low = pivot & -pivot
            rows = [row ^ pivot if row & low else row for row in rows]
    return rank


def decodable(code, kept, shards):
    """Whether ``kept`` determine the data: the independent answer."""
    if code.spec.startswith("ldpc"):  # its checks over the lost symbols have full column rank
        lost = [index for index in range(code.n) if index not in kept]
        return binary_rank([[int(s in set(row.tolist())) for s in lost] for row in code.checks.rows]) == len(lost)
    from naive import codes as naive

    parity = code.generator[code.k :].tolist()
    rows = {index: shards[index, :1].tobytes() for index in kept}
    return naive.decode(parity, rows) is not None


def patterns(code):
    """Every set of shards kept, or a sample of them."""
    if code.n <= EVERY_PATTERN_N_MAX:
        for count in range(code.n + 1):
            yield from combinations(range(code.n), count)
        return
    rng = np.random.default_rng(1)
    for _ in range(SAMPLES):
        count = int(rng.integers(code.k, code.n + 1))
        yield tuple(map(int, rng.permutation(code.n)[:count]))


def test_every_pattern_that_can_be_decoded_is_and_no_other(code):
    shards = coded(code, 9)
    checked = 0
    for place, kept in enumerate(patterns(code)):
        rows = {index: shards[index] for index in kept}
        try:
            data = code.decode(rows)
        except NotEnoughShards as error:
            assert error.have == len(kept)
            assert set(error.missing) == set(range(code.n)) - set(kept)
            # the oracle is slow: all that could be decoded by their number, few of the rest
            if len(kept) >= code.k and (code.n <= EVERY_PATTERN_N_MAX or place % 10 == 0):
                assert not decodable(code, kept, shards)
                checked += 1
        else:
            assert np.array_equal(data, shards[: code.k])
            lost = [index for index in range(code.n) if index not in kept]
            assert np.array_equal(code.reconstruct(rows, lost), shards[lost])
            checked += 1
    assert checked >= min(SAMPLES, comb(code.n, code.k)) // 12


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1001, 70_000])
def test_round_trip_of_any_length(code, length):
    if code.n > 300 and length > 2000:
        length = 2000
    shards = coded(code, length)
    lost = next(
        (pair for pair in ([0, code.n - 1], [0]) if _recoverable(code, pair)),
        [0],
    )
    rows = {index: shards[index].copy() for index in range(code.n) if index not in lost}
    for row in rows.values():
        row.setflags(write=False)
    assert np.array_equal(code.decode(rows), shards[: code.k])
    out = np.full((code.k, length), 7, dtype=np.uint8)
    assert code.decode(rows, out) is out
    assert np.array_equal(out, shards[: code.k])
    made = np.full((len(lost), length), 7, dtype=np.uint8)
    assert code.reconstruct(rows, lost, made, threads=2) is made
    assert np.array_equal(made, shards[lost])
    parity = np.full((code.n - code.k, length), 7, dtype=np.uint8)
    assert code.encode(shards[: code.k], parity, threads=2) is parity
    assert np.array_equal(parity, shards[code.k :])


def _recoverable(code, lost):
    try:
        code.plan(lost, [index for index in range(code.n) if index not in lost])
    except NotEnoughShards:
        return False
    return True


def test_data_shards_are_the_data(code):
    shards = coded(code, 20)
    assert np.array_equal(code.decode({index: shards[index] for index in range(code.k)}), shards[: code.k])


def test_a_plan_says_what_to_read_and_makes_it(code):
    shards = coded(code, 33)
    rng = np.random.default_rng(5)
    for _ in range(10):
        lost = [int(rng.integers(code.n))]
        have = [int(index) for index in rng.permutation(code.n) if index not in lost]
        cost = {index: float(rng.integers(1, 100)) for index in have}
        try:
            plans = [code.plan(lost, have), code.plan(lost, have, cost)]
        except NotEnoughShards:
            continue
        for plan in plans:
            assert plan.wanted == tuple(lost)
            assert set(plan.reads) <= set(have)
            assert plan.matrix.shape == (1, len(plan.reads))
            half = len(plan.reads) // 2
            out = np.zeros((1, 33), dtype=np.uint8)
            for part in (plan.reads[:half], plan.reads[half:]):
                pickle.loads(pickle.dumps(plan)).fold({i: shards[i] for i in part}, out, accumulate=True)
            assert np.array_equal(out, shards[lost])
        spent = [sum(cost[index] for index in plan.reads) for plan in plans]
        assert spent[1] <= spent[0]


def test_what_it_supports_beyond_that_is_right_and_the_rest_is_refused(code):
    shards = coded(code, 40)
    rows = dict(enumerate(shards))
    assert code.verify(rows)
    bad = shards[0].copy()
    bad[3] ^= 1
    assert not code.verify({**rows, 0: bad})
    parity = shards[code.k :].copy()
    block = np.array([coded(code, 40, seed) for seed in range(3)])
    others = {index: block[:, index] for index in range(1, code.n)}
    calls = {
        "update": lambda: code.update(0, shards[0], bad, parity),
        "encode_batch": lambda: code.encode_batch(block[:, : code.k]),
        "reconstruct_batch": lambda: code.reconstruct_batch(others, [0]),
    }
    if code.spec.partition(":")[0] not in SUPPORTING_ALL:
        for operation, call in calls.items():
            with pytest.raises(UnsupportedOperation) as caught:
                call()
            assert caught.value.operation == operation
        return
    calls["update"]()
    assert np.array_equal(parity, code.encode(np.concatenate([bad[None], shards[1 : code.k]])))
    assert np.array_equal(calls["encode_batch"](), block[:, code.k :])
    assert np.array_equal(calls["reconstruct_batch"](), block[:, [0]])


def parity_checks(code):
    """Combinations of shards that are zero in every stripe, uint8[n-k, n]: all others come of them."""
    if code.spec.startswith("ldpc"):
        return np.array([[int(s in set(row.tolist())) for s in range(code.n)] for row in code.checks.rows], np.uint8)
    return np.concatenate([code.generator[code.k :], np.eye(code.n - code.k, dtype=np.uint8)], axis=1)


def test_verify_with_shards_missing_finds_the_one_that_the_others_determine(code):
    """A shard is checked if, and only if, it is in a combination without the missing."""
    from naive import codes as naive

    shards, rng = coded(code, 5), np.random.default_rng(11)
    checks, rank_of = parity_checks(code).tolist(), binary_rank if code.spec.startswith("ldpc") else naive.rank
    sure = {"seen": 0, "unseen": 0, "refused": 0}
    for _ in range(12 if code.n > 100 else 40):
        lost = rng.permutation(code.n)[: int(rng.integers(0, code.n - code.k + 1))].tolist()
        rows = {index: shards[index] for index in range(code.n) if index not in lost}
        bad = int(rng.choice(list(rows)))
        damaged = {**rows, bad: rows[bad] ^ np.uint8(1)}
        rank, with_bad = (
            rank_of([[row[index] for index in some] for row in checks]) if some else 0 for some in (lost, [*lost, bad])
        )
        if rank == len(checks):
            sure["refused"] += 1
            with pytest.raises(NotEnoughShards) as caught:
                code.verify(rows)
            assert (caught.value.have, set(caught.value.missing)) == (len(rows), set(lost))
            assert caught.value.need == len(rows) + 1
            continue
        determined = with_bad > rank
        sure["seen" if determined else "unseen"] += 1
        assert code.verify(rows)
        assert code.verify(damaged) is not determined, (lost, bad)
    assert sure["seen"] >= 3


def test_bad_input_is_a_typed_error(code):
    shards = coded(code, 8)
    rows = dict(enumerate(shards))
    for index in (True, -1, code.n, 0.0, "0"):
        with pytest.raises(InvalidShardIndex):
            code.reconstruct(rows, [index])
        with pytest.raises(InvalidShardIndex):
            code.decode({index: shards[0]})
        with pytest.raises(InvalidShardIndex):
            code.plan([0], [index])
    with pytest.raises(InvalidShardIndex):
        code.plan([0, 0], range(1, code.n))
    with pytest.raises(NotEnoughShards):
        code.decode({})
    with pytest.raises(CodingError):
        code.decode({**rows, code.n - 1: shards[0][:5]})
    with pytest.raises(CodingError):
        code.encode(np.zeros((code.k + 1, 8), np.uint8))
    for data in (None, b"", shards[0], shards[: code.k].astype(np.int16)):
        with pytest.raises(InputError):
            code.encode(data)
    with pytest.raises(InputError):
        code.encode(shards[: code.k], np.zeros((code.n - code.k, 7), np.uint8))
    with pytest.raises(InputError, match="overlaps"):
        code.encode(shards[: code.k], shards[code.k - 1 : code.n - 1])
    with pytest.raises(InputError):
        code.encode(shards[: code.k], threads=0)


def test_one_spec_one_object_through_text_pickle_and_json(code):
    assert codes.get(code.spec) is code
    assert len(code.spec.encode("ascii")) <= 63
    spec = parse(code.spec)
    assert list(spec.options) == sorted(spec.options)
    assert pickle.loads(pickle.dumps(code)) is code
    assert len(pickle.dumps(code)) < 200
    assert codes.from_config(json.loads(json.dumps(code.get_config()))) is code
    assert code.get_config()["name"] in codes.available()
