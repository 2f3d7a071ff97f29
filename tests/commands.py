"""``faultset`` as a process of its own, forked from one that has imported it: 0.1 s each, where a new Python takes 1.5.

What differs from a command in a shell is the start alone: its descriptors, directory, environment, signals and end
are those of any process. Whether there is a terminal was asked before, at the import.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SERVE = "import commands, sys; commands.fork_on_demand(int(sys.argv[1])); from jobs.cli import main; main()"
_VERBS = ("encode", "decode", "verify", "repair")
_MESSAGE_MAX = 1 << 20


def fork_on_demand(descriptor: int) -> None:
    """Returns in each child, made ready to be the command that was asked for; the parent ends with its client."""
    from typer.testing import CliRunner

    import faultset_ray as fs
    from jobs.cli import application

    for verb in _VERBS:  # imports what they need, and refuses
        assert CliRunner().invoke(application, [verb, "nowhere"]).exit_code != 0
    fs.unpack_shards(fs.pack_shards(b"x", "rs:4+2")[2:])  # the kernels too
    gc.freeze()  # so that no child takes apart what it shares
    client = socket.socket(fileno=descriptor)
    while True:
        message, descriptors, _, _ = socket.recv_fds(client, _MESSAGE_MAX, 3)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            client.close()
            _become(json.loads(message), descriptors)
            return
        for given in descriptors:
            os.close(given)
        client.send(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(wanted: dict, descriptors: list[int]) -> None:
    for number, given in enumerate(descriptors):
        os.dup2(given, number)
        os.close(given)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until the process ends
    os.chdir(wanted["directory"])
    os.environ.clear()
    os.environ.update(wanted["environ"])
    sys.argv[1:] = wanted["arguments"]
    signal.alarm(120)  # in place of a test that hangs


class _Parent:
    """The process that forks, and this one's line to it."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def run(self, wanted: dict, descriptors: list[int]) -> int:
        socket.send_fds(self._line, [json.dumps(wanted).encode()], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return int(json.loads(self._line.recv(64)))


@cache
def _parent() -> _Parent:
    return _Parent()


def faultset(directory, *arguments, stdin=b"", stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    """Runs a command to its end, as ``subprocess.run`` does."""
    kept, ends, got = [], [], {}

    def gather(name, end):
        with os.fdopen(end, "rb") as stream:
            got[name] = stream.read()

    def feed(end):
        with suppress(BrokenPipeError), os.fdopen(end, "wb") as stream:  # not all commands read
            stream.write(stdin)

    read, write = os.pipe()
    kept.append(read)
    ends.append(threading.Thread(target=feed, args=(write,), daemon=True))
    for name, given in (("stdout", stdout), ("stderr", stderr)):
        if given == subprocess.PIPE:
            read, write = os.pipe()
            kept.append(write)
            ends.append(threading.Thread(target=gather, args=(name, read), daemon=True))
        else:
            kept.append(os.dup(given))
    for end in ends:
        end.start()
    wanted = {"directory": str(directory), "environ": dict(os.environ), "arguments": [*map(str, arguments)]}
    code = _parent().run(wanted, kept)
    for end in ends:
        end.join()
    return subprocess.CompletedProcess(arguments, code, got.get("stdout"), got.get("stderr"))
