"""Every engine gives the same bytes through the whole contract."""

import numpy as np
import pytest

from faultset_ray import codes
from faultset_ray.codes import engine
from faultset_ray.codes.spec import parse
from faultset_ray.kernels import gf_levels

SPECS = ["rs:10+4", "rs:6+11", "rs:100+20,matrix=backblaze", "lrc:12+2+2", "xor:5+1", "copy:3", "ldpc:300+150"]
LENGTHS = [0, 1, 77, 256, 4096 + 13]


@pytest.fixture(params=engine.available())
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
