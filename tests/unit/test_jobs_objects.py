"""The verbs of objects, each as a process would run it, on one system in this process: JSON, exit codes, files."""

import io
import json
import os
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from damaging import flip
from places import PLACES
from typer.testing import CliRunner

import faultset_ray as fs
import jobs.connecting
from faultset_ray.backend.local import LocalBackend
from jobs import output
from jobs.cli import application
from jobs.output import DAMAGED, NOT_RECOVERABLE, OK, UNREACHED, USAGE

DATA = bytes(range(256)) * 4000
REFUSED = 5


class System:
    """A system whose places can be killed, and whose catalog can be lost."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.made: list[bool] = []
        self.start()

    def start(self) -> None:
        self.backend = LocalBackend(PLACES)
        self.driver = fs.connect(backend=self.backend, system="verbs", state_dir=str(self.state))

    def lose_the_catalog(self) -> None:
        self.driver.shutdown()
        shutil.rmtree(self.state)
        self.start()

    def kill_place_of(self, name: str, count: int) -> None:
        for _, place, _ in list(self.driver.stat(name).locations.values())[:count]:
            self.backend.kill(place)

    def connect(self, address, *, system, create, config):
        self.made.append(create)
        return self

    def __enter__(self) -> fs.Driver:
        return self.driver

    def __exit__(self, *_) -> None:
        """Its end is not the command's."""


@contextmanager
def opened(folder, monkeypatch):
    """A system that verbs find, in a directory with ``data``."""
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(folder / "stores"))
    monkeypatch.chdir(folder)
    Path("data").write_bytes(DATA)
    system = System(folder)
    monkeypatch.setattr(jobs.connecting, "connect", system.connect)
    yield system
    system.driver.shutdown()


@pytest.fixture
def system(tmp_path, monkeypatch):
    with opened(tmp_path, monkeypatch) as system:
        yield system


@pytest.fixture
def verb(system, monkeypatch, capsysbinary):
    """Exit code, the JSON of the last line, and what else is on stdout."""

    def call(*arguments, data=b""):
        monkeypatch.setattr(sys, "argv", ["faultset", *map(str, arguments), "--json"])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(SystemExit) as ended:
            output.run(application)
        out, err = capsysbinary.readouterr()
        told = (out if out.endswith(b"}\n") else err).splitlines()
        return ended.value.code or 0, json.loads(told[-1]), out

    return call


def test_a_file_there_and_back(verb, system):
    code, told, _ = verb("put", "ledger/ü 1", "data", "--code", "rs:3+2")
    assert (code, told["n_durable"], told["survivable"], told["durability"]) == (OK, 5, 2, "fsync")
    assert (told["name"], told["size"], told["code"]) == ("ledger/ü 1", len(DATA), "rs:3+2,matrix=cauchy")
    assert system.made == [True], "put makes a system"
    code, again, _ = verb("get", "ledger/ü 1", "back")
    assert (code, again["size"], Path("back").read_bytes()) == (OK, len(DATA), DATA)
    assert system.made[1:] == [False], "and nothing else does"
    code, listed, _ = verb("ls", "led")
    assert [(each["name"], each["generation"]) for each in listed["objects"]] == [("ledger/ü 1", told["generation"])]
    assert verb("ls", "none")[1]["objects"] == []
    code, found, _ = verb("stat", "ledger/ü 1")
    assert (code, found["health"], found["survivable"], found["missing"]) == (OK, "healthy", 2, {})
    assert sorted(found["locations"]) == list("01234")
    assert all(Path(each["path"]).is_file() for each in found["locations"].values())


def test_through_pipes_and_ranges(verb):
    assert verb("put", "piped", "-", data=DATA)[1]["size"] == len(DATA)
    code, told, out = verb("get", "piped", "-")
    assert (code, told["size"], out) == (OK, len(DATA), DATA)
    assert verb("get", "piped", "-", "--range", "100:300")[2] == DATA[100:300]
    assert verb("get", "piped", "some", "--range", "100:300")[0] == OK
    assert Path("some").read_bytes() == DATA[100:300]
    for bad in ("100", "a:b", "5:4:3"):
        assert verb("get", "piped", "none", "--range", bad)[0] == USAGE
    code, told, _ = verb("get", "piped", "none", "--range", f"0:{len(DATA) + 1}")
    assert (code, told["error"]["code"]) == (USAGE, "input_error")
    assert not Path("none").exists()


def test_conditions(verb):
    first = verb("put", "lock", "data", "--if-absent")[1]["generation"]
    code, told, _ = verb("put", "lock", "data", "--if-absent")
    assert (code, told["error"]["code"], told["error"]["found"]) == (USAGE, "precondition_failed", first)
    assert verb("put", "lock", "data", "--if-generation", first)[0] == OK
    assert verb("put", "lock", "data", "--if-generation", first)[0] == USAGE


def test_what_can_not_be_put(verb):
    assert verb("put", "a", "no such file")[0] == USAGE
    code, told, _ = verb("put", "", "data")
    assert (code, told["error"]["code"]) == (USAGE, "invalid_object_name")
    code, told, _ = verb("put", "a", "data", "--code", "rs:8+4")
    assert (code, told["error"]["code"]) == (REFUSED, "not_enough_places")
    assert verb("put", "a", "data", "--code", "rs:8+4", "--tolerate", 1)[1]["survivable"] >= 1


def test_a_file_is_put_by_its_path(verb):
    """Its size is known before a byte is read: what has no room is refused at once."""
    with Path("huge").open("wb") as file:
        file.truncate(1 << 43)
    code, told, _ = verb("put", "huge", "huge")
    assert (code, told["error"]["code"]) == (REFUSED, "not_enough_places")
    assert verb("ls")[1]["objects"] == []


def test_what_is_no_file_is_read_as_it_comes(verb):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(DATA))
    writer.start()
    code, told, _ = verb("put", "piped", "pipe")
    writer.join()
    assert (code, told["size"]) == (OK, len(DATA))
    assert verb("put", "a", ".")[0] == USAGE


def test_deleted_and_brought_back(verb):
    for name in "ab":
        verb("put", name, "data")
    code, told, _ = verb("rm", "a", "none", "b")
    assert (code, sorted(told["generations"]), list(told["failed"])) == (USAGE, ["a", "b"], ["none"])
    assert told["error"]["code"] == "object_not_found"
    assert verb("ls")[1]["objects"] == []
    assert verb("get", "a", "back")[0] == USAGE
    assert [each["name"] for each in verb("ls", "--deleted")[1]["objects"]] == ["a", "b"]
    code, told, _ = verb("rm", "--undo", "--grace", 5, "a")
    assert (code, told["error"]["code"]) == (USAGE, "usage"), "which would do nothing"
    assert verb("rm", "--undo", "a")[0] == OK
    assert verb("get", "a", "back")[0] == OK


def test_places_lost_and_mended(verb, system):
    verb("put", "a", "data", "--code", "rs:4+2")
    assert verb("status")[:1] == (OK,)
    system.kill_place_of("a", 2)
    assert verb("stat", "a")[1]["health"] == "degraded"
    code, told, _ = verb("status")
    assert (code, told["objects"], told["healthy"], told["margins"]) == (DAMAGED, 1, 0, {"0": 1})
    assert sum(not each["here"] for each in told["stores"]) == 2
    code, told, _ = verb("repair")
    assert (code, told["objects"], told["shards"], told["failed"]) == (OK, 1, 2, {})
    assert verb("status")[0] == OK
    system.kill_place_of("a", 3)
    assert verb("status")[0] == NOT_RECOVERABLE
    assert verb("repair")[0] == NOT_RECOVERABLE
    code, told, _ = verb("get", "a", "back")
    assert (code, told["error"]["code"]) == (NOT_RECOVERABLE, "not_enough_shards")
    assert not Path("back").exists()


def test_damage_is_found_and_mended(verb, system):
    verb("put", "a", "data", "--code", "rs:4+2")
    code, told, _ = verb("scrub", "--deep")
    assert (code, told["shards"], told["missing"], told["corrupt"], told["orphans"]) == (OK, 6, 0, 0, [])
    assert told["bytes"] > len(DATA)
    flip(Path(system.driver.stat("a").locations[3][2]), 5000)
    code, told, _ = verb("scrub", "--deep", "--bytes-per-s", 1e9)
    assert (code, told["missing"], told["corrupt"]) == (DAMAGED, 0, 1)
    assert verb("repair")[1]["shards"] <= 1, "unless the background was first"
    code, told, _ = verb("scrub", "--deep")
    assert (code, told["missing"], told["corrupt"]) == (OK, 0, 0)


def test_a_scrub_that_did_not_reach_all_stores_says_so(verb, system):
    verb("put", "a", "data", "--code", "rs:4+2", "--tolerate", 2)
    uuid = system.driver.stat("a").locations[0][0]
    system.kill_place_of("a", 1)
    code, told, _ = verb("scrub")
    assert (code, told["silent"], told["missing"], told["corrupt"]) == (UNREACHED, [uuid], 0, 0)


def test_shards_that_no_object_needs_are_dropped_on_request(verb, system):
    system.driver.encode(DATA, "rs:4+2")
    code, told, _ = verb("scrub")
    assert (code, len(told["orphans"]), told["dropped"], told["freed_bytes"]) == (OK, 6, 0, 0)
    nbytes = sum(each["file_bytes"] for each in told["orphans"])
    code, told, _ = verb("scrub", "--drop-orphans")
    assert (code, len(told["orphans"]), told["dropped"], told["freed_bytes"]) == (OK, 6, 6, nbytes)
    assert verb("scrub")[1]["orphans"] == []


def test_a_place_is_let_go(verb, system):
    verb("put", "a", "data", "--code", "rs:4+2")
    place = system.driver.stat("a").locations[0][1]
    code, told, _ = verb("decommission", place)
    assert (code, told["objects"], told["shards"], len(told["stores"])) == (OK, 1, 1, 1)
    assert place not in {each["place"] for each in verb("stat", "a")[1]["locations"].values()}
    assert [each["state"] for each in verb("status")[1]["stores"]].count("retired") == 1
    other = system.driver.stat("a").locations[0][1]
    code, told, _ = verb("decommission", other, "--cancel")
    assert (code, told["which"], told["cancelled"]) == (OK, other, [])
    assert verb("decommission", other, "--cancel", "--force")[0] == USAGE
    code, told, _ = verb("decommission", "nowhere")
    assert (code, told["error"]["code"]) == (USAGE, "input_error")


def test_a_lost_catalog(verb, system):
    verb("put", "a", "data")
    verb("put", "b", "data")
    verb("rm", "b")
    code, told, _ = verb("rebuild")
    assert (code, told["error"]["code"]) == (USAGE, "input_error"), "it is not lost"
    system.lose_the_catalog()
    code, told, _ = verb("get", "a", "back")
    assert (code, told["error"]["code"]) == (REFUSED, "catalog_lost")
    code, told, _ = verb("rebuild")
    assert (code, told["objects"], told["deleted"], told["lost"]) == (OK, 1, 1, [])
    assert verb("get", "a", "back")[0] == OK
    assert Path("back").read_bytes() == DATA
    assert verb("rm", "--undo", "b")[0] == OK


def test_repair_of_a_directory_is_not_of_a_system(verb):
    assert verb("repair", "--object", "a")[0] == USAGE
    assert verb("repair", ".", "--bytes-per-s", 5)[0] == USAGE
    assert verb("repair", ".", "--address", "auto")[0] == USAGE


def test_what_people_see(system):
    def said(*arguments):
        return CliRunner().invoke(application, [*arguments]).stdout

    assert "1,024,000 bytes" in said("put", "bell\a", "data")
    assert "any 2 stores may be lost" in said("put", "plain", "data")
    assert r"'bell\x07'" in said("ls")
    assert "2 objects, 2,048,000 bytes" in said("ls")
    assert "healthy: bears 2 further losses of stores, promised 2" in said("stat", "plain")
    assert "2 have all their shards" in said("status")
    assert "8 stores" in said("status")
    assert "0 missing, 0 damaged" in said("scrub")
    assert "plain deleted" in said("rm", "plain")
    assert "plain is back" in said("rm", "--undo", "plain")
