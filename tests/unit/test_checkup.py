"""What ``faultset doctor`` looks at: facts of real files and disks, and every rule that judges them."""

import asyncio
import base64
import dataclasses
import hashlib
import os
import time
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.checkup import disk as disks
from faultset_ray.checkup import judging, wheel
from faultset_ray.checkup.cluster import examine
from faultset_ray.checkup.disk import Disk
from faultset_ray.checkup.findings import Finding, Level, worst
from faultset_ray.checkup.machine import describe, tell_time
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.errors import PlaceUnreachable
from faultset_ray.kernels import jit
from faultset_ray.limits import MIB

GIB = 1024 * MIB
SOUND = Disk("/data", "", 50 * GIB, 100 * GIB, 0o700, True, (), "ext4", "rw,relatime,rw", 0.002, "")


def levels(findings):
    return [(finding.level.value, finding.text) for finding in findings]


@pytest.fixture(scope="module")
def here():
    return describe(time.monotonic)


# -- The distribution


@pytest.fixture
def distribution(tmp_path):
    """A distribution of this project with two files, and what its record says of them."""
    info = tmp_path / "faultset_ray-9.9.dist-info"
    info.mkdir()
    rows = []
    for name in ("faultset_ray/checkup/findings.py", "jobs/cli.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{path.stat().st_size}")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faultset-ray\nVersion: 9.9\n")
    (info / "RECORD").write_text("\n".join([*rows, "faultset_ray-9.9.dist-info/RECORD,,"]) + "\n")
    return tmp_path, info


def test_a_wheel_that_is_as_it_was_released(distribution):
    _, info = distribution
    found = wheel.installed(PathDistribution(info))
    assert (found.version, found.files, found.changed, found.missing) == ("9.9", 2, (), ())
    assert Path(found.elsewhere).name == "faultset_ray", "this process runs another copy, which is said"
    [finding] = judging._judge_wheel(found, "")
    assert finding.level is Level.OK
    assert "2 files are as they were released" in finding.text


def test_a_wheel_that_was_changed(distribution):
    folder, info = distribution
    (folder / "jobs/cli.py").write_text("import os\n")
    (folder / "faultset_ray/checkup/findings.py").unlink()
    found = wheel.installed(PathDistribution(info))
    assert (found.changed, found.missing) == (("jobs/cli.py",), ("faultset_ray/checkup/findings.py",))
    [finding] = judging._judge_wheel(found, "")
    assert finding.level is Level.FAILED
    assert "1 of 2 installed files were changed, 1 are missing" in finding.text
    assert finding.remedy.endswith("faultset-ray==9.9")


def test_an_editable_one_is_said_to_be(distribution):
    _, info = distribution
    (info / "direct_url.json").write_text('{"url": "file:///clone", "dir_info": {"editable": true}}')
    found = wheel.installed(PathDistribution(info))
    assert (found.editable, found.version) == (True, "9.9")
    assert [finding.level for finding in judging._judge_wheel(found, "")] == [Level.SKIPPED]


# -- The disk


def test_a_real_directory(tmp_path):
    store = tmp_path / "stores" / "prod" / "uuid"
    store.mkdir(parents=True)
    for each in (tmp_path / "stores", store.parent):
        each.chmod(0o700)
    store.chmod(0o755)
    found = disks.examine(str(tmp_path / "stores"), time.monotonic)
    space = os.statvfs(tmp_path)
    assert (found.problem, found.mode, found.owned) == ("", 0o700, True)
    assert found.exposed == (str(store),)
    assert found.capacity_bytes == space.f_blocks * space.f_frsize
    assert 0 < found.free_bytes <= found.capacity_bytes
    assert found.fsync_s > 0
    assert found.file_system
    assert [path.name for path in (tmp_path / "stores").iterdir()] == ["prod"], "it leaves nothing"
    told = dict(levels(judging.judge_store(found)))
    assert "failed" in told
    assert f"others may enter {store}" in told["failed"]


def test_one_that_is_not_there_is_not_made(tmp_path):
    found = disks.examine(str(tmp_path / "a" / "b"), time.monotonic)
    assert (found.problem, found.path) == ("", str(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []


def test_one_that_can_not_be_written_to():
    found = disks.examine("/proc/nowhere", time.monotonic)
    assert found.problem
    [finding] = judging.judge_store(found, place="p1")
    assert (finding.level, finding.place) == (Level.FAILED, "p1")
    assert found.problem in finding.text


def test_the_last_mount_at_a_path_counts(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/a rw,barrier=1\n"
        "2 1 0:2 / /data rw - tmpfs none rw\n"
        "3 1 0:3 / /data/big\\040disk ro,noatime - xfs /dev/b rw,nobarrier\n"
    )
    monkeypatch.setattr(disks, "_MOUNTS", table)
    assert disks._mount_of(Path("/home/x"))[0] == "ext4"
    assert disks._mount_of(Path("/data/x"))[0] == "tmpfs"
    assert disks._mount_of(Path("/data/big disk/x")) == ("xfs", "ro,noatime,rw,nobarrier")
    assert disks._mount_of(Path("/database"))[0] == "ext4"


@pytest.mark.parametrize(
    ("change", "level", "said"),
    [
        ({}, "ok", "51,200 MiB free, durable in 2.00 ms"),
        ({"free_bytes": 3 * GIB, "capacity_bytes": 200 * GIB}, "ok", "3,072 MiB free"),
        ({"free_bytes": GIB // 2, "capacity_bytes": 200 * GIB}, "warning", "placement passes it over"),
        ({"free_bytes": GIB // 4, "capacity_bytes": 200 * GIB}, "failed", "takes no more shards"),
        ({"free_bytes": 3 * MIB, "capacity_bytes": 200 * MIB}, "failed", "3 MiB of 200 are free"),
        ({"mode": 0o750}, "warning", "mode 0750: others may look into it"),
        ({"mode": 0o777}, "failed", "mode 0777: others may put directories there"),
        ({"owned": False}, "warning", "belongs to another user"),
        ({"file_system": "tmpfs"}, "failed", "gone with the power"),
        ({"file_system": "overlay"}, "warning", "up to what is behind"),
        ({"file_system": "fuse.sshfs"}, "warning", "up to what is behind"),
        ({"fsync_s": 2e-6}, "warning", "a sync took 2.0 µs, which no disk does"),
        ({"options": "rw,barrier=0"}, "failed", "without barriers"),
        ({"options": "ro,relatime"}, "failed", "read-only"),
        ({"preloaded": "/usr/lib/libeatmydata.so"}, "failed", "libeatmydata"),
    ],
)
def test_what_a_disk_may_be(change, level, said):
    [finding] = judging.judge_store(dataclasses.replace(SOUND, **change), place="p")
    assert (finding.level.value, finding.place) == (level, "p")
    assert said in finding.text
    assert bool(finding.remedy) == (level != "ok")


def test_a_machine_without_a_directory_for_stores():
    [finding] = judging.judge_store(None)
    assert finding.level is Level.WARNING
    [finding] = judging.judge_store(None, "FAULTSET_CONFIG: is 'x'; at a place it must be an absolute path")
    assert finding.level is Level.FAILED


# -- Engine, cache, versions, clock


def test_this_machine(here, tmp_path, monkeypatch):
    assert here.versions["python"].startswith("3.")
    assert {"faultset-ray", "numpy", "ray"} <= here.versions.keys()
    assert here.engine in here.engines
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    path, problem = jit.cache_state()
    assert (Path(path).parent.parent, problem) == (tmp_path, "")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere")
    assert jit.cache_state()[1]


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        ({"compiled": False, "engine": "naive"}, "engine", "kernels are not compiled"),
        ({"engine": "portable"}, "engine", "codes run on portable"),
        ({"cache_problem": "[Errno 13] Permission denied"}, "kernel_cache", "Permission denied"),
    ],
)
def test_a_slow_machine(here, change, check, said):
    sound = dataclasses.replace(here, engine="avx2", compiled=True, cache_problem="")
    assert worst(judging.judge_machine(sound)) is Level.OK
    [finding] = [each for each in judging.judge_machine(dataclasses.replace(sound, **change), "p") if each.remedy]
    assert (finding.check, finding.level, finding.place) == (check, Level.WARNING, "p")
    assert said in finding.text


@pytest.mark.parametrize(
    ("package", "ours", "theirs", "level"),
    [
        ("python", "3.11.7", "3.12.1", "failed"),
        ("python", "3.11.7", "3.11.9", "warning"),
        ("ray", "2.60.0", "2.60.1", "failed"),
        ("numpy", "2.4.6", "1.26.4", "failed"),
        ("numpy", "2.4.6", "2.3.0", "warning"),
        ("numba", "0.68.1", "none", "warning"),
    ],
)
def test_versions_that_differ(here, package, ours, theirs, level):
    def of(version):
        versions = {**here.versions, package: version}
        return dataclasses.replace(here, versions={k: v for k, v in versions.items() if v != "none"})

    own, others = of(ours), {"p1": of(ours), "p2": of(theirs), "p3": of(theirs)}
    [finding] = [each for each in judging.judge_versions(own, others) if each.level is not Level.OK]
    assert finding.level.value == level
    assert finding.text == f"{package} {theirs} on p2 and p3, {ours} here"


def test_another_version_installed_on_a_place(here):
    old = dataclasses.replace(here, wheel=wheel.Installed("0.0.1"))
    [finding] = [each for each in judging.judge_versions(here, {"p1": old}) if each.level is not Level.OK]
    assert finding.level is Level.WARNING
    assert "faultset-ray 0.0.1 is installed on p1" in finding.text


@pytest.mark.parametrize(
    ("offset", "within", "level"),
    [
        (10, 2, "ok"),
        (-510, 20, "ok"),
        (-510, 5, "warning"),
        (2001, 10, "warning"),
        (2500, 10, "failed"),
        (-9e9, 1, "failed"),
    ],
)
def test_clocks(offset, within, level):
    finding = judging.judge_clock("p", offset, within)
    assert finding.level.value == level
    assert finding.numbers == {"offset_ms": offset, "within_ms": within}


def test_settings():
    assert levels(judging.judge_config([], [], "/etc/f.toml")) == [("ok", "/etc/f.toml")]
    assert levels(judging.judge_config(["a"], ["b"], None)) == [("failed", "a"), ("warning", "b")]


def test_the_worst_of_findings():
    made = [Finding("c", level, "") for level in Level]
    assert [worst(made[:count]).value for count in range(5)] == ["ok", "ok", "ok", "warning", "failed"]


# -- Places


class Backend(LocalBackend):
    """Places of which one has a clock that is ahead, one hangs, and one is gone."""

    async def run(self, task, at, /, *args, **kwargs):
        if at.place == "gone":
            raise PlaceUnreachable("look", "its node died")
        if at.place == "hangs":
            await self.sleep(3600.0)
        result = await super().run(task, at, *args, **kwargs)
        return result + 9000 if task is tell_time and at.place == "ahead" else result


def looked(backend, here, system="prod"):
    async def look():
        try:
            return await examine(backend, here, system, 0.5)
        finally:
            await backend.close()

    return asyncio.run(look())


def test_a_look_at_places(here, monkeypatch, tmp_path):
    monkeypatch.setenv("FAULTSET_STORE_DIR", str(tmp_path))
    labels = {"faultset.io/store": "true"}
    names = "head", "ahead", "hangs", "gone"
    findings = looked(Backend([Place(name, {} if name == "head" else labels) for name in names]), here)
    by_place = {(each.check, each.place): each for each in findings}
    assert by_place["place", ""].text == "2 of 4 places answer"
    assert by_place["place", "hangs"].text == "no answer within 0.5 s"
    assert "its node died" in by_place["place", "gone"].text
    assert by_place["clock", "head"].level is Level.OK
    assert by_place["clock", "ahead"].level is Level.FAILED
    assert abs(by_place["clock", "ahead"].numbers["offset_ms"] - 9000) < 500
    assert [place for check, place in by_place if check == "store_disk"] == ["ahead"], "the head holds none"
    assert by_place["system", ""].level is Level.SKIPPED
    assert "faultset up prod" in by_place["system", ""].remedy


def test_a_system_that_runs_and_places_without_labels(here, monkeypatch):
    monkeypatch.delenv("FAULTSET_STORE_DIR", raising=False)
    backend = LocalBackend([Place("a"), Place("b")])

    async def look():
        await backend.spawn(Coordinator, "coordinator", "prod", False, None, bytes(16))
        try:
            return await examine(backend, here, "prod", 30.0)
        finally:
            await backend.close()

    findings = asyncio.run(look())
    [system] = [each for each in findings if each.check == "system"]
    assert (system.level, system.numbers) == (Level.OK, {"attended": False})
    assert system.text == "'prod' runs, with this version; looked after only while a driver is connected"
    assert [each.place for each in findings if each.check == "store_disk"] == ["a", "b"]
    [label] = [each for each in findings if each.check == "store_label"]
    assert "all 2 may hold a store" in label.text
