"""The wheel as who installs it has it: in an environment of its own, away from this checkout."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.host, pytest.mark.timeout(1200)]

LOOK = """
import importlib.metadata as m, json
import faultset_ray as fs
import actors.backend, jobs.cli
print(json.dumps({
    "file": fs.__file__,
    "version": [fs.__version__, m.version("faultset-ray")],
    "scripts": [e.value for e in m.entry_points(group="console_scripts") if e.name == "faultset"],
    "fsspec": [e.value for e in m.entry_points(group="fsspec.specs") if e.name == "faultset"],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Of ``FAULTSET_DIST``, or built here."""
    if given := os.environ.get("FAULTSET_DIST"):
        where = ROOT / given
    else:
        where = tmp_path_factory.mktemp("dist")
        run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(where)], ROOT)
    (found,) = where.glob("*.whl")
    return found


def run(command, where, **environ):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        command, cwd=where, env={**inherited, **environ}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The directory of programs of a new environment that has the wheel and what it needs, nothing else."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home / "venv", with_pip=True)
    programs = home / "venv" / "bin"
    constraint = ["--constraint", str(ROOT / "constraints.txt")]
    run([programs / "python", "-m", "pip", "install", "--quiet", *constraint, str(wheel)], home)
    return programs


def test_what_it_needs_fits_together(installed):
    assert run([installed / "python", "-m", "pip", "check"], installed).strip() == "No broken requirements found."


def test_it_is_found_and_says_one_version(installed, wheel):
    look = json.loads(run([installed / "python", "-c", LOOK], installed.parent))
    assert Path(look["file"]).is_relative_to(installed.parent)
    (version,) = set(look["version"])
    assert wheel.name.startswith(f"faultset_ray-{version}-")
    assert look["scripts"] == ["jobs.cli:main"]
    assert look["fsspec"] == ["faultset_ray.filesystem:FaultsetFileSystem"]


def test_its_command_gets_a_file_back_without_two_shards(installed, tmp_path):
    data = os.urandom(300_000)
    (tmp_path / "in.bin").write_bytes(data)
    run([installed / "faultset", "encode", "in.bin", "--code", "rs:4+2", "--out", "shards"], tmp_path)
    for gone in ("000", "003"):
        (found,) = (tmp_path / "shards").glob(f"*.{gone}.shard")
        found.unlink()
    run([installed / "faultset", "decode", "shards", "--out", "out.bin"], tmp_path)
    assert (tmp_path / "out.bin").read_bytes() == data


def test_the_tag_of_a_release_is_the_version_of_the_wheel(wheel):
    """Where no tag is given, the name of the file stands for it."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        version = HeaderParser().parsestr(archive.read(name).decode())["Version"]
    assert (os.environ.get("TAG") or f"v{wheel.name.split('-')[1]}") == f"v{version}"
