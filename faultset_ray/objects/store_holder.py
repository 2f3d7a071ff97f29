"""Who holds a store's lock: told in the lock's file, so that a place that starts again waits for the one before.

A place that is started again may be quicker than the end of the process that served it: then its directory is still
locked, and with a new one its shards would seem to be away until the next start.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import threading
from pathlib import Path
from typing import Any

from faultset_ray.limits import STORE_LOCK_SECONDS
from faultset_ray.shards.disk import read_file

_BYTES_MAX = 4096


def sign(lock: io.FileIO, place: str) -> None:
    """Write down who holds a lock; it is for others of this host, so that nothing is synced."""
    body = json.dumps({"place": place, "pid": os.getpid(), "parent": os.getppid()}).encode()
    lock.seek(0)
    lock.truncate()
    lock.write(body)


def is_ending(path: Path, place: str) -> bool:
    """Whether another process holds a directory's lock, and is about to end.

    It serves the same place, which has one store, or its parent, a Ray node, is gone already.
    """
    holder = _holder(path)
    pid, parent = holder.get("pid"), holder.get("parent")
    if not isinstance(pid, int) or pid == os.getpid():
        return False
    return bool(place and holder.get("place") == place) or _parent(pid) not in {None, parent}


def wait(path: Path) -> None:
    """Until a directory's lock is free, or ``STORE_LOCK_SECONDS``."""
    try:
        lock = io.FileIO(os.open(path / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+")
    except FileNotFoundError:
        return

    def hold() -> None:
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    waiting = threading.Thread(target=hold, name="faultset-store-lock", daemon=True)
    waiting.start()
    waiting.join(STORE_LOCK_SECONDS)


def _holder(path: Path) -> dict[str, Any]:
    """What a lock's file says; nothing if it says nothing."""
    try:
        found = json.loads(read_file(path / "lock", _BYTES_MAX))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parent(pid: int) -> int | None:
    """The parent of a process of this host; None where there is no such process, or it can't be told."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
        return int(status.rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
