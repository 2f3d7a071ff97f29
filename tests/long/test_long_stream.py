"""10 GiB through pipes, encoded by one process and decoded by another, each in bounded memory; an event loop beside."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from long.stream_process import Made

import faultset_ray as fs

pytestmark = pytest.mark.long

ABOVE_IDLE_MIB_MAX = 256


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("code", "lost"), [("rs:10+4", 4), ("copy:3", 1), ("copy:10", 1), ("rs:2+20", 2)])
def test_memory_is_bounded(large, code, lost):
    k, n = fs.codes.get(code).k, fs.codes.get(code).n
    count = large.count(10_240 if n <= 3 * k else 1_024)  # MiB
    pipes = [os.pipe() for _ in range(n)]
    script = str(Path(__file__).with_name("stream_process.py"))
    sides = {}
    for side, ends in (("encode", [write for _, write in pipes]), ("decode", [read for read, _ in pipes])):
        used = ends if side == "encode" else ends[lost:]
        command = [sys.executable, script, side, str(count), code, *map(str, used)]
        sides[side] = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=used, text=True)
    drains = [subprocess.Popen(["cat"], stdin=read, stdout=subprocess.DEVNULL) for read, _ in pipes[:lost]]
    for pair in pipes:
        for end in pair:
            os.close(end)
    results = {side: json.loads(process.communicate()[0]) for side, process in sides.items()}
    assert [drain.wait() for drain in drains] == [0] * lost
    large.notes.append(
        ", ".join(f"{side} {result['above_idle_mib']} MiB above idle" for side, result in results.items())
    )
    assert results["encode"]["sha256"] == results["decode"]["sha256"]
    for side, result in results.items():
        assert result["size"] == count << 20
        assert result["above_idle_mib"] <= ABOVE_IDLE_MIB_MAX, side


class Nowhere:
    def write(self, data):
        pass


@pytest.mark.timeout(3600)
def test_a_ticker_keeps_ticking(large):
    """A task that wants to wake every millisecond while 1 GiB is encoded beside it."""
    count = large.count(1024)  # MiB

    async def main():
        loop = asyncio.get_running_loop()
        ticks = []

        async def ticker():
            while True:
                ticks.append(loop.time())
                await asyncio.sleep(0.001)

        sinks = [Nowhere() for _ in range(14)]
        await fs.encode_stream_async(Made(16), sinks, "rs:10+4")
        ticking = asyncio.ensure_future(ticker())
        manifest = await fs.encode_stream_async(Made(count), sinks, "rs:10+4")
        ticking.cancel()
        return manifest.size, np.diff(ticks) * 1e3

    size, gaps = asyncio.run(main())
    assert size == count << 20
    median, p99 = np.percentile(gaps, [50, 99])
    large.notes.append(
        f"{len(gaps):,} ticks in {gaps.sum() / 1e3:.1f} s, between two of them {median:.2f} ms in the median, "
        f"{p99:.1f} ms at p99, {gaps.max():.0f} ms at most"
    )
    assert median < 5
    assert p99 < 100
