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


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """Nothing but that it is one is known of the terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    for forced in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(forced, raising=False)


@pytest.fixture
def system(tmp_path, monkeypatch):
    with opened(tmp_path, monkeypatch) as system:
        yield system


@pytest.fixture
def raw(monkeypatch):
    """What a terminal gets on stderr while a verb runs, to the byte."""

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
        return got.decode()

    return call


@pytest.fixture
def seen(system, raw):
    """What a terminal gets on stderr, without what moves the cursor and colours."""
    return lambda *arguments: re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw(*arguments))


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


RED = "\x1b[1;31m"


@pytest.mark.parametrize(
    ("environment", "coloured", "escapes"),
    [({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
)
def test_colours_are_the_terminals_to_have_and_the_users_to_refuse(raw, monkeypatch, environment, coloured, escapes):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told = raw("verify", "nowhere")
    assert (RED in told, "\x1b[" in told) == (coloured, escapes)
    assert "there is no directory nowhere" in told


def test_forced_colours_make_no_terminal_of_a_file(system, monkeypatch, capfd):
    """Where ``FORCE_COLOR`` is set, as in continuous integration, messages are coloured; a bar there would be a mess."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "argv", ["faultset", "put", "a", "data"])
    monkeypatch.setattr(output, "_errors", Console(stderr=True, highlight=False))
    with pytest.raises(SystemExit):
        output.run(application)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys, "argv", ["faultset", "get", "none", "back"])
    with pytest.raises(SystemExit):
        output.run(application)
    assert RED in capfd.readouterr().err


def test_quiet_shows_no_bar(seen):
    assert seen("put", "a", "data", "-q") == ""
    assert "no object" in seen("get", "none", "back", "--quiet"), "errors stay"
