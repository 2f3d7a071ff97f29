import gc
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from stores import FENCE, shard_files, store_at
from told import told
from waiting import until

from faultset_ray.errors import InputError, StoreFailure
from faultset_ray.objects import store_holder
from faultset_ray.objects.store_home import claim, claim_private, remove_leftovers
from faultset_ray.shards.format import Header

HEADER = Header(0, 2, 3, 64, b"w" * 16, "xor:2+1")

SERVE = """
import os, sys
from faultset_ray.objects.store import Store
store = Store(sys.argv[1] or None, "there", "r", "system", os.urandom(16))
print(store.info().path, flush=True)
sys.stdin.read()
"""


def serve(root, **options):
    """A store in a process of its own, and its directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    return process, Path(process.stdout.readline().strip())


def reapers(path):
    """Processes that were given a directory to remove."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"faultset-store-reaper" in arguments and str(path).encode() in arguments:
                found.append(process)
    return found


def seal_empty(store):
    store.begin(HEADER.pack())
    store.seal(HEADER.write_id, 0, 0, 0, bytes(32))


def test_two_stores_under_one_root_have_each_their_own(tmp_path):
    one, two = store_at(tmp_path, "a"), store_at(tmp_path, "b")
    assert one.info().uuid != two.info().uuid
    assert sorted(path.name for path in (tmp_path / "system").iterdir()) == sorted([one.info().uuid, two.info().uuid])
    one.close()
    two.close()


def test_a_free_one_is_taken_with_its_shards(tmp_path):
    one, two = store_at(tmp_path, "a"), store_at(tmp_path, "b")
    seal_empty(two)
    freed = two.info().uuid
    two.close()
    heir = store_at(tmp_path, "c")
    assert heir.info().uuid == freed
    assert [file.header for file in shard_files(heir)] == [HEADER]
    assert len(list((tmp_path / "system").iterdir())) == 2
    one.close()
    heir.close()


def test_another_process_is_locked_out_until_it_dies(tmp_path):
    process, path = serve(tmp_path)
    try:
        with_other = store_at(tmp_path, "b")
        assert Path(with_other.info().path) != path
        process.kill()
        process.wait()
        heir = store_at(tmp_path, "c")
        assert Path(heir.info().path) == path
        heir.close()
        with_other.close()
    finally:
        process.kill()
        process.communicate()


def test_the_process_before_is_waited_for_where_it_served_the_same_place(tmp_path):
    process, path = serve(tmp_path)
    threading.Timer(0.5, process.kill).start()
    try:
        heir = store_at(tmp_path, "there")
        assert Path(heir.info().path) == path
        assert len(list((tmp_path / "system").iterdir())) == 1
        heir.close()
    finally:
        process.kill()
        process.communicate()


def test_the_process_before_is_waited_for_where_its_node_ended(tmp_path):
    start = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]).wait()"
    command = [sys.executable, "-c", start, SERVE, str(tmp_path)]
    node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    path = Path(node.stdout.readline().strip())
    node.kill()
    node.wait()
    threading.Timer(0.5, node.stdin.close).start()
    heir = store_at(tmp_path, "another")
    assert Path(heir.info().path) == path
    heir.close()
    node.stdout.close()


def test_one_that_goes_on_is_waited_for_no_longer_than_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(store_holder, "STORE_LOCK_SECONDS", 0.2)
    process, path = serve(tmp_path)
    try:
        other = store_at(tmp_path, "there")
        assert Path(other.info().path) != path
        process.kill()
        process.wait()
        until(lambda: "faultset-store-lock" not in {thread.name for thread in threading.enumerate()})
        heir = store_at(tmp_path, "there")
        assert Path(heir.info().path) == path, "who had waited does not keep the lock"
        heir.close()
        other.close()
    finally:
        process.kill()
        process.communicate()


def test_leftovers_are_wiped_at_start(tmp_path):
    store = store_at(tmp_path, "a")
    seal_empty(store)
    other = Header(1, 2, 3, 64, b"w" * 16, "xor:2+1")
    store.begin(other.pack())
    home = Path(store.info().path)
    # As after a crash: the process is gone, its unsealed file is not.
    leftover = next((home / "tmp").iterdir())
    raw = leftover.read_bytes()
    store.close()
    assert not leftover.exists()
    leftover.write_bytes(raw)
    again = store_at(tmp_path, "a")
    assert not leftover.exists()
    assert len(shard_files(again)) == 1
    again.close()


def test_the_identity_is_on_disk(tmp_path):
    store = store_at(tmp_path, "a")
    home = Path(store.info().path)
    assert json.loads((home / "store.json").read_text()) == {
        "format": 2,
        "uuid": store.info().uuid,
        "system": "system",
        "region": "eu",
    }
    assert sorted(path.name for path in home.iterdir()) == [
        "lock",
        "quarantine",
        "records-0.db",
        "records-0.db-shm",
        "records-0.db-wal",
        "shards",
        "spare",
        "store.json",
        "tmp",
    ]
    store.close()


def test_a_crash_while_it_was_made_is_made_good(tmp_path):
    store = store_at(tmp_path, "a")
    home = Path(store.info().path)
    store.close()
    (home / "store.json").unlink()
    (home / "tmp").rmdir()
    again = store_at(tmp_path, "a")
    assert Path(again.info().path) == home
    assert json.loads((home / "store.json").read_text())["uuid"] == home.name
    again.close()


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        ('{"format": 1, "uuid": "%s"}', "not of format 2"),
        ('{"format": 2, "uuid": "other", "system": "system"}', "names the store 'other'"),
        ('{"format": 2, "uuid": "%s", "system": "another"}', "of system 'another'"),
        ("[]", "not of format 2"),
        ("{", "not JSON"),
        ("\\xff" * 5000, "not JSON"),
    ],
)
def test_what_is_not_ours_is_left_alone(tmp_path, caplog, identity, reason):
    store = store_at(tmp_path, "a")
    home = Path(store.info().path)
    store.close()
    identity = identity % home.name if "%s" in identity else identity
    (home / "store.json").write_text(identity)
    again = store_at(tmp_path, "a")
    assert Path(again.info().path) != home
    assert reason in told(caplog, "store_left_alone")[0]["reason"]
    assert (home / "store.json").read_text() == identity
    again.close()


def test_links_and_strangers_are_left_alone(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    store = store_at(elsewhere, "a")
    taken = Path(store.info().path)
    store.close()
    root.mkdir()
    (root / "lost+found").mkdir(mode=0o700)
    (root / "system").mkdir()
    (root / "system" / taken.name).symlink_to(taken)
    (root / "system" / "0f0e8d54-7f7a-4a34-9c8b-2f4f3f1f7c10").write_text("a file")
    store = store_at(root, "a")
    assert Path(store.info().path).resolve() != taken
    assert list((root / "lost+found").iterdir()) == []
    store.close()


def test_a_directory_in_tmp_is_set_aside(tmp_path, caplog):
    """It is not ours, so it is not removed; and the store starts."""
    store = store_at(tmp_path, "a")
    home = Path(store.info().path)
    store.close()
    for _ in range(2):
        (home / "tmp" / "kept").mkdir()
        (home / "tmp" / "kept" / "file").write_text("precious")
        store = store_at(tmp_path, "a")
        assert (Path(store.info().path), len(store.scan(b"", 10).index)) == (home, 0)
        store.close()
    assert sorted(path.name for path in (home / "quarantine").iterdir()) == ["stray-kept", "stray-kept-1"]
    assert (home / "quarantine" / "stray-kept" / "file").read_text() == "precious"
    assert {each["path"] for each in told(caplog, "stray_set_aside")} == {str(home / "tmp" / "kept")}


def test_a_linked_tmp_is_not_wiped(tmp_path):
    store = store_at(tmp_path / "root", "a")
    home = Path(store.info().path)
    store.close()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (home / "tmp").rmdir()
    (home / "tmp").symlink_to(precious)
    with pytest.raises(StoreFailure, match="ENOTDIR"):
        store_at(tmp_path / "root", "a")
    assert (precious / "file").exists()


def test_a_root_that_can_not_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailure) as caught:
        store_at(tmp_path / "file", "a")
    assert caught.value.store == str(tmp_path / "file")


def test_many_processes_start_at_once_and_share_nothing(tmp_path):
    served = [
        subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    try:
        homes = [process.stdout.readline() for process in served]
        assert len(set(homes)) == 6
        assert len(list((tmp_path / "system").iterdir())) <= 6
    finally:
        for process in served:
            process.communicate()


def test_closing_a_claim_twice_frees_it_once(tmp_path):
    home = claim(tmp_path, "system", bytes(16))
    home.close()
    again = claim(tmp_path, "system", bytes(16))
    home.close()
    third = claim(tmp_path, "system", bytes(16))
    assert third.path != again.path
    again.close()
    third.close()


def test_a_private_store_is_gone_when_closed():
    store = store_at(None, "a")
    path = Path(store.info().path)
    assert path.name.startswith("faultset-store-")
    assert store.info().durability == "none"
    seal_empty(store)
    store.close()
    assert not path.exists()
    until(lambda: not reapers(path))


@pytest.mark.parametrize("whom", ["process", "group"])
def test_a_private_store_is_gone_when_its_process_is_killed(tmp_path, whom):
    neighbour = tmp_path / "faultset-store-neighbour"
    neighbour.mkdir()
    process, path = serve("", env=os.environ | {"TMPDIR": str(tmp_path)}, start_new_session=True)
    try:
        assert path.parent == tmp_path
        (path / "shards" / "some").mkdir()
        (path / "shards" / "some" / "file").write_bytes(b"x")
        (reaper,) = reapers(path)

        def status() -> dict[str, str]:
            return dict(line.split(":\t", 1) for line in (reaper / "status").read_text().splitlines() if ":\t" in line)

        until(lambda: int(status()["SigIgn"], 16) >> signal.SIGTERM - 1 & 1)  # it has begun
        assert int(status()["PPid"]) != process.pid, "an orphan, out of the process tree"
        assert os.getsid(int(reaper.name)) not in {process.pid, os.getsid(0)}
        targets = {fd.name: str(fd.readlink()) for fd in (reaper / "fd").iterdir()}
        assert sum(target.startswith("pipe:") for target in targets.values()) == 1
        assert set(targets.values()) - {"/dev/null"} == {
            target for target in targets.values() if target.startswith("pipe:")
        }
        for gentle in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            os.kill(int(reaper.name), gentle)
        assert reapers(path) == [reaper]
        assert path.exists()
        if whom == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        until(lambda: not path.exists())
        until(lambda: not reapers(path))
        assert neighbour.exists()
    finally:
        process.kill()
        process.communicate()


def test_a_private_store_is_gone_when_its_process_ends_without_a_word(tmp_path):
    process, path = serve("", env=os.environ | {"TMPDIR": str(tmp_path)})
    process.communicate()
    assert process.returncode == 0
    until(lambda: not path.exists())


def test_each_system_has_directories_of_its_own(tmp_path):
    one, two = store_at(tmp_path, system="one"), store_at(tmp_path, system="two")
    assert Path(one.info().path) == tmp_path / "one" / one.uuid
    seal_empty(one)
    one.close()
    heir = store_at(tmp_path, system="two")
    assert heir.uuid not in {one.uuid, two.uuid}
    assert heir.info().shards == 0
    again = store_at(tmp_path, system="one")
    assert (again.uuid, again.info().shards) == (one.uuid, 1)
    for store in (two, heir, again):
        store.close()


@pytest.mark.parametrize("system", ["", ".", "..", "a/b", "../a", "a" * 65, "ü"])
def test_a_system_names_no_other_directory(tmp_path, system):
    with pytest.raises(InputError, match="system"):
        store_at(tmp_path / "root", system=system)
    assert sorted(path.name for path in tmp_path.rglob("*")) in ([], ["root"])


def test_a_linked_system_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "system").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreFailure, match="EEXIST"):
        store_at(tmp_path / "root")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_free_one_of_the_same_region_comes_first(tmp_path):
    stores = {region: store_at(tmp_path, region=region) for region in ("north", "south", "west")}
    for store in stores.values():
        store.close()
    for region in ("west", "south"):
        heir = store_at(tmp_path, region=region)
        assert heir.uuid == stores[region].uuid
    moved = store_at(tmp_path, region="east")
    assert moved.uuid == stores["north"].uuid
    assert json.loads(Path(moved.info().path, "store.json").read_text())["region"] == "east"


def test_the_identity_names_a_new_one_and_never_two(tmp_path):
    identity = bytes(range(16))
    one = claim(tmp_path, "system", identity)
    two = claim(tmp_path, "system", identity)
    assert one.uuid == "00010203-0405-4607-8809-0a0b0c0d0e0f"
    assert two.uuid != one.uuid
    one.close()
    assert claim(tmp_path, "system", bytes(16)).uuid == one.uuid
    two.close()
    for wrong in (b"short", "x" * 16, None):
        with pytest.raises(InputError, match="identity"):
            claim(tmp_path / "new", "system", wrong)


def test_a_lock_ends_with_its_owner_also_unclosed(tmp_path):
    """So it is in a simulator, where a place that crashed leaves its servants to the garbage collector."""
    store = store_at(tmp_path)
    seal_empty(store)
    uuid = store.uuid
    del store
    gc.collect()
    again = store_at(tmp_path)
    assert (again.uuid, again.info().shards) == (uuid, 1)
    again.close()


def test_a_private_store_below_a_root(tmp_path):
    store = store_at(tmp_path, system="private-1", private=True)
    other = store_at(tmp_path, system="private-1", private=True)
    path = Path(store.info().path)
    assert path == tmp_path / "private-1" / store.uuid
    assert store.info().durability == "none"
    seal_empty(store)
    store.close()
    assert not path.exists()
    assert Path(other.info().path).exists()
    other.close()
    until(lambda: not (tmp_path / "private-1").exists())


def test_leftovers_of_private_stores_are_removed(tmp_path, caplog):
    """Those that nobody serves: of a host that went down with the processes that would have removed them."""
    alive = store_at(tmp_path, system="private-alive", private=True)
    left = tmp_path / "private-left" / "0f0e8d54-7f7a-4a34-9c8b-2f4f3f1f7c10"
    (left / "shards" / "00").mkdir(parents=True)
    (left / "shards" / "00" / "file").write_bytes(b"x")
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / "private-linked").symlink_to(precious)
    (precious / "file").touch()
    named = store_at(tmp_path, system="named")
    assert not left.parent.exists()
    assert Path(alive.info().path).exists()
    assert (precious / "file").exists()
    assert [each["path"] for each in told(caplog, "store_left_over")] == [str(left)]
    alive.close()
    named.close()


@pytest.mark.parametrize("name", ["lock", "store.json", "fence.json", "records-0.db"])
def test_links_in_a_store_are_not_followed(tmp_path, name):
    store = store_at(tmp_path)
    store.admit(FENCE)
    home = Path(store.info().path)
    store.close()
    elsewhere = tmp_path / "elsewhere"
    (home / name).rename(elsewhere)
    (home / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    with pytest.raises(StoreFailure, match="ELOOP"):
        store_at(tmp_path)
    assert elsewhere.read_bytes() == before


def test_private_stores_that_start_while_leftovers_are_removed(tmp_path):
    """Each gets a directory and keeps it, though all take unlocked ones of others for leftovers."""
    start = threading.Barrier(4)
    homes, errors = [], []

    def work(turn):
        start.wait()
        try:
            for number in range(8):
                remove_leftovers(tmp_path)
                home = claim_private(tmp_path, f"private-{turn}", bytes([turn, number]) * 8)
                homes.append(home)
                if number % 2:
                    home.close()
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [home.path.exists() for home in homes] == [bool(home._files) for home in homes]
    for home in homes:
        home.close()
