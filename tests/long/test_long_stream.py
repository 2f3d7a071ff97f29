"""10 GiB through pipes, encoded by one process and decoded by another, each in bounded memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ABOVE_IDLE_MIB_MAX = 256


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("code", "lost"), [("rs:10+4", 4), ("copy:3", 1)])
def test_memory_is_bounded(large, code, lost):
    count = large.count(10_240)  # MiB
    n = sum(map(int, code.partition(":")[2].split("+")))
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
