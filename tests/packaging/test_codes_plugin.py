"""A code in a distribution of its own, built, installed and found by its entry point."""

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "faultset-mirror"
version = "1.0"
[project.entry-points."faultset_ray.codes"]
mirror = "faultset_mirror:Mirror"
broken = "faultset_mirror:answer"
unstable = "faultset_mirror:Unstable"
careless = "faultset_mirror:Careless"
rs = "faultset_mirror:Mirror"
Capital = "faultset_mirror:Mirror"
"""

MODULE = """
import numpy as np
from faultset_ray.codes.linear import LinearCode

answer = 42

class Mirror(LinearCode):
    options = {"times": "2"}

    @classmethod
    def from_spec(cls, spec):
        full = spec.complete(cls.options)
        parity = np.tile(np.eye(spec.shape[0], dtype=np.uint8), (int(full.options["times"]) - 1, 1))
        return cls(str(full), parity)

class Careless(Mirror):
    def encode(self, data, out=None, *, threads=1):
        return super().encode(data, threads=threads)

class Unstable(Mirror):
    @classmethod
    def from_spec(cls, spec):
        code = Mirror.from_spec(spec)
        code.spec = f"unstable:{spec.shape[0] + 1}"
        return code
"""

USE = """
import pickle
import warnings
import numpy as np
import faultset_ray as fs
from faultset_ray import codes
from faultset_ray.errors import InvalidCodeSpec, UnsupportedOperation

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert "mirror" in codes.available() and "rs" in codes.available()
for warning in caught:
    print(warning.message)
assert codes.get("rs:2+1").spec == "rs:2+1,matrix=cauchy"
code = codes.get("mirror:3")
assert code.spec == "mirror:3,times=2" and (code.k, code.n) == (3, 6)
assert pickle.loads(pickle.dumps(code)) is codes.get("mirror:3,times=2") is code
data = np.arange(30, dtype=np.uint8).reshape(3, 10)
parity = code.encode(data)
assert np.array_equal(code.decode({0: data[0], 4: parity[1], 5: parity[2]}), data)
assert codes.from_config(code.get_config()) is code
try:
    fs.pack_shards(b"x" * 1000, "careless:3")
except UnsupportedOperation as error:
    print(error)
for name in ("broken", "unstable", "absent"):
    try:
        codes.get(f"{name}:3")
    except InvalidCodeSpec as error:
        print(error)
    else:
        raise AssertionError(name)
"""


def test_a_plugin_is_found_without_being_imported_first(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(textwrap.dedent(PYPROJECT))
    (project / "faultset_mirror.py").write_text(MODULE)
    site = tmp_path / "site"
    build = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--target", site, project], check=True, capture_output=True, text=True)
    done = subprocess.run(
        [sys.executable, "-c", USE], check=False, capture_output=True, text=True, env={"PYTHONPATH": f"{site}:{ROOT}"}
    )
    assert done.returncode == 0, done.stderr
    assert "no subclass of faultset_ray.codes.Code" in done.stdout
    assert "is not stable" in done.stdout
    assert "unknown code; there are: broken, careless, copy, ldpc, lrc, mirror, rs, unstable, xor" in done.stdout
    assert "'rs' is a code that is built in" in done.stdout
    assert "'Capital' is no name of a code" in done.stdout
    assert "something other than the out it was given" in done.stdout
