"""What can be stored, whatever it comes as: its size where it is known, its bytes in order, their digest."""

import array
import asyncio
import hashlib
import io
import mmap

import numpy as np
import pytest
from running import run

from faultset_ray.errors import InputError
from faultset_ray.objects.intake import Intake

DATA = np.random.default_rng(1).bytes(10_000)


class Awaited:
    def __init__(self):
        self._file = io.BytesIO(DATA)

    async def read(self, nbytes):
        await asyncio.sleep(0)
        return self._file.read(min(nbytes, 700))


async def chunks():
    for at in range(0, len(DATA), 999):
        yield DATA[at : at + 999]


def mapped():
    memory = mmap.mmap(-1, len(DATA))
    memory[:] = DATA
    return memory


KINDS = {
    "bytes": (lambda _: DATA, True),
    "bytearray": (lambda _: bytearray(DATA), True),
    "array": (lambda _: array.array("B", DATA), True),
    "numpy": (lambda _: np.frombuffer(DATA, "<u4"), True),
    "datetimes": (lambda _: np.frombuffer(DATA, "datetime64[s]"), True),
    "mmap": (lambda _: mapped(), True),
    "path": (lambda path: path, True),
    "str": (str, True),
    "BytesIO": (lambda _: io.BytesIO(DATA), False),
    "iterator": (lambda _: iter([DATA[:5], b"", DATA[5:]]), False),
    "awaited": (lambda _: Awaited(), False),
    "async iterator": (lambda _: chunks(), False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind, tmp_path):
    make, sized = KINDS[kind]
    path = tmp_path / "x"
    path.write_bytes(DATA)

    async def scenario(backend):
        with Intake(backend, make(path)) as intake:
            assert intake.size == (len(DATA) if sized else None)
            pieces = []
            while len(piece := await intake.read(1 << 10)):
                pieces.append(piece.tobytes())
            assert [len(piece) for piece in pieces] == [1024] * 9 + [784]
            assert b"".join(pieces) == DATA
            assert intake.sha256() == hashlib.sha256(DATA).digest()

    run(scenario)


@pytest.mark.parametrize("data", [5, None, object(), 1.5])
def test_what_is_nothing_to_store(data):
    async def scenario(backend):
        with pytest.raises(InputError):
            Intake(backend, data)

    run(scenario)


def test_a_path_that_leads_nowhere(tmp_path):
    async def scenario(backend):
        with pytest.raises(InputError):
            Intake(backend, tmp_path / "nothing")

    run(scenario)
