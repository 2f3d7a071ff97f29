"""Sharing the columns of a fold between threads; kernels run without the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from faultset_ray.errors import InputError

from . import check

THREADS_MAX: Final = 64
_PARTS_A_THREAD: Final = 4
_LINE: Final = 64
"""Columns are split at cache lines."""

_jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
_started = 0
_start_lock = threading.Lock()


def _forget_threads() -> None:
    """After a fork there are none."""
    global _jobs, _started, _start_lock
    _jobs, _started, _start_lock = SimpleQueue(), 0, threading.Lock()


os.register_at_fork(after_in_child=_forget_threads)


def _serve(jobs: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        jobs.get()()


def _start_threads(count: int) -> None:
    global _started  # noqa: PLW0603
    with _start_lock:
        for number in range(_started, count):
            threading.Thread(target=_serve, args=(_jobs,), name=f"faultset-fold-{number}", daemon=True).start()
        _started = max(_started, count)


def part_count(threads: object) -> int:
    """Return in how many parts to cut the work for so many threads."""
    count = check.integer("threads", threads)
    if not 1 <= count <= THREADS_MAX:
        raise InputError(f"threads is {count}; expected 1 to {THREADS_MAX}")
    return 1 if count == 1 else count * _PARTS_A_THREAD


def columns(part: int, parts: int, length: int) -> tuple[int, int]:
    """Return where a part of the columns begins and ends."""
    share = -(-length // (parts * _LINE)) * _LINE
    return (0, length) if parts == 1 else (min(part * share, length), min((part + 1) * share, length))


def run_parts(work: Callable[[int], object], parts: int) -> None:
    """Call ``work(0)`` … ``work(parts - 1)`` in this thread and others, each taking the next part.

    This thread waits for parts under way, not for threads that have not begun: on a busy machine it
    does all the work itself. Threads are kept; a pool of ``concurrent.futures`` takes several times as
    long to hand a part over, which at 1 MiB a shard is most of the gain.
    """
    if parts == 1:
        work(0)
        return
    left = iter(range(parts))  # one step of it is atomic
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def take() -> None:
        for part in left:
            try:
                work(part)
            except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
                ended.put(error)
            else:
                ended.put(None)

    helpers = parts // _PARTS_A_THREAD - 1
    if _started < helpers:
        _start_threads(helpers)
    for _ in range(helpers):
        _jobs.put(take)
    take()
    for error in [ended.get() for _ in range(parts)]:
        if error is not None:
            raise error
