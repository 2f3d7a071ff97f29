"""What one would write with Ray and pyeclib alone: tasks encode, an actor a node keeps fragments as files.

It makes files durable as our stores do, and leaves out what they do besides: digests, records, a catalog, fences.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import ray
from pyeclib.ec_iface import ECDriver
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PIECE_BYTES = 16 << 20


def driver_of(k: int, m: int) -> ECDriver:
    return ECDriver(k=k, m=m, ec_type="isa_l_rs_cauchy")


@ray.remote(num_cpus=0, max_concurrency=8)
class Disk:
    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.root.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, fragment: bytes) -> None:
        fresh, path = self.root / f"{name}.tmp", self.root / name
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.write(fd, fragment)
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.rename(path)
        fd = os.open(self.root, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()


@ray.remote(num_cpus=0.5)
def encode(k: int, m: int, piece: np.ndarray) -> list[bytes]:
    return driver_of(k, m).encode(piece.tobytes())


class Loop:
    """Objects over one actor a node."""

    def __init__(self, root: Path, nodes: list[str], k: int, m: int) -> None:
        self.k, self.m = k, m
        self.codec = driver_of(k, m)
        self.disks = [
            Disk.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(str(root / node))
            for node in nodes
        ]

    def put(self, objects: dict[str, np.ndarray]) -> None:
        written = []
        for name, data in objects.items():
            for at in range(0, data.size, PIECE_BYTES):
                task = encode.options(num_returns=self.k + self.m)
                fragments = task.remote(self.k, self.m, ray.put(data[at : at + PIECE_BYTES]))
                written += [
                    self._disk(name, index).write.remote(f"{name}.{at}.{index}", fragment)
                    for index, fragment in enumerate(fragments)
                ]
        ray.get(written)

    def get(self, sizes: dict[str, int]) -> list[bytes]:
        reads = {
            (name, at): [self._disk(name, index).read.remote(f"{name}.{at}.{index}") for index in range(self.k)]
            for name, size in sizes.items()
            for at in range(0, size, PIECE_BYTES)
        }
        pieces: dict[str, list[bytes]] = {name: [] for name in sizes}
        for (name, _), refs in reads.items():
            pieces[name].append(self.codec.decode(ray.get(refs)))
        return [b"".join(some) for some in pieces.values()]

    def _disk(self, name: str, index: int) -> ray.actor.ActorHandle:
        """Names begin at any node, so that as much of them as of ours lies on the one that reads them."""
        return self.disks[(zlib.crc32(name.encode()) + index) % len(self.disks)]
