"""Ranges of objects: the bytes that were asked for, whatever is lost, and no more granules read than hold them."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.driver.asynchronous import AsyncDriver
from faultset_ray.limits import GRANULE_BYTES, KIB
from faultset_ray.objects.pace import Pace
from faultset_ray.shards.layout import layout_for

SIZES = [1, 64, 65_537, 300_000, 4 * 256 * KIB, 4 * 256 * KIB + 1]
STRIPE = 4 * 256 * KIB
"""Of four blocks of four granules each."""


class Patient(Pace):
    """Takes nobody for slow or late: what is read beyond need must not hang on how busy this machine is."""

    def note(self, store, nbytes, seconds, now_s, *, answered=True, tried=False):
        pass

    def to_try(self, stores, nbytes, now_s):
        return None

    def late_after(self, nbytes):
        return 3600.0


class World:
    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.backend = LocalBackend(
            [Place("home"), *(Place(f"p{at}", {"faultset.io/store": "true"}) for at in range(7))]
        )
        self.driver = self.loop.run_until_complete(AsyncDriver.start(self.backend, "private-ranges"))
        self.data = {}
        self.read = 0
        """Bytes of blocks that stores gave."""
        for size in SIZES:
            self.data[size] = np.random.default_rng(size).bytes(size)
            self.run(self.driver.put(str(size), self.data[size], stripe_bytes=STRIPE))
        lines = self.driver._objects.lines
        lines.pace = Patient()
        read = lines.read

        def counted(store, what, nbytes):
            self.read += nbytes
            return read(store, what, nbytes)

        lines.read = counted

    def run(self, work):
        return self.loop.run_until_complete(work)


@pytest.fixture(scope="module", params=[0, 2], ids=["whole", "two stores lost"])
def world(request):
    world = World()
    for at in range(request.param):
        world.backend.kill(f"p{at}")
    world.lost = request.param
    yield world
    world.run(world.driver.close())
    world.loop.close()


def granules_bytes(size, start, stop):
    """Of all granules that hold any of these bytes, found byte by byte."""
    layout = layout_for(size, 4, 6, STRIPE)
    at = np.arange(start, stop)
    stripe, within = np.divmod(at, layout.stripe_bytes)
    length = np.array([layout.block_len(each, size) for each in range(layout.stripes(size))])[stripe]
    row, column = np.divmod(within, length)
    granule = column // GRANULE_BYTES
    first = np.any(np.diff([stripe, row, granule], prepend=-1), axis=0)
    return int(np.minimum(GRANULE_BYTES, (length - granule * GRANULE_BYTES)[first]).sum())


EDGES = sorted({edge + step for edge in (0, 64 * KIB, 256 * KIB, STRIPE // 2, STRIPE) for step in (-1, 0, 1)})


@given(
    size=st.sampled_from(SIZES),
    ends=st.tuples(*[st.one_of(st.sampled_from(EDGES), st.integers(0, STRIPE + 2))] * 2),
)
@settings(max_examples=150)
def test_ranges(world, size, ends):
    start, stop = sorted(min(max(end, 0), size) for end in ends)
    world.read = 0
    assert world.run(world.driver.get(str(size), (start, stop))) == world.data[size][start:stop]
    if not world.lost:
        assert world.read == granules_bytes(size, start, stop)
    if start == stop:
        assert world.read == 0
