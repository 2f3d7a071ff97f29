"""The threads that ``threads=`` asks for: started when first asked for, and kept."""

from __future__ import annotations

import atexit
import os
import threading

import numpy as np

from faultset_ray.kernels.jit import HAVE_NUMBA

from . import check
from .check import THREADS_MAX

if HAVE_NUMBA:
    from faultset_ray.kernels import team


class _Team:
    """Helpers at a board, see :mod:`faultset_ray.kernels.team`."""

    def __init__(self) -> None:
        self.start_anew()

    def start_anew(self) -> None:
        """Begin without threads: at first, and after a fork, which leaves them behind."""
        self._space = np.zeros(team.board_bytes(THREADS_MAX) + 64, dtype=np.uint8)
        self.board = -(-self._space.ctypes.data // 64) * 64
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        self._cpus = len(os.sched_getaffinity(0))

    def helpers(self, count: int) -> int:
        """Return how many helpers there are, up to ``count`` and to the other CPUs; they are started if need be."""
        count = min(count, self._cpus - 1)
        if len(self._threads) < count:
            with self._lock:
                for number in range(len(self._threads), 0 if self._closed else count):
                    name = f"faultset-fold-{number}"
                    thread = threading.Thread(target=team.help_out, args=(self.board, number), name=name, daemon=True)
                    thread.start()
                    self._threads.append(thread)
        return min(count, len(self._threads))

    def close(self) -> None:
        """Let all helpers end, and wait for them: the interpreter must not go from under them."""
        with self._lock:
            self._closed = True
            team.close(self.board, len(self._threads))
            for thread in self._threads:
                thread.join()
            self._threads.clear()


if HAVE_NUMBA:
    _team = _Team()
    os.register_at_fork(after_in_child=_team.start_anew)
    atexit.register(_team.close)


def recruit(threads: object) -> tuple[int, int]:
    """Return the address of a board, and how many helpers at it make up so many threads in all.

    They are no more than there are CPUs for, and none without numba.

    Raises
    ------
    InputError
        If ``threads`` is not 1 to 64.
    """
    count = check.thread_count(threads)
    return (_team.board, _team.helpers(count - 1)) if HAVE_NUMBA and count > 1 else (0, 0)
