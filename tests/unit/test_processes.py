"""Processes are ended by more than their number: real ones, trees, and numbers that were given to others."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from actors import processes
from actors.processes import end, gone_within, process, tree_of

STUBBORN = (
    "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(600)"
)


@pytest.fixture
def started():
    """Start processes; all are gone afterwards."""
    all_of_them = []

    def start(*command, said=b""):
        made = subprocess.Popen(command, stdout=subprocess.PIPE)
        all_of_them.append(made)
        assert made.stdout.readline().strip() == said
        return made

    yield start
    for made in all_of_them:
        made.kill()
        made.wait()
        made.stdout.close()


def test_a_process_is_known_again(started):
    made = started("sh", "-c", "echo; exec sleep 600")
    known = process(made.pid)
    assert known.runs
    assert process(made.pid) == known
    for other in (
        dataclasses.replace(known, started=known.started - 1),
        dataclasses.replace(known, boot="another"),
    ):
        assert not other.runs
        assert not other.send(signal.SIGKILL), "its number is another's now"
        assert end([other], 0.0) == []
    assert made.poll() is None
    assert known.send(signal.SIGKILL)
    made.wait()
    assert not known.runs
    assert not known.send(signal.SIGKILL)
    assert process(made.pid) is None


def test_one_that_ended_and_was_not_waited_for_does_not_run(started):
    made = started("sh", "-c", "echo; exec sleep 600")
    known = process(made.pid)
    known.send(signal.SIGTERM)
    assert gone_within([known], 10.0)
    assert made.returncode is None, "a zombie still"


def test_a_whole_tree_ends(started):
    made = started("sh", "-c", "sleep 600 & sleep 600 & echo; wait")
    tree = tree_of([process(made.pid)])
    assert tree[0].pid == made.pid
    assert len(tree) == 3
    ended = end(tree, 10.0)
    assert {each.pid for each in ended} == {each.pid for each in tree}
    assert not any(each.runs for each in tree)


def test_what_does_not_heed_is_killed_with_all_below_it(started):
    made = started(sys.executable, "-c", STUBBORN, said=b"on")
    known = process(made.pid)
    assert end([known], 0.2) == [known]
    assert made.wait(10) == -signal.SIGKILL


def test_what_lost_its_parent_is_found_by_its_own_record(started):
    made = started("sh", "-c", "sleep 600 & echo; wait")
    root, child = tree_of([process(made.pid)])
    os.kill(made.pid, signal.SIGKILL)
    made.wait()
    assert child.runs
    assert end([root, child], 10.0) == [child]
    assert not child.runs


def test_there_is_no_such_process():
    assert process(2**22 + 1) is None
    assert processes.tree_of([processes.Process(2**22 + 1, 1, "x")]) == []
