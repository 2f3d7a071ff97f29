"""One side of the large stream: a process that encodes to, or decodes from, pipes, and tells its peak of memory.

``python stream_process.py encode|decode COUNT CODE FD…`` moves COUNT MiB and prints one JSON line; without pipes,
what is encoded goes nowhere.
"""

import gc
import hashlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np

import faultset_ray as fs

MIB = 1 << 20


class Made:
    """So many MiB that nobody stores: one piece of random bytes, each time changed at its start."""

    def __init__(self, count):
        self._piece = np.random.default_rng(1).integers(0, 256, MIB, np.uint8)
        self._left = list(range(count, 0, -1))

    def read(self, nbytes):
        if not self._left:
            return b""
        self._piece[:8] = np.frombuffer(self._left.pop().to_bytes(8, "little"), np.uint8)
        return self._piece.tobytes()


class Hashed:
    def __init__(self):
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self.hash.update(data)
        self.size += len(data)


class Nowhere:
    def write(self, data):
        pass


def kib(field):
    return next(
        int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)
    )


def warm(code):
    shards = [io.BytesIO() for _ in range(fs.codes.get(code).n)]
    fs.encode_stream(Made(1), shards, code)
    fs.decode_stream([shard.getvalue() for shard in shards[1:]], Hashed())
    gc.collect()


def main(side, count, code, *descriptors):
    warm(code)
    idle = kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    files = [os.fdopen(int(fd), "wb" if side == "encode" else "rb", buffering=0) for fd in descriptors]
    if side == "encode":
        manifest = fs.encode_stream(Made(int(count)), files or [Nowhere() for _ in range(fs.codes.get(code).n)], code)
        sha256 = manifest.sha256
    else:
        out = Hashed()
        manifest = fs.decode_stream(files, out)
        sha256 = out.hash.hexdigest()
        assert out.size == manifest.size
    above = (kib("VmHWM") - idle) / 1024
    print(json.dumps({"size": manifest.size, "sha256": sha256, "above_idle_mib": round(above, 1)}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
