"""Answers in pieces: what is cut is joined again, however many objects there is room for."""

import numpy as np
import pytest

from actors.pieces import PIECE_BYTES, PIECES_MAX, cut, join


def values(count):
    dice = np.random.default_rng(count)
    return {"head": "h" * (count // 100), "bytes": dice.integers(0, 256, count, np.uint8), "none": np.empty(0)}


@pytest.mark.parametrize("count", [0, 50_000, 99_000, 200_000, 1_180_000, 3_900_000, 9_000_000])
@pytest.mark.parametrize("room", [1, 2, 3, 14, PIECES_MAX])
def test_what_is_cut_is_joined_again(count, room):
    value = values(count)
    objects = cut(value, room)
    found, needed = join(objects)
    assert len(objects) == room
    assert found["head"] == value["head"]
    assert np.array_equal(found["bytes"], value["bytes"])
    assert len(found["none"]) == 0
    small = count <= 90_000
    assert (needed == 1) == (small or count > 3_900_000), "one object, as it is"
    whole = objects[0][2] is not None
    assert whole == (needed == 1 or needed > room)
    assert all(piece is None or 0 < len(piece) <= PIECE_BYTES for piece in objects[1:])
    again, needed_again = join(cut(value, needed))
    assert needed_again == needed
    assert np.array_equal(again["bytes"], value["bytes"])


def test_arrays_are_read_only_however_they_come():
    found, needed = join(cut(values(300_000), 10))
    assert needed > 1
    with pytest.raises(ValueError, match="read-only"):
        found["bytes"][0] = 1
