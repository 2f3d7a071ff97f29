"""Reed–Solomon against an oracle that multiplies bit by bit."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import codes as naive

from faultset_ray import codes
from faultset_ray.errors import NotEnoughShards


def random_rows(seed, k, length):
    return np.random.default_rng(seed).integers(0, 256, (k, length), dtype=np.uint8)


shapes = st.tuples(st.integers(1, 12), st.integers(1, 6))


@settings(max_examples=60)
@given(shapes, st.integers(0, 70), st.integers(0, 2**32))
def test_parity_is_the_oracles(shape, length, seed):
    k, m = shape
    data = random_rows(seed, k, length)
    parity = codes.get(f"rs:{k}+{m}").encode(data)
    assert [row.tobytes() for row in parity] == naive.encode(naive.cauchy(k, m), [row.tobytes() for row in data])


@settings(max_examples=60)
@given(shapes, st.integers(0, 70), st.integers(0, 2**32), st.data())
def test_any_k_shards_give_every_shard(shape, length, seed, draw):
    k, m = shape
    code = codes.get(f"rs:{k}+{m}")
    data = random_rows(seed, k, length)
    shards = np.concatenate([data, code.encode(data)])
    order = draw.draw(st.permutations(range(code.n)))
    kept = order[: draw.draw(st.integers(k, code.n))]
    rows = {index: shards[index].copy() for index in kept}
    for row in rows.values():
        row.setflags(write=False)
    assert np.array_equal(code.decode(rows), data)
    wanted = draw.draw(st.lists(st.sampled_from(range(code.n)), unique=True))
    assert np.array_equal(code.reconstruct(rows, wanted), shards[wanted])


@pytest.mark.parametrize(("k", "m"), [(k, n - k) for n in range(2, 9) for k in range(1, n)])
def test_every_erasure_pattern(k, m):
    code = codes.get(f"rs:{k}+{m}")
    data = random_rows(k * 10 + m, k, 13)
    shards = np.concatenate([data, code.encode(data)])
    parity = naive.cauchy(k, m)
    for count in range(code.n + 1):
        for kept in combinations(range(code.n), count):
            rows = {index: shards[index] for index in kept}
            if count < k:
                with pytest.raises(NotEnoughShards) as caught:
                    code.decode(rows)
                assert (caught.value.have, caught.value.need) == (count, k)
                assert set(caught.value.missing) == set(range(code.n)) - set(kept)
            else:
                assert np.array_equal(code.decode(rows), data)
    rows = {index: shards[index].tobytes() for index in range(m, code.n)}
    assert naive.decode(parity, rows) == [row.tobytes() for row in data]


def test_the_widest_code():
    code = codes.get("rs:200+55")
    data = random_rows(3, 200, 100)
    shards = np.concatenate([data, code.encode(data)])
    kept = np.random.default_rng(4).permutation(255)[:200]
    assert np.array_equal(code.decode({int(i): shards[i] for i in kept}), data)


@settings(max_examples=40)
@given(shapes, st.integers(0, 40), st.integers(0, 2**32), st.data())
def test_folds_over_a_partition_of_the_reads_add_up(shape, length, seed, draw):
    k, m = shape
    code = codes.get(f"rs:{k}+{m}")
    data = random_rows(seed, k, length)
    shards = np.concatenate([data, code.encode(data)])
    lost = draw.draw(st.lists(st.sampled_from(range(code.n)), unique=True, max_size=m))
    plan = code.plan(lost, [index for index in range(code.n) if index not in lost])
    parts = draw.draw(st.lists(st.integers(0, 2), min_size=len(plan.reads), max_size=len(plan.reads)))
    out = np.zeros((len(lost), length), dtype=np.uint8)
    for part in range(3):
        rows = {index: shards[index] for index, chosen in zip(plan.reads, parts, strict=True) if chosen == part}
        assert plan.fold(rows, out, accumulate=True) is out
    assert np.array_equal(out, shards[lost])
