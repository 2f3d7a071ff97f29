"""Erasure codes: encode and repair by code, by engine, by threads. Beside peers: bench_codes_table.py."""

import numpy as np
import pytest
from bench_codes_copy import Copy

from faultset_ray import codes
from faultset_ray.codes import engine
from faultset_ray.codes.engine import Folder

MIB = 1 << 20
SPECS = ["rs:4+2", "rs:10+4", "rs:32+8", "lrc:12+2+2", "xor:10+1", "copy:3"]


def random(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("spec", SPECS)
def test_encode(benchmark, spec):
    code = codes.get(spec)
    data, out = random(code.k, MIB), np.zeros((code.n - code.k, MIB), dtype=np.uint8)
    benchmark.group = "encode, 1 MiB a shard"
    benchmark.extra_info["bytes"] = data.nbytes
    benchmark(code.encode, data, out)


@pytest.mark.parametrize("spec", SPECS)
def test_repair_of_one(benchmark, spec):
    code = codes.get(spec)
    data = random(code.k, MIB)
    shards = [*data, *code.encode(data)]
    rows = {index: shards[index] for index in code.plan([0], range(1, code.n)).reads}
    out = np.zeros((1, MIB), dtype=np.uint8)
    benchmark.group = "repair of one shard of 1 MiB"
    benchmark(code.reconstruct, rows, (0,), out)


@pytest.mark.parametrize("level", engine.available())
def test_level(benchmark, level):
    folder = Folder(codes.get("rs:10+4").generator[10:], level)
    data, out = list(random(10, MIB)), list(np.zeros((4, MIB), dtype=np.uint8))
    benchmark.group = "encode 10+4, 1 MiB, by engine"
    benchmark(folder.fold, data, out)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(benchmark, threads):
    code = codes.get("rs:10+4")
    data, out = random(10, MIB), np.zeros((4, MIB), dtype=np.uint8)
    benchmark.group = "encode 10+4, 1 MiB, by threads; and a copy of as many bytes, eight at a time"
    benchmark(code.encode, data, out, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_copy_by_threads(benchmark, threads):
    copy = Copy(14 * MIB)
    benchmark.group = "encode 10+4, 1 MiB, by threads; and a copy of as many bytes, eight at a time"
    benchmark(copy.seconds, threads, 8)


def test_ldpc(benchmark):
    code = codes.get("ldpc:1000+500")
    data = random(1000, 16384)
    shards = [*data, *code.encode(data)]
    rows = {int(index): shards[index] for index in np.random.default_rng(1).permutation(1500)[:1020]}
    benchmark.group = "decode ldpc:1000+500 from 1,020, 16 KiB a shard"
    benchmark(code.decode, rows)
