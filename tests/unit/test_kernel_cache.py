"""Compiled kernels are found again by their text, wherever a copy of the code lies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import faultset_ray
from faultset_ray.kernels.jit import HAVE_NUMBA

pytestmark = pytest.mark.skipif(not HAVE_NUMBA, reason="nothing is compiled")

RUN = """
import numpy as np
from faultset_ray.kernels import group, select
groups = group.group_cells(np.array([64, 64, 128], np.uint64))
indices, counts = select.select_grouped(np.array([3.0, 1.0, 2.0]), groups.order, groups.starts, 2.0)
assert indices.tolist() == [1, 2] and counts.tolist() == [1, 1]
stats = select._pack.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), stats.cache_path)
"""


def run(source: Path, **environ: str) -> tuple[int, int, Path]:
    """Hits, misses and directory of the cache, as a process that imports from ``source`` sees them."""
    env = {**os.environ, "PYTHONPATH": str(source), **environ}
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN], env=env, cwd=source, capture_output=True, text=True, check=True
    )
    hits, misses, path = done.stdout.split(maxsplit=2)
    return int(hits), int(misses), Path(path.strip())


def copied(to: Path) -> Path:
    shutil.copytree(
        Path(faultset_ray.__file__).parent, to / "faultset_ray", ignore=shutil.ignore_patterns("__pycache__")
    )
    return to


def test_a_copy_of_the_code_finds_what_another_compiled(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert run(copied(tmp_path / "here"), **cache)[:2] == (0, 1)
    hits, misses, path = run(copied(tmp_path / "there"), **cache)
    assert (hits, misses) == (1, 0)
    assert path.is_relative_to(tmp_path / "cache")
    assert path.stat().st_mode & 0o777 == 0o700


def test_a_change_in_another_kernel_compiles_anew(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    source = copied(tmp_path / "here")
    assert run(source, **cache)[:2] == (0, 1)
    with (source / "faultset_ray" / "kernels" / "morton.py").open("a") as other:
        other.write("# changed\n")
    assert run(source, **cache)[:2] == (0, 1)


def test_without_a_writable_cache_numba_chooses(tmp_path):
    file = tmp_path / "file"
    file.touch()
    environ = {"XDG_CACHE_HOME": str(file), "NUMBA_CACHE_DIR": ""}
    hits, misses, path = run(copied(tmp_path / "here"), **environ)
    assert (hits, misses) == (0, 1)
    assert path == tmp_path / "here" / "faultset_ray" / "kernels" / "__pycache__"
