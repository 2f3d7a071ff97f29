"""What the verbs of objects show in a terminal while they work: how far they are, in figures; and nothing elsewhere."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from pathlib import Path

import pytest
from damaging import flip
from rich.console import Console
from unit.test_jobs_objects import opened

from jobs import output
from jobs.cli import application


@pytest.fixture
def system(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    for forced in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(forced, raising=False)
    with opened(tmp_path, monkeypatch) as system:
        yield system


@pytest.fixture
def seen(system, monkeypatch):
    """What a terminal gets on stderr while a verb runs."""

    def call(*arguments):
        ours, theirs = pty.openpty()
        got = bytearray()

        def read():
            try:
                while piece := os.read(ours, 4096):
                    got.extend(piece)
            except OSError:
                pass  # the other end is closed: that is how a terminal ends

        reading = threading.Thread(target=read)
        reading.start()
        monkeypatch.setattr(sys, "argv", ["faultset", *map(str, arguments)])
        with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patched:
            patched.setattr(sys, "stderr", terminal)
            patched.setattr(output, "_errors", Console(stderr=True, highlight=False))  # it looks once, as it is made
            with pytest.raises(SystemExit):
                output.run(application)
        reading.join(10)
        os.close(ours)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", got.decode())

    return call


SIZE = "1,000.0/1,000.0 KiB"
"""Of ``DATA``: done, of all."""
ALL_BYTES = re.compile(r"\b([1-9][\d.,]*)/\1 [KM]iB")


def test_how_far_a_verb_is(system, seen):
    assert SIZE in seen("put", "a", "data"), "a file's size is known from the start"
    assert SIZE in seen("get", "a", "back")
    assert "100/100 bytes" in seen("get", "a", "some", "--range", "100:200")
    assert "6/6 shards" in seen("scrub")
    assert ALL_BYTES.search(seen("scrub", "--deep"))
    flip(Path(system.driver.stat("a").locations[3][2]), 5000)
    assert ALL_BYTES.search(seen("scrub", "--deep"))
    place = system.driver.stat("a").locations[0][1]
    assert ALL_BYTES.search(seen("decommission", place))
    system.kill_place_of("a", 1)
    assert ALL_BYTES.search(seen("repair"))
    system.lose_the_catalog()
    assert re.search(r"\b([1-9]\d*)/\1 shards", seen("rebuild"))


def test_programs_see_none_of_it(seen):
    for arguments in (("put", "a", "data"), ("get", "a", "back"), ("scrub",), ("repair",)):
        assert seen(*arguments, "--json") == ""


def test_a_reader_has_no_end_that_is_known(seen, monkeypatch):
    with Path("data").open("rb") as file:
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": file}))
        assert "1,000.0/? KiB" in seen("put", "a", "-")
