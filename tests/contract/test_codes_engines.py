"""Every engine gives the same bytes through the whole contract."""

import os
import platform
import re
import subprocess
import sys

import emulating
import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.codes import engine
from faultset_ray.codes.spec import parse
from faultset_ray.kernels import gf_levels

SPECS = ["rs:10+4", "rs:6+11", "rs:100+20,matrix=backblaze", "lrc:12+2+2", "xor:5+1", "copy:3", "ldpc:300+150"]
LENGTHS = [0, 1, 77, 256, 4096 + 13]


emulating.install()


@pytest.fixture(params=emulating.LEVELS)
def fresh(request, monkeypatch):
    """Builds codes anew on one engine."""
    chosen = gf_levels.level(request.param)
    monkeypatch.setattr(gf_levels, "chosen", lambda: chosen)
    assert engine.active() == request.param

    def build(spec):
        full = parse(codes.get(spec).spec)
        return type(codes.get(spec)).from_spec(full)

    return build


@pytest.mark.parametrize("spec", SPECS)
def test_every_engine_gives_the_same_bytes(fresh, spec):
    code = fresh(spec)
    usual = codes.get(spec)
    assert code is not usual
    for length in LENGTHS:
        data = np.random.default_rng(length).integers(0, 256, (code.k, length), dtype=np.uint8)
        shards = np.concatenate([data, code.encode(data, threads=2)])
        assert np.array_equal(shards[code.k :], usual.encode(data))
        rows = {index: shards[index] for index in range(1, code.n)}
        assert np.array_equal(code.decode(rows), data)
        assert np.array_equal(code.reconstruct(rows, [0]), data[:1])
        plan = code.plan([0], rows)
        assert np.array_equal(plan.fold({index: rows[index] for index in plan.reads}), data[:1])
        if length:
            assert code.verify(dict(enumerate(shards)))
            shards[0, -1] ^= 1
            assert not code.verify(dict(enumerate(shards)))


USE = """
import hashlib
import numpy as np
from faultset_ray import codes
from faultset_ray.codes import engine
from faultset_ray.errors import InputError
try:
    data = (np.arange(10 * 5000, dtype=np.uint32) * 2654435761 >> 13).astype(np.uint8).reshape(10, 5000)
    print(engine.active(), hashlib.sha256(codes.get("rs:10+4").encode(data)).hexdigest(), *engine.available())
except InputError as error:
    print(error)
"""


def in_a_process(**environment):
    """What a process says that codes something: its engine, a digest, the engines that it has; or the error."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("FAULTSET_ENGINE", "NUMBA_CPU"))}
    done = subprocess.run(
        [sys.executable, "-c", USE],
        capture_output=True,
        text=True,
        env={**clean, **environment},
        timeout=280,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def naive():
    return in_a_process(FAULTSET_ENGINE="naive").split()[1]


@pytest.mark.parametrize("name", [*gf_levels.LEVELS, "warp"])
def test_an_engine_is_forced_or_refused_by_name(name, naive):
    said = in_a_process(FAULTSET_ENGINE=name)
    if name in engine.available():
        assert said.split()[:2] == [name, naive]
    else:
        assert said == f"engine {name!r} is not available here; there are: {', '.join(engine.available())}"


AVX2 = "+avx2,+avx,+xsave,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+sse,+cx8,+fxsr,+mmx,+popcnt,+64bit"
LESSER = {
    "portable": ("generic", ""),
    "avx2": ("generic", AVX2),
    "gfni256": ("generic", f"{AVX2},+gfni"),
    "gfni512": ("generic", f"{AVX2},+gfni,+avx512f,+avx512bw"),
}
x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="levels of x86")
compiled = pytest.mark.skipif(not gf_levels.HAVE_NUMBA, reason="nothing is compiled")


@x86
@compiled
@pytest.mark.parametrize("name", [name for name in LESSER if name in engine.available()])
def test_on_a_lesser_cpu_the_engine_is_what_that_has(name, naive):
    """Numba compiles for the CPU that it is told of: choice, code and bytes as they are on such a machine."""
    cpu, features = LESSER[name]
    chosen, digest, *there = in_a_process(NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features).split()
    assert (chosen, digest, there[0]) == (name, naive, name)
    assert there == [*gf_levels.LEVELS[gf_levels.LEVELS.index(name) :]]


EMIT = """
import sys
import numba
from faultset_ray.kernels import gf_simd
function = numba.cfunc(numba.types.void(*[numba.types.int64] * 8))(gf_simd._TILES[sys.argv[1]])
print(function._library.get_asm_str())
"""
INSTRUCTIONS = {
    "portable": r"\bpxor\b.*%xmm",
    "avx2": r"\bvpshufb\b.*%ymm",
    "gfni256": r"\bvgf2p8affineqb\b.*%ymm",
    "gfni512": r"\bvgf2p8affineqb\b.*%zmm",
}


@x86
@compiled
@pytest.mark.parametrize("name", LESSER)
def test_every_level_is_emitted_whatever_runs_here(name):
    """A machine without these instructions can't run them, but compiles what others run."""
    cpu, features = LESSER[name]
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    command = [sys.executable, "-c", EMIT, name]
    text = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, check=True).stdout
    assert re.search(INSTRUCTIONS[name], text)
    assert re.search(r"\bv?movnt(dq|ps|pd|i)", text), "stores past the caches"
