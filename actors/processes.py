"""Processes of this machine by more than their number, which another may have by now; and their ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_LOOK_SECONDS = 0.05
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told apart from all that had its number before or will have it."""

    pid: int
    started: int
    """When, in ticks since the machine was booted."""
    boot: str
    """Which boot that was."""

    @property
    def runs(self) -> bool:
        """Whether it is there still; one that has ended and waits for its parent is not."""
        return _started(self.pid) == self.started and _boot() == self.boot

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this process and no other; whether it was there to get it."""
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(self.pid)
            try:
                if self.runs:  # only now, as from here on the number can't be given to another
                    signal.pidfd_send_signal(fd, number)
                    return True
            finally:
                os.close(fd)
        return False


def process(pid: int) -> Process | None:
    """The process that has a number now; None if none has."""
    started = _started(pid)
    return None if started is None else Process(pid, started, _boot())


def process_tree(pid: int) -> list[int]:
    """A process and all its descendants, parents first, as ``/proc`` shows them now."""
    return _below(pid, _children())


def tree_of(roots: Iterable[Process]) -> list[Process]:
    """Those of the processes that run, and all their descendants, each once."""
    running = [root for root in roots if root.runs]
    children = _children()
    pids = {pid: None for root in running for pid in _below(root.pid, children)}
    return [found for pid in pids if (found := process(pid)) is not None]


def end(roots: Sequence[Process], seconds: float) -> list[Process]:
    """End processes and all below them: SIGTERM to these, SIGKILL to what is left after some seconds.

    Returns
    -------
    list of Process
        All that were there to be ended.
    """
    ended = tree_of(roots)
    for root in roots:
        root.send(signal.SIGTERM)
    if not gone_within(ended, seconds):
        left = {each.pid: each for each in (*tree_of(roots), *tree_of(ended))}
        for each in left.values():
            each.send(signal.SIGKILL)
        gone_within(list(left.values()), seconds)
    return ended


def gone_within(processes: Sequence[Process], seconds: float) -> bool:
    """Wait until none of them runs; False if some do after so many seconds."""
    ends_s = time.monotonic() + seconds
    while any(each.runs for each in processes):
        if time.monotonic() > ends_s:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _below(pid: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    """A process and all its descendants, parents first."""
    tree = [pid]
    for member in tree:
        tree.extend(children.get(member, ()))
    return tree


def _children() -> dict[int, list[int]]:
    """The children of each process that has some, as ``/proc`` shows them now."""
    children: dict[int, list[int]] = {}
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        fields = _fields(pid)
        if fields is not None:  # else it ended while we looked
            children.setdefault(int(fields[1]), []).append(pid)
    return children


def _started(pid: int) -> int | None:
    fields = _fields(pid)
    return None if fields is None or fields[0] in "ZX" else int(fields[19])


def _fields(pid: int) -> list[str] | None:
    """What the kernel tells of a process behind its name: state, parent and so on; None where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _boot() -> str:
    return _BOOT.read_text().strip()
