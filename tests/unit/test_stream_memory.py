"""Streams take up some stripes of memory, whatever the code: measured in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ABOVE_IDLE_MIB_MAX = 256


@pytest.mark.timeout(300)
@pytest.mark.parametrize("code", ["copy:10", "rs:1+100"])
def test_memory_of_codes_with_much_parity(code):
    script = Path(__file__).parents[1] / "long" / "stream_process.py"
    done = subprocess.run([sys.executable, script, "encode", "64", code], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["size"] == 64 << 20
    assert result["above_idle_mib"] <= ABOVE_IDLE_MIB_MAX
