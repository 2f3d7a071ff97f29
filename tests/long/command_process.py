"""One command of ``faultset`` on large shards, in a process that is warm: its result and its peak of memory.

``python command_process.py ARGUMENT…`` runs the command on something small in a directory of its own, then with
these arguments, and prints one JSON line.
"""

import contextlib
import gc
import io
import json
import sys
import tempfile
from pathlib import Path

from stream_process import kib

from jobs.cli import main


def faultset(*arguments):
    """The exit code, and what JSON was printed."""
    out = io.StringIO()
    sys.argv = ["faultset", *arguments, "--json"]
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as ended:
            return ended.code or 0, json.loads(out.getvalue())


def warm():
    with tempfile.TemporaryDirectory() as small:
        (Path(small) / "f").write_bytes(bytes(range(256)) * 40_000)
        for again in range(2):
            shards = f"{small}/d{again}"
            faultset("encode", f"{small}/f", "--code", "rs:10+2", "-o", shards)
            (Path(shards) / "f.001.shard").unlink()
            for verb in (["verify"], ["repair"], ["decode", "-o", f"{small}/g"]):
                faultset(verb[0], shards, *verb[1:])
    gc.collect()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    warm()
    idle = kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    code, result = faultset(*arguments)
    above = (kib("VmHWM") - idle) / 1024
    print(json.dumps({"exit": code, "above_idle_mib": round(above, 1), **result}))  # noqa: T201
