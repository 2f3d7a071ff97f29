"""The state directory: who may serve it, what is refused, what a damaged part costs."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from killed import checkpoint, fleet_of
from told import told

from faultset_ray.coordinator import catalog
from faultset_ray.coordinator.catalog import SCHEMA
from faultset_ray.coordinator.home import state_root
from faultset_ray.coordinator.roster import from_bytes, to_bytes
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import InputError, StaleEpoch, StateFailure, StateInUse, UnsupportedState
from faultset_ray.geohash import encode_many
from faultset_ray.model import Fleet


@pytest.fixture
def serve(tmp_path):
    """Start coordinators of one state; those still open are closed."""
    started = []

    def start(system="s", root=tmp_path):
        started.append(Coordinator(system, True, str(root)))
        started[-1].about()
        return started[-1]

    yield start
    for coordinator in started:
        coordinator.close()


def register(coordinator, numbers=range(50), request=None):
    fleet = fleet_of(numbers, 5.0)
    return coordinator.register(fleet, encode_many(fleet.lat, fleet.lon, 2), 2, 4, 1000, request=request)


def test_two_processes_never_serve_one_state(serve, tmp_path):
    serve()
    program = f"""
        from faultset_ray.coordinator.servant import Coordinator
        from faultset_ray.errors import StateInUse
        try:
            Coordinator("s", True, {str(tmp_path)!r}).about()
        except StateInUse as error:
            print(error.path)
    """
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "s")
    with pytest.raises(StateInUse):
        serve()
    assert serve("other").fleets() == [], "another system is another state"


def test_a_coordinator_that_closed_or_went_lets_go(serve):
    serve().close()
    coordinator = serve()
    assert coordinator.about().epoch == 2


def test_a_history_keeps_its_birth_with_its_state(serve, tmp_path):
    def births(coordinator):
        found = [coordinator.directory(name).birth for name in coordinator.fleets()]
        coordinator.close()
        return found

    first = serve()
    register(first)
    nodes = fleet_of(range(5), 5.0)
    nodes = Fleet(nodes.ids, nodes.lat, nodes.lon, nodes.latency_ms, name="g")
    first.register(nodes, encode_many(nodes.lat, nodes.lon, 2), 2, 4, 1000)
    told = births(first)
    assert len({*told}) == 2
    assert births(serve()) == told
    again = serve()
    again._ledger.catalog.adopt(bytes(16), 99, {"notes": [("written", b"")]}, {})
    assert births(again) == births(serve()) == told, "also where the catalog of objects is rebuilt from stores"
    with sqlite3.connect(tmp_path / "s" / "coordinator.db") as before_there_were_births:
        before_there_were_births.execute("DELETE FROM notes WHERE name = 'birth'")
    drawn = births(serve())
    assert not {*drawn} & {*told}
    assert births(serve()) == drawn
    shutil.rmtree(tmp_path / "s")
    anew = serve()
    register(anew)
    assert not {*births(anew)} & {*told, *drawn}


def test_a_checkpoint_of_another_history_is_refused(serve):
    coordinator = serve()
    register(coordinator)
    birth = coordinator.directory("f").birth
    assert coordinator.save("f", 0, 1, replace(checkpoint(1, 3), birth=birth)) == 3
    assert coordinator.checkpoint("f", 0).birth == birth
    with pytest.raises(StaleEpoch, match="of a fleet 'f' whose state was lost"):
        coordinator.save("f", 0, 1, replace(checkpoint(1, 9), birth="00ab"))
    assert coordinator.checkpoint("f", 0).version == 3


def test_a_directory_of_another_history_is_told_whole(serve):
    coordinator = serve()
    register(coordinator)
    now = coordinator.directory("f")
    assert coordinator.directory("f", now.version, now.birth) is None
    assert coordinator.directory("f", now.version, "00ab") is now


def test_a_coordinator_that_was_taken_over_is_refused(serve, tmp_path, caplog):
    """As when a lock does not hold, on a shared file system."""
    old = serve()
    register(old)
    with sqlite3.connect(tmp_path / "s" / "coordinator.db") as other:
        other.execute("UPDATE system SET epoch = epoch + 1")
    other.close()
    for use in (old.fleets, old.about, lambda: old.directory("f"), lambda: register(old, range(5))):
        with pytest.raises(StaleEpoch, match="coordinator is of epoch 1, the current epoch is 2"):
            use()
    fenced = told(caplog, "coordinator_fenced")
    assert [(each["epoch"], each["seen"]) for each in fenced] == [(1, 2)], "said once, as an error"


def test_a_later_schema_is_refused_and_not_touched(serve, tmp_path):
    serve().close()
    path = tmp_path / "s" / "coordinator.db"
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UnsupportedState, match=r"has schema 3, this version of faultset-ray reads up to 2") as caught:
        serve()
    assert (caught.value.theirs, caught.value.ours) == (SCHEMA + 1, SCHEMA)
    assert path.read_bytes() == before
    with pytest.raises(UnsupportedState):
        serve()


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_refused(serve, tmp_path, content):
    serve().close()
    path = tmp_path / "s" / "coordinator.db"
    path.write_bytes(content)
    with pytest.raises(StateFailure, match=r"coordinator.db could not be read: file is not a database"):
        serve()
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused(serve, tmp_path):
    (tmp_path / "s").mkdir()
    with sqlite3.connect(tmp_path / "s" / "coordinator.db") as other:
        other.execute("CREATE TABLE mine (a)")
    other.close()
    with pytest.raises(StateFailure, match="it is not a coordinator's"):
        serve()


def test_the_state_of_another_system_is_refused(serve, tmp_path):
    serve().close()
    (tmp_path / "s").rename(tmp_path / "t")
    with pytest.raises(StateFailure, match="it is the state of system 's', not 't'"):
        serve("t")


def test_modes_are_private_whatever_the_umask(serve, tmp_path):
    before = os.umask(0)
    try:
        coordinator = serve(root=tmp_path / "root")
        register(coordinator)
        coordinator.save("f", 0, 1, checkpoint(1, 3))
    finally:
        os.umask(before)
    found = [tmp_path / "root", *(tmp_path / "root").rglob("*")]
    assert {path.name for path in found} >= {"s", "lock", "coordinator.db", "coordinator.db-wal", "1-0-1-3.npz"}
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_links_are_not_followed(serve, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s").symlink_to("elsewhere")
    with pytest.raises(StateFailure, match="it is not a directory of this user's"):
        serve()
    assert list((tmp_path / "elsewhere").iterdir()) in ([], [tmp_path / "elsewhere" / "checkpoints"])


def test_a_directory_that_can_not_be_made_is_named(serve, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFailure, match=r"file/s could not be opened: File exists"):
        serve(root=tmp_path / "file")


def test_where_state_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FAULTSET_STATE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert state_root(None) == tmp_path / ".local" / "state" / "faultset-ray"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_root(None) == tmp_path / "xdg" / "faultset-ray"
    monkeypatch.setenv("FAULTSET_STATE_DIR", str(tmp_path / "env"))
    assert state_root(None) == tmp_path / "env"
    assert state_root(str(tmp_path / "given")) == tmp_path / "given"


def test_another_directory_than_the_one_it_serves_is_refused(serve, tmp_path):
    coordinator = serve()
    assert coordinator.about(str(tmp_path)).state_root == str(tmp_path)
    with pytest.raises(InputError, match=r"system 's' keeps its state in .*, not in /elsewhere"):
        coordinator.about("/elsewhere")
    with pytest.raises(InputError, match="keeps its state in memory, not in /elsewhere"):
        Coordinator("s").about("/elsewhere")


def damage(path, table, column="body"):
    with sqlite3.connect(path) as other:
        [(body,)] = other.execute(f"SELECT {column} FROM {table} LIMIT 1").fetchall()
        flipped = bytearray(body)
        flipped[len(flipped) // 2] ^= 1
        other.execute(f"UPDATE {table} SET {column} = ?", (bytes(flipped),))
    other.close()


def test_a_damaged_batch_is_named_and_nothing_is_served(serve, tmp_path):
    coordinator = serve()
    register(coordinator)
    coordinator.close()
    damage(tmp_path / "s" / "coordinator.db", "log")
    with pytest.raises(StateFailure, match="could not be read: batch 1 is damaged"):
        serve()


@pytest.mark.parametrize("how", ["flipped", "short", "gone"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(serve, tmp_path, caplog, how):
    coordinator = serve()
    register(coordinator)
    coordinator.save("f", 0, 1, checkpoint(1, 3))
    path = tmp_path / "s" / "checkpoints" / "1-0-1-3.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(data if how == "flipped" else data[: len(data) // 2])
    assert coordinator.checkpoint("f", 0) is None
    assert [each["range"] for each in told(caplog, "checkpoint_unreadable")] == [0]
    assert coordinator.save("f", 0, 1, checkpoint(1, 1)) == 1, "versions begin anew"
    assert coordinator.checkpoint("f", 0).version == 1


def test_old_checkpoints_and_those_of_no_transaction_are_removed(serve, tmp_path):
    coordinator = serve()
    register(coordinator)
    directory = tmp_path / "s" / "checkpoints"
    for version in range(4):
        coordinator.save("f", 0, 1, checkpoint(1, version))
        assert [path.name for path in directory.iterdir()] == [f"1-0-1-{version}.npz"]
    coordinator.close()
    (directory / "1-0-1-9.npz").write_bytes(b"")
    (directory / "1-0-1-4.npz.tmp").write_bytes(b"")
    assert serve().checkpoint("f", 0).version == 3
    assert [path.name for path in directory.iterdir()] == ["1-0-1-3.npz"]


def test_a_refused_write_changes_nothing(serve, monkeypatch):
    """A full disk, as SQLite tells it."""
    coordinator = serve()
    register(coordinator)
    before = coordinator.directory("f")
    coordinator._ledger.catalog._db.execute(
        f"PRAGMA max_page_count = {coordinator._ledger.catalog.one('PRAGMA page_count')[0]}"
    )
    with pytest.raises(StateFailure, match="could not be written: database or disk is full"):
        register(coordinator, range(50, 30_000))
    assert coordinator.directory("f", before.version) is None
    coordinator._ledger.catalog._db.execute("PRAGMA max_page_count = 1073741823")
    assert register(coordinator, range(50, 60)).handles.tolist() == list(range(50, 60))


def test_the_log_is_compacted_and_starts_stay_short(serve, monkeypatch):
    monkeypatch.setattr(catalog, "LOG_BATCHES_MAX", 30)
    coordinator = serve()
    register(coordinator)
    for number in range(100):
        register(coordinator, range(number % 40, number % 40 + 2))
    [count] = coordinator._ledger.catalog.one("SELECT COUNT(*) FROM log")
    assert count <= 31
    before = coordinator.directory("f")
    coordinator.close()
    after = serve().directory("f")
    assert after.version == before.version
    assert (after.cells == before.cells).all()
    assert list(after.fleet) == list(before.fleet)


def test_ids_of_any_text_come_back():
    ids = ["", "a", "é", "\n", "\x00", "日本" * 50, "\ud800", "a\nb"]
    batch = {"handles": np.arange(len(ids), dtype=np.uint32), "ids": np.array(ids, object)}
    assert from_bytes(bytes(to_bytes(batch)))["ids"].tolist() == ids
    plain = {"handles": np.arange(2, dtype=np.uint32), "ids": np.array(["x", "yz"], object)}
    assert from_bytes(bytes(to_bytes(plain)))["ids"].tolist() == ["x", "yz"]


def test_leases(serve):
    coordinator = serve()
    assert coordinator.lease("one", 10, 1_000) == coordinator.lease("two", 10, 10_999)
    assert coordinator.lease("one", 10, 2_000).until_ms == 12_000, "its holder may have it for longer"
    coordinator.close()
    coordinator = serve()
    assert coordinator.lease("two", 10, 11_999).holder == "one", "a restart does not end it"
    assert coordinator.lease("two", 10, 12_000).holder == "two"
    assert coordinator.lease("two", 0, 12_001).holder == ""
    assert coordinator.lease("one", 5, 12_002) == coordinator.lease("three", 5, 12_002)


def test_a_backup_made_while_it_is_served_restores(serve, tmp_path):
    """As docs/operations.md says: SQLite's own backup, then the checkpoints."""
    coordinator = serve()
    register(coordinator)
    coordinator.save("f", 0, 1, checkpoint(1, 3))
    before = coordinator.directory("f")
    with sqlite3.connect(tmp_path / "s" / "coordinator.db") as source, sqlite3.connect(tmp_path / "copy.db") as copy:
        source.backup(copy)
    source.close()
    copy.close()
    shutil.copytree(tmp_path / "s" / "checkpoints", tmp_path / "checkpoints")
    register(coordinator, range(50, 60))
    coordinator.close()
    shutil.rmtree(tmp_path / "s")
    (tmp_path / "s").mkdir()
    (tmp_path / "copy.db").rename(tmp_path / "s" / "coordinator.db")
    (tmp_path / "checkpoints").rename(tmp_path / "s" / "checkpoints")
    restored = serve()
    assert restored.directory("f").version == before.version
    assert list(restored.directory("f").fleet) == list(before.fleet)
    assert restored.checkpoint("f", 0).version == 3


def test_a_commit_waits_for_the_disk(serve):
    """A kill does not show this, only a loss of power would: the kernel keeps what was written."""
    tables = serve()._ledger.catalog
    assert [tables.one(f"PRAGMA {name}") for name in ("journal_mode", "synchronous")] == [("wal",), (2,)]
