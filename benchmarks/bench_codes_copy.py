"""A plain copy on one thread and on several: what of it caches and memory bear is the bound of every code."""

import ctypes
import threading
import time

import numpy as np

_memcpy = ctypes.CDLL(None).memcpy  # ctypes lets go of the GIL
_memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcpy.restype = ctypes.c_void_p


class Copy:
    """Copies half of ``nbytes`` to another place, so that as many are read and written in all.

    Each thread keeps to columns of its own, as in a fold, and copies them over and over: starting threads
    costs as much as a copy.
    """

    def __init__(self, nbytes):
        self._source = np.random.default_rng(0).integers(0, 256, nbytes // 2, dtype=np.uint8)
        self._target = np.zeros_like(self._source)

    def seconds(self, threads, rounds):
        """Wall-clock seconds of a round, and the CPUs that were in use meanwhile."""
        bounds = np.linspace(0, self._source.size, threads + 1, dtype=np.int64).tolist()
        ready = threading.Barrier(threads)

        def work(number):
            begin, end = bounds[number : number + 2]
            source, target = self._source.ctypes.data + begin, self._target.ctypes.data + begin
            ready.wait()
            for _ in range(rounds):
                _memcpy(target, source, end - begin)

        helpers = [threading.Thread(target=work, args=(number,)) for number in range(1, threads)]
        for helper in helpers:
            helper.start()
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        work(0)
        for helper in helpers:
            helper.join()
        wall = time.perf_counter_ns() - wall
        return wall / rounds / 1e9, (time.process_time_ns() - cpu) / wall
