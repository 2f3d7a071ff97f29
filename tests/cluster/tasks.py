"""Servants and tasks of this suite; workers import this module by its name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from error_samples import sample

from faultset_ray import codes, errors
from faultset_ray.backend.protocol import Net, Servant
from faultset_ray.codes import engine
from faultset_ray.limits import MIB
from faultset_ray.objects.pool import threads_of
from faultset_ray.objects.stripes import encode_rows
from faultset_ray.shards.format import Header


class Raising(Servant):
    def fail(self, name: str) -> None:
        raise sample(getattr(errors, name))


async def engine_and_variables(_: Net) -> tuple[str, dict[str, str]]:
    """What codes run on in a task's process, and what that was told by its environment."""
    told = {name: value for name, value in os.environ.items() if name in {"FAULTSET_ENGINE", "FAULTSET_PLUGINS"}}
    return engine.active(), told


def cpu_ticks() -> dict[str, int]:
    """CPU time of every thread of this process, in clock ticks."""
    ticks = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks[task.name] = int(fields[11]) + int(fields[12])
    return ticks


async def busy_threads(net: Net) -> tuple[int, int]:
    """Encode stripes as the pool does; how many threads the net allows, and how many were kept busy by it."""
    code = codes.get("rs:10+4")
    rows = np.ones((code.k, 4 * MIB), np.uint8)
    header = Header(0, code.k, code.n, 4 * MIB, bytes(16), code.spec)
    threads = threads_of(net)
    await net.compute(encode_rows, rows, header, 0, threads)  # compiles
    before = cpu_ticks()
    for stripe in range(40):
        await net.compute(encode_rows, rows, header, stripe, threads)
    spent = [ticks - before.get(thread, 0) for thread, ticks in cpu_ticks().items()]
    return threads, sum(share > 0.1 * sum(spent) for share in spent)
