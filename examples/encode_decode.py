"""An array over the stores of a cluster, and back from what is left.

``python examples/encode_decode.py`` on Ray (a new one on this machine, or the one that RAY_ADDRESS names), or in this
process with ``local``.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np

import faultset_ray as fs

backend = sys.argv[1] if len(sys.argv) > 1 else "ray"
measured = np.random.default_rng(0).normal(size=(1000, 500))

with fs.connect(backend=backend) as driver, tempfile.TemporaryDirectory() as scratch:
    shards = driver.encode(measured, "rs:4+2")
    print(f"{shards.size:,} bytes as {shards.spec}, SHA-256 {shards.sha256[:12]}…")
    for index, (place, region) in sorted(shards.locations.items()):
        print(f"  shard {index} at {place[:12]} ({region[:12]})")
    print(f"survives the loss of any {shards.survivable} places")

    # into an array of one's own, without a copy
    again = np.empty_like(measured)
    driver.decode(shards, out=again)
    assert np.array_equal(again, measured)

    # the handle is a plain value: it can be kept, and given to another driver of the same system
    kept = pickle.loads(pickle.dumps(shards))  # noqa: S301 - our own
    path = Path(scratch, "measured.bin")
    driver.decode(kept, out=path)
    assert path.read_bytes() == measured.tobytes()

    driver.free(kept)
    try:
        driver.decode(shards)
    except fs.errors.NotEnoughShards as error:
        print(f"freed: {error}")
