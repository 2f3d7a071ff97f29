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
tuned = "faultset_mirror:Tuned"
broken = "faultset_mirror:answer"
unstable = "faultset_mirror:Unstable"
careless = "faultset_mirror:Careless"
rs = "faultset_mirror:Mirror"
Capital = "faultset_mirror:Mirror"
"""

MODULE = """
import numpy as np
from faultset_ray.codes.linear import LinearCode
from faultset_ray.errors import InputError

answer = 42

class Mirror(LinearCode):
    options = {"times": "2"}

    @classmethod
    def from_spec(cls, spec):
        full = spec.complete(cls.options)
        parity = np.tile(np.eye(spec.shape[0], dtype=np.uint8), (int(full.options["times"]) - 1, 1))
        return cls(str(full), parity)

class Tuned(Mirror):
    seen = []

    @classmethod
    def configure(cls, options):
        if set(options) != {"level"}:
            raise InputError(f"no such options: {sorted(options)}")
        cls.seen.append(options["level"])

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
import os
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
from faultset_ray.codes import registry
from faultset_ray.config import Config
from faultset_ray.config.process import apply, examine

def refused(text):
    [problem] = examine(Config.from_toml(text))
    print(problem)

refused("[plugins.absent]\\nlevel = 3")
refused("[plugins.mirror]\\nlevel = 3")
refused("[plugins.tuned]\\nlevl = 3")
if "FAULTSET_PLUGINS" not in os.environ:
    apply(Config.from_toml("[plugins.tuned]\\nlevel = 3"))
    apply(Config.from_toml("[plugins.tuned]\\nlevel = 3"))
    refused("[plugins.tuned]\\nlevel = 4")
codes.get("tuned:3"), codes.get("tuned:4")
print("tuned to", type(codes.get("tuned:3")).seen)
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
    environ = {"PYTHONPATH": f"{site}:{ROOT}"}
    use = [sys.executable, "-c", USE]
    done = subprocess.run(use, check=False, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    assert "plugins.absent code 'absent': no plug-in; there are: " in done.stdout
    assert "plugins.mirror plug-in 'mirror' made codes in this process before" in done.stdout
    assert "plugins.tuned no such options: ['levl']" in done.stdout
    assert "plugins.tuned plug-in 'tuned' made codes in this process before, with other options" in done.stdout
    assert "tuned to [3]" in done.stdout
    told = subprocess.run(
        use, check=False, capture_output=True, text=True, env=environ | {"FAULTSET_PLUGINS": '{"tuned": {"level": 7}}'}
    )
    assert "tuned to [7]" in told.stdout, told.stderr
    assert "no subclass of faultset_ray.codes.Code" in done.stdout
    assert "is not stable" in done.stdout
    assert "unknown code; there are: broken, careless, copy, ldpc, lrc, mirror, rs, tuned, unstable, xor" in done.stdout
    assert "'rs' is a code that is built in" in done.stdout
    assert "'Capital' is no name of a code" in done.stdout
    assert "something other than the out it was given" in done.stdout
