"""What linear codes do beyond encode and decode: batches, verification, updates, threads."""

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faultset_ray import codes
from faultset_ray.codes import engine
from faultset_ray.codes.linear import LinearCode
from faultset_ray.codes.plan import Plan
from faultset_ray.codes.spec import parse
from faultset_ray.errors import (
    CodingError,
    FaultsetError,
    InputError,
    InvalidShardIndex,
    NotEnoughShards,
    ShardSizeError,
)
from faultset_ray.kernels.solve import express

CODE = codes.get("rs:5+3")


def coded(length, seed=0, code=CODE):
    data = np.random.default_rng(seed).integers(0, 256, (code.k, length), dtype=np.uint8)
    return np.concatenate([data, code.encode(data)])


@settings(max_examples=40)
@given(st.integers(0, 200), st.integers(0, 5), st.integers(1, 3), st.lists(st.integers(0, 7), unique=True, max_size=3))
def test_batches_are_stripes_one_by_one(length, count, threads, lost):
    block = np.array([coded(length, seed) for seed in range(count)], dtype=np.uint8).reshape(count, 8, length)
    assert np.array_equal(CODE.encode_batch(block[:, :5], threads=threads), block[:, 5:])
    rows = {index: block[:, index] for index in range(8) if index not in lost}
    made = CODE.reconstruct_batch(rows, lost, threads=threads)
    assert np.array_equal(made, block[:, lost])
    out = np.empty_like(made)
    assert CODE.reconstruct_batch(rows, lost, out, threads=threads) is out
    assert np.array_equal(out, made)


def test_batches_refuse_what_stripes_refuse():
    block = np.zeros((3, 5, 8), dtype=np.uint8)
    with pytest.raises(InputError):
        CODE.encode_batch(block[0])
    with pytest.raises(ShardSizeError):
        CODE.encode_batch(block[:, :4])
    with pytest.raises(ShardSizeError, match="number of rows of data"):
        CODE.encode_batch(np.zeros((0, 4, 9), np.uint8))
    with pytest.raises(InputError):
        CODE.encode_batch(block, np.zeros((3, 2, 8), np.uint8))
    with pytest.raises(InputError, match="overlaps"):
        CODE.encode_batch(block, block[:, 1:4])
    rows = {index: block[:, index] for index in range(5)}
    with pytest.raises(ShardSizeError):
        CODE.reconstruct_batch({**rows, 4: block[:2, 4]}, [5])
    with pytest.raises(InvalidShardIndex):
        CODE.reconstruct_batch({True: block[:, 1], **{index: block[:, index] for index in (0, 2, 3, 4)}}, [5])
    with pytest.raises(NotEnoughShards):
        CODE.reconstruct_batch({1: block[:, 1]}, [0])


@pytest.mark.parametrize("wanted", [[0], [7, 1]])
def test_a_batch_with_more_rows_than_needed_is_one_fold(wanted, monkeypatch):
    block = np.array([coded(256, seed) for seed in range(50)])
    rows = {index: block[:, index] for index in range(8) if index not in wanted}
    folds, fold = [], Plan.fold
    monkeypatch.setattr(LinearCode, "reconstruct", None)
    monkeypatch.setattr(Plan, "fold", lambda *args, **options: folds.append(1) or fold(*args, **options))
    assert np.array_equal(CODE.reconstruct_batch(rows, wanted, threads=2), block[:, wanted])
    assert not folds or engine.active() == "naive"


@pytest.mark.parametrize("rows", [5, 6, 7])
@pytest.mark.parametrize("threads", [0, 65, "2", True])
def test_threads_are_checked_whatever_there_is_to_do(rows, threads):
    block = np.array([coded(64)])
    left = {index: block[:, index] for index in range(1, 1 + rows)}
    for wanted in ([0], []):
        with pytest.raises(InputError, match="threads"):
            CODE.reconstruct_batch(left, wanted, threads=threads)
        with pytest.raises(InputError, match="threads"):
            CODE.reconstruct({index: row[0] for index, row in left.items()}, wanted, threads=threads)
    with pytest.raises(InputError, match="threads"):
        CODE.decode(dict(enumerate(block[0])), threads=threads)


@pytest.mark.parametrize("batched", [False, True])
def test_outputs_that_touch_one_another_are_refused(batched):
    """Where they don't, any steps are fine."""
    length, count = 64, 4
    data = np.ones((count, 5, length) if batched else (5, length), np.uint8)
    call = CODE.encode_batch if batched else CODE.encode
    memory = np.zeros(1 << 16, np.uint8)
    expected = call(data)
    for row, stripe, fits in [(64, 192, True), (63, 300, False), (0, 300, False), (100, 264, True), (256, 64, True),
                              (256, 63, False), (100, 200, False), (-64, 192, True)]:  # fmt: skip
        shape, steps = ((count, 3, length), (stripe, row, 1)) if batched else ((3, length), (row, 1))
        out = np.lib.stride_tricks.as_strided(memory[1000:], shape, steps)
        if fits or (not batched and abs(row) >= length):
            assert np.array_equal(call(data, out), expected)
        else:
            with pytest.raises(InputError, match="overlap"):
                call(data, out)


@settings(max_examples=60)
@given(st.integers(1, 200), st.data())
def test_verify_finds_any_one_changed_byte(length, draw):
    shards = coded(length)
    kept = draw.draw(st.lists(st.integers(0, 7), unique=True, min_size=6))
    rows = {index: shards[index] for index in kept}
    assert CODE.verify(rows)
    index = draw.draw(st.sampled_from(kept))
    bad = shards[index].copy()
    bad[draw.draw(st.integers(0, length - 1))] ^= draw.draw(st.integers(1, 255))
    assert not CODE.verify({**rows, index: bad})


def test_verify_of_long_rows_reaches_their_end():
    shards = coded((1 << 16) * 2 + 5)
    rows = dict(enumerate(shards))
    assert CODE.verify(rows)
    shards[7, -1] ^= 1
    assert not CODE.verify(rows)


@pytest.mark.parametrize("place", range(5))
def test_an_inverse_is_checked_before_anything_is_decoded_with_it(monkeypatch, place):
    def wrong(basis, targets):
        matrix = express(basis, targets)
        matrix[0, place] ^= 1
        return matrix

    shards = coded(64)
    rows = {index: shards[index] for index in (3, 4, 5, 6, 7)}
    code = type(CODE).from_spec(parse(CODE.spec))
    monkeypatch.setattr("faultset_ray.codes.linear.express", wrong)
    for call in (code.decode, lambda rows: code.reconstruct(rows, (0,)), lambda rows: code.plan([0], rows)):
        with pytest.raises(CodingError, match="wrong inverse"):
            call(rows)
    monkeypatch.undo()
    assert np.array_equal(code.decode(rows), shards[:5])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_verify_needs_one_more_than_decoding(count):
    shards = coded(8)
    with pytest.raises(NotEnoughShards) as caught:
        CODE.verify({index: shards[index] for index in range(count)})
    assert caught.value.have == count


@settings(max_examples=40)
@given(st.integers(0, 100), st.integers(0, 4), st.integers(0, 2**32))
def test_update_is_encoding_anew(length, index, seed):
    shards = coded(length)
    parity = shards[5:].copy()
    new = np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8)
    old = shards[index].copy()
    CODE.update(index, old, new, parity)
    shards[index] = new
    assert np.array_equal(parity, CODE.encode(shards[:5]))


def test_update_names_what_is_wrong():
    shards = coded(8)
    parity = shards[5:].copy()
    for old, new, text in (
        ([1], shards[1], "old is a list"),
        (shards[0], [1], "new is a list"),
        (shards[0], shards[1][:7], "size of new in bytes is 7; expected 8, the size of old"),
    ):
        with pytest.raises(FaultsetError, match=text):
            CODE.update(0, old, new, parity)
    assert np.array_equal(parity, shards[5:])


def test_update_refuses():
    shards = coded(8)
    parity = shards[5:].copy()
    for index in (5, -1, True, 1.0):
        with pytest.raises(InvalidShardIndex):
            CODE.update(index, shards[0], shards[1], parity)
    with pytest.raises(ShardSizeError):
        CODE.update(0, shards[0], shards[1][:7], parity)
    with pytest.raises(InputError, match="parity has shape"):
        CODE.update(0, shards[0], shards[1], parity[:2])
    with pytest.raises(InputError, match="parity overlaps"):
        CODE.update(0, shards[0], parity[0], parity)
    assert np.array_equal(parity, shards[5:])


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 5))
def test_threads_give_the_same_bytes(length, threads):
    shards = coded(length)
    assert np.array_equal(CODE.encode(shards[:5], threads=threads), shards[5:])
    rows = {index: shards[index] for index in (1, 3, 5, 6, 7)}
    assert np.array_equal(CODE.decode(rows, threads=threads), shards[:5])
    assert np.array_equal(CODE.reconstruct(rows, [0, 2, 4], threads=threads), shards[[0, 2, 4]])


def test_one_code_in_many_threads():
    wrong = []

    def work(seed):
        for step in range(20):
            shards = coded(500 + step, seed * 100 + step)
            lost = [seed % 8, (seed + 3) % 8]
            rows = {index: shards[index] for index in range(8) if index not in lost}
            if not np.array_equal(CODE.reconstruct(rows, lost), shards[lost]):
                wrong.append((seed, step))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_rows_of_a_subclass_and_of_a_file(tmp_path):
    shards = coded(100)
    (tmp_path / "data").write_bytes(shards[:5].tobytes())
    mapped = np.memmap(tmp_path / "data", dtype=np.uint8, mode="r", shape=(5, 100))
    assert np.array_equal(CODE.encode(mapped), shards[5:])


def test_rows_that_interleave_without_touching():
    both = np.zeros((10, 64), dtype=np.uint8)
    both[::2] = coded(64)[:5]
    code = codes.get("rs:5+5")
    out = both[1::2]
    assert code.encode(both[::2], out) is out
    assert np.array_equal(out, code.encode(both[::2].copy()))


@pytest.fixture
def kernel_alone(monkeypatch):
    """Fails a call that does not go straight to the kernel."""
    if engine.active() == "naive":
        pytest.skip("nothing is compiled")
    monkeypatch.setattr("faultset_ray.codes.check.shard_rows", None)
    monkeypatch.setattr("faultset_ray.codes.check.stripe_rows", None)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(8)), st.integers(5, 8), st.integers(0, 200), st.integers(1, 2), st.booleans())
def test_plain_rows_go_straight_to_the_kernel_however_many(kernel_alone, order, count, length, threads, given_out):
    stripes = np.array([coded(length, seed) for seed in range(3)])
    rows = {index: stripes[0, index] for index in order[:count]}
    wanted = order[:1] + order[count:]
    out = (np.full((5, length), 7, np.uint8), np.full((len(wanted), length), 7, np.uint8)) if given_out else (None,) * 2
    for _ in range(2):  # the second call finds what the first one made
        assert np.array_equal(CODE.decode(rows, out[0], threads=threads), stripes[0, :5])
        assert np.array_equal(CODE.reconstruct(rows, wanted, out[1], threads=threads), stripes[0, wanted])
        several = {index: stripes[:, index] for index in order[:count]}
        assert np.array_equal(CODE.reconstruct_batch(several, wanted, threads=threads), stripes[:, wanted])


@pytest.mark.parametrize("spec", ["rs:1+1", "copy:4", "xor:3+1", "lrc:4+2+1"])
def test_few_rows_go_straight_to_the_kernel_too(kernel_alone, spec):
    code = codes.get(spec)
    shards = coded(100, code=code)
    for kept in ({code.n - 1} | set(range(1, code.k)), set(range(code.n)), set(range(code.k))):
        assert np.array_equal(code.decode({index: shards[index] for index in kept}), shards[: code.k])


@pytest.mark.parametrize("spoiled", range(8))
def test_rows_that_are_not_read_are_checked_too(spoiled):
    shards = coded(64)
    rows = dict(enumerate(shards))
    for bad, error in [(rows[spoiled][:63], ShardSizeError), (rows[spoiled].view(np.int8), InputError),
                       (bytes(64), InputError), (shards[:1], InputError)]:  # fmt: skip
        out, made = np.full((5, 64), 7, np.uint8), np.full((1, 64), 7, np.uint8)
        for _ in range(2):
            with pytest.raises(error):
                CODE.decode({**rows, spoiled: bad}, out)
            with pytest.raises(error):
                CODE.reconstruct({**rows, spoiled: bad}, (0,), made)
            CODE.decode(rows)
            CODE.reconstruct(rows, (0,))
        assert (out == 7).all()
        assert (made == 7).all()


@pytest.mark.parametrize("index", range(8))
def test_an_output_over_any_of_the_rows_is_refused(index):
    shards = coded(64)
    memory = np.full((14, 64), 7, np.uint8)
    memory[6:] = shards
    rows = {**dict(enumerate(shards)), index: memory[6 + index]}
    for out in (memory[2 + index : 7 + index], memory[6 + index : 11 + index]):
        if len(out) == 5:
            before = memory.copy()
            with pytest.raises(InputError, match="overlaps"):
                CODE.decode(rows, out)
            with pytest.raises(InputError, match="overlaps"):
                CODE.reconstruct(rows, (0, 1, 2, 3, 7), out)
            assert np.array_equal(memory, before)


def test_more_rows_than_the_kernel_takes():
    wide = type("Wide", (LinearCode,), {"from_spec": None})
    code = wide("wide:1", np.ones((299, 1), np.uint8))
    row = np.arange(50, dtype=np.uint8)
    rows = dict.fromkeys(range(1, 300), row)
    assert np.array_equal(code.decode(rows), [row])
    assert np.array_equal(code.reconstruct(rows, (0,)), [row])


def test_a_bool_is_no_index_even_after_an_int_was():
    shards = coded(16)
    rows = {index: shards[index] for index in (1, 3, 5, 6, 7)}
    assert np.array_equal(CODE.reconstruct(rows, [0]), shards[[0]])
    doubtful = {True: shards[1], **{index: shards[index] for index in (3, 5, 6, 7)}}
    with pytest.raises(InvalidShardIndex):
        CODE.reconstruct(doubtful, [0])
    with pytest.raises(InvalidShardIndex):
        CODE.reconstruct(rows, [False])
