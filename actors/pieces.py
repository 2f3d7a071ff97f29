"""Answers of some hundred kilobytes to a few megabytes, as several small objects rather than one big one.

What a call answers with goes back within Ray's reply as long as it is small; a bigger object is put into the object
store of the actor's node, and whoever awaits it has it brought from there: between two nodes that is 12 to 15 ms, be it
150 kB or 1.2 MB. As small objects of one reply it is 2 ms. Ray wants their number before the call, so callers go by
what the answer before would have needed.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, Final

from faultset_ray.limits import KIB

PIECE_BYTES: Final = 96 * KIB
"""Ray's ``max_direct_call_object_size`` is 100 KiB, with what Ray itself says of the object."""
PIECES_MAX: Final = 42
"""4 MiB; more takes Ray longer than its object store does, and a reply has room for 10 MiB."""


def cut(value: Any, room: int) -> list[Any]:
    """A value as ``room`` objects; the first also says how many would have been right.

    Where that is more than ``room``, or one is enough, the first has the whole value.
    """
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts: list[bytes | memoryview] = [head, *(buffer.raw() for buffer in buffers)]
    lengths = [len(part) for part in parts]
    needed = -(-sum(lengths) // PIECE_BYTES) + 1
    if needed > PIECES_MAX or needed <= 2:
        needed = 1
    if needed == 1 or needed > room:
        return [(needed, None, value), *[None] * (room - 1)]
    whole = b"".join(parts)
    pieces = [whole[begin : begin + PIECE_BYTES] for begin in range(0, len(whole), PIECE_BYTES)]
    return [(needed, lengths, None), *pieces, *[None] * (room - 1 - len(pieces))]


def join(objects: Sequence[Any]) -> tuple[Any, int]:
    """The value that was cut, and how many objects it needs. Its arrays are read-only."""
    (needed, lengths, value), *pieces = objects
    if lengths is None:
        return value, needed
    whole = memoryview(b"".join(piece for piece in pieces if piece is not None))
    parts, begin = [], 0
    for length in lengths:
        parts.append(whole[begin : begin + length])
        begin += length
    return pickle.loads(parts[0], buffers=parts[1:]), needed  # noqa: S301 - as Ray does with every answer
