"""A driver of objects in a process of its own: ``python -m cluster.kept_objects STEP …``; prints what it saw as JSON.

``write`` puts, overwrites and deletes objects; ``crash POINT NAME`` ends at a failpoint of a put; ``show`` reads all.
``pause POINT NAME`` stops at a failpoint of a put that wants to be the first, and tells what came of it when it goes on;
``insist NAME …`` puts other bytes, and wants to be the first too.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
from waiting import until

import faultset_ray as fs
from faultset_ray import failpoints

SYSTEM = "kept"
CODES = ("rs:2+2", "rs:2+1", "copy:3")
SIZES = (0, 1, 70_000, 3_000_001)
STRIPE_BYTES = 1 << 20
PAUSED_BYTES = 100_000
"""Of an object that is put with a pause."""
CRASHED = 77
"""Exit code of a driver that ended at a failpoint."""


def payload(name: str, size: int) -> bytes:
    return np.random.default_rng([size, *name.encode()]).bytes(size)


def write(driver: fs.Driver) -> None:
    for code in CODES:
        for size in SIZES:
            name = f"{code} ø/{size}"
            driver.put(name, payload(name, size), code=code, tolerate=1, stripe_bytes=STRIPE_BYTES)
    for name, size in (("twice", 10), ("twice", 200_000), ("gone", 20)):
        driver.put(name, payload(name, size), code="rs:2+1")
    driver.delete("gone")


def crash(driver: fs.Driver, point: str, name: str) -> None:
    with failpoints.arm(point, lambda: os._exit(CRASHED)):
        driver.put(name, payload(name, 100_000), code="rs:2+2")


def pause(driver: fs.Driver, point: str, name: str) -> dict[str, object]:
    def stand_still() -> None:
        # to this thread: a signal to the process would be another thread's, and this one would go on for a moment
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    with failpoints.arm(point, stand_still):
        try:
            receipt = driver.put(name, payload(name, PAUSED_BYTES), code="rs:2+1", if_absent=True)
        except fs.errors.FaultsetError as error:
            return {"won": False, "error": error.code, "why": str(error)}
    return {"won": True, "generation": receipt.generation}


def insist(driver: fs.Driver, *names: str) -> dict[str, bool]:
    """Whether this driver was the first of each name, once that is settled."""

    def attempt(name: str) -> list[bool]:
        try:
            driver.put(name, second(name, PAUSED_BYTES), code="rs:2+1", if_absent=True)
        except fs.errors.WriteInProgress:
            return []
        except fs.errors.PreconditionFailed:
            return [False]
        return [True]

    with ThreadPoolExecutor(len(names)) as threads:
        return dict(zip(names, threads.map(lambda name: until(lambda: attempt(name), 180.0)[0], names), strict=True))


def second(name: str, size: int) -> bytes:
    """What who comes second wants to put."""
    return payload(f"second {name}", size)


def show(driver: fs.Driver) -> dict[str, object]:
    """All that can be told of the objects but the places, which get other NodeIDs."""
    found = {}
    for listed in driver.list():
        stat = asdict(driver.stat(listed.name))
        stat["locations"] = {index: (store, path) for index, (store, _, path) in stat["locations"].items()}
        data = driver.get(listed.name)
        assert hashlib.sha256(data).hexdigest() == listed.sha256
        stat["by"] = [payload(listed.name, len(data)), second(listed.name, len(data))].index(data)
        found[listed.name] = stat
    return {"objects": found, "deleted": driver.status().tally.deleted}


STEPS = {"pause": pause, "insist": insist}


def main(step: str, *more: str) -> None:
    with fs.connect(system=SYSTEM) as driver:
        if step == "write":
            write(driver)
        if step == "crash":
            crash(driver, *more)
        found = STEPS[step](driver, *more) if step in STEPS else show(driver)
        print("FOUND", json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
