"""Sharing the columns of a fold between threads; kernels run without the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from faultset_ray.errors import InputError

from . import check

THREADS_MAX: Final = 64
_PARTS_A_THREAD: Final = 4
_LINE: Final = 64
"""Columns are split at cache lines."""

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _forget_pool() -> None:
    """After a fork the pool's threads are gone."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_pool)


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

    This thread does not wait for one that has not begun: on a busy machine it does all the work itself.
    """
    global _pool  # noqa: PLW0603
    if parts == 1:
        work(0)
        return
    left = iter(range(parts))  # one step of it is atomic

    def take() -> None:
        for part in left:
            work(part)

    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="faultset-fold")
        helpers = [_pool.submit(take) for _ in range(parts // _PARTS_A_THREAD - 1)]
    try:
        take()
    finally:
        begun = [helper for helper in helpers if not helper.cancel()]
        for helper in begun:
            helper.result()
