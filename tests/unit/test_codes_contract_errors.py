"""Bad input to a code is a typed error at once, with its numbers, and nothing is written."""

import pickle

import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.errors import InputError, InvalidCodeSpec, InvalidShardIndex, NotEnoughShards, ShardSizeError

CODE = codes.get("rs:4+2")
DATA = np.arange(4 * 8, dtype=np.uint8).reshape(4, 8)
SHARDS = dict(enumerate(np.concatenate([DATA, CODE.encode(DATA)])))


@pytest.mark.parametrize("index", [True, np.True_, -1, 6, 1.0, "1", None])
def test_doubtful_indices(index):
    rows = {5: SHARDS[5], 4: SHARDS[4], 3: SHARDS[3], index: SHARDS[1]}
    calls = [
        lambda: CODE.decode(rows),
        lambda: CODE.reconstruct(rows, [0]),
        lambda: CODE.reconstruct(SHARDS, [index]),
        lambda: CODE.plan([0], list(rows)),
        lambda: CODE.plan([index], [1, 2, 3, 4]),
        lambda: CODE.plan([0], [1, 2, 3, 4]).fold({index: SHARDS[1]}) if index is not True else CODE.decode(rows),
    ]
    for call in calls:
        with pytest.raises(InvalidShardIndex) as caught:
            call()
        assert caught.value.index is index
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_numpy_integers_are_indices():
    rows = {np.int64(index): row for index, row in SHARDS.items() if index != 0}
    assert np.array_equal(CODE.decode(rows), DATA)


def test_an_index_given_twice():
    with pytest.raises(InvalidShardIndex, match="given twice"):
        CODE.reconstruct(SHARDS, [0, 1, 0])
    with pytest.raises(InvalidShardIndex, match="given twice"):
        CODE.plan([0], [1, 2, 2, 3, 4])


def test_too_few_shards_say_how_many_and_which_are_missing():
    with pytest.raises(NotEnoughShards) as caught:
        CODE.decode({1: SHARDS[1], 5: SHARDS[5]})
    assert (caught.value.have, caught.value.need) == (2, 4)
    assert caught.value.missing == dict.fromkeys([0, 2, 3, 4], "missing")


def test_sizes_that_differ_are_refused_in_rows_not_read_too():
    odd = {**SHARDS, 5: SHARDS[5][:7]}
    for call in (lambda: CODE.reconstruct(odd, [0]), lambda: CODE.reconstruct({**odd, 4: SHARDS[4][:7]}, [4])):
        with pytest.raises(ShardSizeError):
            call()


def test_sizes_that_differ():
    with pytest.raises(ShardSizeError) as caught:
        CODE.decode({**SHARDS, 2: SHARDS[2][:7]})
    assert caught.value.sizes[2] == 7


@pytest.mark.parametrize(
    "data", [DATA.astype(np.int8), DATA.astype(np.uint16), DATA[0], DATA[None], DATA.tolist(), b"1234", None]
)
def test_data_that_is_no_uint8_matrix(data):
    with pytest.raises(InputError):
        CODE.encode(data)


def test_data_of_a_wrong_number_of_rows():
    with pytest.raises(ShardSizeError, match="3; expected 4"):
        CODE.encode(DATA[:3])


def test_out_that_cannot_take_the_result_is_left_alone():
    readonly = np.zeros((2, 8), dtype=np.uint8)
    readonly.setflags(write=False)
    for out in [np.zeros((3, 8), np.uint8), np.zeros((2, 7), np.uint8), np.zeros((2, 16), np.uint8)[:, ::2], readonly]:
        with pytest.raises(InputError):
            CODE.encode(DATA, out)
        assert not out.any()


def test_out_that_overlaps_the_rows_is_refused():
    both = np.zeros((6, 8), dtype=np.uint8)
    with pytest.raises(InputError, match="overlaps"):
        CODE.encode(both[:4], both[3:5])
    CODE.encode(both[:4], both[4:])


def test_rows_of_any_layout_give_the_same_bytes():
    wide = np.zeros((4, 16), dtype=np.uint8)
    wide[:, ::2] = DATA
    assert np.array_equal(CODE.encode(wide[:, ::2]), CODE.encode(DATA))
    assert np.array_equal(CODE.encode(np.asfortranarray(DATA)), CODE.encode(DATA))
    padded = np.zeros((4, 11), dtype=np.uint8)
    padded[:, 2:10] = DATA
    assert np.array_equal(CODE.encode(padded[:, 2:10]), CODE.encode(DATA))


def test_cost_chooses_what_is_read():
    assert CODE.plan([0], [1, 2, 3, 4, 5]).reads == (1, 2, 3, 4)
    assert set(CODE.plan([0], [1, 2, 3, 4, 5], {1: 9.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 2.0}).reads) == {2, 3, 4, 5}
    assert set(CODE.plan([0], [1, 2, 3, 4, 5], {5: 1.0}).reads) == {5, 1, 2, 3}
    with pytest.raises(InputError):
        CODE.plan([0], [1, 2, 3, 4, 5], {1: float("nan")})


def test_a_wanted_shard_that_is_there_is_read_alone():
    assert CODE.plan([2], [2]).reads == (2,)
    assert CODE.plan([], []).reads == ()


def test_a_plan_pickles():
    plan = CODE.plan([0, 5], [1, 2, 3, 4])
    copy = pickle.loads(pickle.dumps(plan))
    assert np.array_equal(copy.fold({index: SHARDS[index] for index in plan.reads}), [SHARDS[0], SHARDS[5]])


def test_a_row_that_the_plan_does_not_read_is_refused():
    with pytest.raises(InvalidShardIndex, match="not one of the plan's reads"):
        CODE.plan([0], [1, 2, 3, 4]).fold({5: SHARDS[5]})


@pytest.mark.parametrize(("k", "m"), [(0, 2), (4, 0), (250, 6), (-1, 2)])
def test_k_and_m_out_of_range(k, m):
    with pytest.raises(InvalidCodeSpec):
        codes.decode_rs({}, k, m)


@pytest.mark.parametrize("m", [True, 2.0, "2", None])
def test_m_that_is_no_integer(m):
    with pytest.raises(InputError):
        codes.encode_rs(DATA, m)


@pytest.mark.parametrize("key", [True, 1.0])
def test_what_equals_an_index_is_none_though_the_call_before_was_the_same(key):
    wanted, out = (0,), np.zeros((1, 8), np.uint8)
    rows = {1: SHARDS[1], 2: SHARDS[2], 3: SHARDS[3], 4: SHARDS[4]}
    for _ in range(2):
        assert np.array_equal(CODE.reconstruct(rows, wanted, out), [SHARDS[0]])
    odd = {key if index == 1 else index: row for index, row in rows.items()}
    with pytest.raises(InvalidShardIndex):
        CODE.reconstruct(odd, wanted, out)
    with pytest.raises(InvalidShardIndex):
        CODE.reconstruct(rows, (False,), out)
    others = {index: SHARDS[index] for index in (1, 2, 3, 5)}
    assert np.array_equal(CODE.reconstruct(others, wanted, out), [SHARDS[0]])
    assert np.array_equal(CODE.reconstruct(dict(reversed(rows.items())), wanted, out), [SHARDS[0]])
