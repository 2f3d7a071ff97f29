"""Threads of a fold: helpers do take part, sleep and wake; nothing is left undone at a fork or at the end."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from waiting import until

from faultset_ray import codes
from faultset_ray.codes import threads
from faultset_ray.codes.engine import Folder
from faultset_ray.kernels.gf_tables import matmul
from faultset_ray.kernels.jit import HAVE_NUMBA

pytestmark = [
    pytest.mark.skipif(not HAVE_NUMBA, reason="nothing is compiled"),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU"),
]

if HAVE_NUMBA:
    from faultset_ray.kernels import team

    def _meet(arguments, part, parts):
        """Wait until so many threads are here at a time as the first word says, or for some seconds; count them."""
        team._add(arguments + 8, 1)
        for _ in range(3_000_000):
            if team._get(arguments + 8) >= team._get(arguments):
                break
            team._sched_yield()
        if team._get(arguments + 8) >= team._get(arguments):
            team._add(arguments + 16, 1)

    MEET = team.Work(_meet)


def meet(threads_wanted=2):
    """How many of so many parts met the others, each of which needs a thread of its own."""
    words = np.array([threads_wanted, 0, 0], dtype=np.int64)
    board, helpers = threads.recruit(threads_wanted)
    assert helpers == threads_wanted - 1
    team.share(board, helpers, MEET.address, words.ctypes.data, threads_wanted)
    return words[2]


def asleep(number=0):
    return team.asleep(threads._team.board, number)


def test_a_helper_takes_part_and_wakes_up_for_it():
    assert meet() == 2
    for _ in range(50):
        until(asleep)
        assert meet() == 2
    for _ in range(1000):  # where it is awake, or about to sleep
        assert meet() == 2


@pytest.mark.parametrize("length", [70_001, 1 << 18])
def test_columns_are_all_made_once(length):
    matrix = np.random.default_rng(0).integers(0, 256, (3, 5), dtype=np.uint8)
    rows = np.random.default_rng(1).integers(0, 256, (5, length), dtype=np.uint8)
    expected = matmul(matrix, rows)
    out = np.zeros((3, length + 64), dtype=np.uint8)
    targets = [row[7 : 7 + length] for row in out]
    folder = Folder(matrix)
    folder.fold(list(rows), targets, 2)
    assert np.array_equal(targets, expected)
    folder.fold(list(rows), targets, 2, accumulate=True)  # a part that is made twice shows
    assert not out.any()


def test_many_callers_at_once():
    code = codes.get("rs:5+3")
    data = np.random.default_rng(0).integers(0, 256, (20, 5, 1 << 16), dtype=np.uint8)
    expected = [code.encode(stripe) for stripe in data]
    wrong = []

    def call(first):
        for number in range(100):
            stripe = (first + number) % len(data)
            if not np.array_equal(code.encode(data[stripe], threads=2), expected[stripe]):
                wrong.append(stripe)

    callers = [threading.Thread(target=call, args=(first,)) for first in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_there_are_no_more_threads_than_cpus(monkeypatch):
    monkeypatch.setattr(threads._team, "_cpus", 1)
    assert threads.recruit(64)[1] == 0


PRELUDE = """
import os, sys, threading
import numpy as np
from faultset_ray import codes
code = codes.get("rs:10+4")
data = np.random.default_rng(0).integers(0, 256, (10, 1 << 18), dtype=np.uint8)
parity = code.encode(data)
def right():
    return np.array_equal(code.encode(data, threads=2), parity)
assert right()
"""
FORK = """
for _ in range(10):
    assert right()
    child = os.fork()
    if not child:
        os._exit(0 if all(right() for _ in range(10)) and threading.active_count() == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
"""
EXIT = """
import atexit
out = np.empty_like(parity)
def forever():
    while True:
        code.encode(data, out, threads=2)
for _ in range(2):
    threading.Thread(target=forever, daemon=True).start()
for _ in range(100):
    assert right()
"""
AFTER = """
import atexit
atexit._clear()
from faultset_ray.codes import threads
threads._team.close()
assert right() and threads.recruit(2) == (threads._team.board, 0)
"""


@pytest.mark.parametrize("script", [FORK, EXIT, AFTER], ids=["fork", "exit", "closed"])
def test_processes_end_and_fork_well(script):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
