"""Erasure coding beside its peers: ``python benchmarks/bench_codes_table.py [--quick] [--threads]``.

First ours against ISA-L, paired: the two run in turn on the same rows, and a ratio is the median of
the pairs' quotients of process CPU time. That is done several times on memory newly taken from the
system, since where it lies decides too: the median of the ratios, with the least and the greatest.
Then two threads against one, in wall-clock time, of pairs in which all threads had a CPU, beside a plain
copy of as many bytes on one thread and two: the bound that caches and memory set. Then the throughput of
other libraries' own calls. The table is also written to ``benchmarks/results/codes-ENGINE.md``. A missed
target ends the run with 1.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import cache

import numpy as np
from bench_codes_copy import Copy
from bench_codes_isal import Isal
from report import RESULTS, about

from faultset_ray import codes
from faultset_ray.codes import engine

SHAPES = ((4, 2), (8, 3), (10, 4), (16, 4), (32, 8))
KIB, MIB = 1 << 10, 1 << 20
PORTABLE_GB_S = 1.0
PROTOTYPE = {(4, 2): 0.3, (10, 4): 0.7, (32, 8): 1.0}
"""``decode`` from a dict at 64 KiB: what a plain prototype reached, the least to be expected."""
GAP = 4096 + 192
"""Rows a power of two apart compete for the same sets of a cache, which is harder on one library than on the other."""
SINGLE = {MIB: 1.0, 16 * MIB: 1.15}
TARGETS = {"single": SINGLE, "single, rows apart": SINGLE, "batch": {64 * KIB: 1.0, 4 * KIB: 0.9}}


def paired(ours, theirs, rounds, inner):
    """Return median CPU seconds a call of each, and the median quotient theirs / ours."""
    spent = ([], [])
    for _ in range(rounds):
        for calls, times in ((ours, spent[0]), (theirs, spent[1])):
            begin = time.process_time_ns()
            for step in range(inner):
                calls[step % len(calls)]()
            times.append((time.process_time_ns() - begin) / inner / 1e9)
    ratio = statistics.median(b / a for a, b in zip(*spent, strict=True))
    return statistics.median(spent[0]), statistics.median(spent[1]), ratio


def random(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@cache
def pool():
    return random((16 << 20) + (1 << 20))


def stripes(code, length, count, gap=0):
    """Return uint8[count, n, length], each stripe coded, rows so many bytes apart."""
    block = np.empty((count, code.n, length + gap), dtype=np.uint8)[..., :length]
    for index in range(code.k):
        block[:, index] = pool()[4096 * index : 4096 * index + length]
    for stripe in block:
        code.encode(stripe[: code.k], stripe[code.k :])
    return block


def single(code, length, decode, sets, gap=0):
    """Calls, ours and ISA-L's, that encode one stripe, or make its lost data shards of the others."""
    block = stripes(code, length, sets, gap)
    m = code.n - code.k
    lost = tuple(range(m))
    plan = code.plan(lost, range(m, code.n))
    isal = Isal(plan.matrix if decode else code.generator[code.k :])
    ours, theirs = [], []
    for stripe in block:
        out = np.zeros((m, length + gap), dtype=np.uint8)[:, :length]
        if decode:
            rows = {index: stripe[index] for index in range(m, code.n)}
            ours.append(lambda rows=rows, out=out: code.reconstruct(rows, lost, out))
            theirs.append(isal.prepare([stripe[index] for index in plan.reads], out))
            expected = stripe[:m]
        else:
            ours.append(lambda stripe=stripe, out=out: code.encode(stripe[: code.k], out))
            theirs.append(isal.prepare(stripe[: code.k], out))
            expected = stripe[code.k :]
        for call in (ours[-1], theirs[-1]):
            out[:] = 0
            call()
            assert np.array_equal(out, expected)
    return ours, theirs, 1


def apart(code, length, decode, sets):
    """The same, with rows that lie as they do in files and packets: no power of two from each other."""
    return single(code, length, decode, sets, GAP)


def batch(code, length, decode, _sets):
    """The same for a batch of stripes: one call of ours, one of ISA-L for each stripe."""
    count = max(2, 2 * MIB // (length * code.k))
    block = stripes(code, length, count)
    m = code.n - code.k
    lost = tuple(range(m))
    plan = code.plan(lost, range(m, code.n))
    isal = Isal(plan.matrix if decode else code.generator[code.k :])
    out = np.zeros((count, m, length), dtype=np.uint8)
    if decode:
        rows = {index: block[:, index] for index in range(m, code.n)}
        ours = [lambda: code.reconstruct_batch(rows, lost, out)]
        calls = [isal.prepare([stripe[i] for i in plan.reads], made) for stripe, made in zip(block, out, strict=True)]
        expected = block[:, :m]
    else:
        data = block[:, : code.k]
        ours = [lambda: code.encode_batch(data, out)]
        calls = [isal.prepare(stripe[: code.k], made) for stripe, made in zip(block, out, strict=True)]
        expected = block[:, code.k :]

    def theirs():
        for call in calls:
            call()

    for call in (ours[0], theirs):
        out[:] = 0
        call()
        assert np.array_equal(out, expected)
    return ours, [theirs], count


def whole(code, length, _decode, _sets):
    """Calls of ``decode``, the lost shards absent; of ISA-L, which makes them, and numpy, which copies the others."""
    m = code.n - code.k
    stripe = stripes(code, length, 1)[0]
    rows = {index: stripe[index] for index in range(m, code.n)}
    out = np.zeros((code.k, length), dtype=np.uint8)
    plan = code.plan(range(m), rows)
    make = Isal(plan.matrix).prepare([stripe[index] for index in plan.reads], out[:m])
    sound, there = stripe[m : code.k], out[m:]

    def theirs():
        make()
        there[...] = sound

    return alike([lambda: code.decode(rows, out)], [theirs], out, stripe[: code.k])


def surplus(code, length, _decode, _sets):
    """Calls that make one lost data shard, all others given; ISA-L is handed the k that it reads."""
    stripe = stripes(code, length, 1)[0]
    rows = {index: stripe[index] for index in range(1, code.n)}
    out = np.zeros((1, length), dtype=np.uint8)
    plan = code.plan([0], rows)
    theirs = Isal(plan.matrix).prepare([stripe[index] for index in plan.reads], out)
    wanted = (0,)
    return alike([lambda: code.reconstruct(rows, wanted, out)], [theirs], out, stripe[:1])


def alike(ours, theirs, out, expected):
    """The calls, once both were seen to be right."""
    for call in (ours[0], theirs[0]):
        out[:] = 0
        call()
        assert np.array_equal(out, expected)
    return ours, theirs, 1


def against_isal(quick):
    yield "| call | code | shard | ours GB/s | ISA-L GB/s | ratio | least to greatest | target |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, prepare, lengths in (
        ("batch", batch, (4 * KIB, 64 * KIB)),
        ("single", single, (64 * KIB, MIB, 16 * MIB)),
        ("single, rows apart", apart, (64 * KIB, MIB, 16 * MIB)),
    ):
        for length in lengths:
            for k, m in SHAPES:
                for decode in (False, True):
                    yield compared(name, prepare, length, codes.get(f"rs:{k}+{m}"), decode, quick)
    for name, prepare in (("all data of a dict:", whole), ("one shard of all others:", surplus)):
        for length in (4 * KIB, 64 * KIB):
            for k, m in SHAPES:
                yield compared(name, prepare, length, codes.get(f"rs:{k}+{m}"), True, quick)


def portable(quick):
    """The level that any CPU has, compiled for this one and for the least of its kind."""
    yield "| engine, encode 10+4, 1 MiB shards | compiled for | GB/s | target |"
    yield "|---|---|---|---|"
    yield portable_line("this CPU", portable_speed(quick))
    with tempfile.TemporaryDirectory() as cache:
        least = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": cache}
        command = [sys.executable, __file__, "--portable", *(["--quick"] if quick else [])]
        found = subprocess.run(command, env=os.environ | least, check=True, capture_output=True, text=True)
    yield portable_line("any x86-64" if platform.machine() == "x86_64" else "any of its kind", float(found.stdout))


def portable_line(cpu, speed):
    return f"| portable | {cpu} | {speed:.2f} | {marked(speed, PORTABLE_GB_S)} |"


def portable_speed(quick):
    """GB/s of data, (10,4), 1 MiB."""
    code = codes.get("rs:10+4")
    stripe = stripes(code, MIB, 1)[0]
    folder, out = engine.Folder(code.generator[10:], "portable"), np.zeros((4, MIB), np.uint8)
    assert folder.try_fold(stripe[:10], out)
    assert np.array_equal(out, stripe[10:])
    call = [lambda: folder.try_fold(stripe[:10], out)]
    seconds, _, _ = paired(call, call, 5 if quick else 15, 3)
    return 10 * MIB / seconds / 1e9


def marked(found, target):
    """A target and whether it is reached."""
    return f"{target} {'ok' if found >= target else 'MISSED'}"


def compared(name, prepare, length, code, decode, quick):
    """One line: the median over several sets of buffers."""
    sets = 2 if length >= 16 * MIB and code.k < 32 else 1
    found = []
    for _ in range(3 if quick else 7):
        ours, theirs, count = prepare(code, length, decode, sets)
        nbytes = code.k * length * count
        inner = max(len(ours), int((0.003 if quick else 0.008) * 15e9 / nbytes))
        mine, its, ratio = paired(ours, theirs, 3 if quick else 5, inner)
        found.append((nbytes / 1e9 / mine, nbytes / 1e9 / its, ratio))
        del ours, theirs
    speed, its_speed, ratio = (statistics.median(column) for column in zip(*found, strict=True))
    target = 1.5 if (code.k, length) == (32, 16 * MIB) else TARGETS.get(name, {}).get(length)
    if (prepare, length) == (whole, 64 * KIB):
        target = PROTOTYPE.get((code.k, code.n - code.k))
    mark = "" if target is None else marked(ratio, target)
    ratios = [one[2] for one in found]
    return (
        f"| {name} {'decode' if decode else 'encode'} | {code.k}+{code.n - code.k} | {length // KIB} KiB "
        f"| {speed:.1f} | {its_speed:.1f} | {ratio:.2f} | {min(ratios):.2f} to {max(ratios):.2f} | {mark} |"
    )


def two_threads(quick):
    """Two threads against one by wall clock, where nobody else had the CPUs; and the same for a plain copy.

    A shard is one row: k of them are read, n - k written. The copy reads and writes as many bytes in all. Calls come in
    a row, and the first one of each, which wakes the helper, is not among them.
    """
    yield (
        "| encode, wall clock | shard | MiB, in and out | 1 thread GB/s | 2 threads GB/s | ratio | least to greatest "
        "| target | copy, ratio | moved GB/s, 2 threads: encode | copy | of the copy |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for k, m, length in (*((k, m, MIB) for k, m in SHAPES), (10, 4, 16 * MIB)):
        yield shared(codes.get(f"rs:{k}+{m}"), length, quick)


def shared(code, length, quick):
    """One line: medians over several sets of buffers, encode and copy in turn."""
    k, m, moved = code.k, code.n - code.k, code.n * length
    start = f"| {k}+{m} | {length // KIB} KiB | {moved // MIB} |"
    encodes, copies = [], []
    seconds = 1.0 if quick else 2.0
    for _ in range(3 if quick else 7):
        data, out = stripes(code, length, 1)[0, :k], np.zeros((m, length), dtype=np.uint8)
        for found, pairs in (
            (encodes, undisturbed_pairs(encoding(code, data, out), moved, seconds)),
            (copies, undisturbed_pairs(Copy(moved).seconds, moved, seconds / 2)),
        ):
            good = list(pairs)
            if good:
                one, two = (statistics.median(column) for column in zip(*good, strict=True))
                found.append((one, two, statistics.median(a / b for a, b in good)))
    if not encodes or not copies:
        return f"{start} | | | never were two CPUs free | | | | | |"
    one, two, ratio = (statistics.median(column) for column in zip(*encodes, strict=True))
    _, copy_two, copy_ratio = (statistics.median(column) for column in zip(*copies, strict=True))
    ratios, size = [some[2] for some in encodes], k * length / 1e9
    encode_speed, copy_speed = (moved / seconds / 1e9 for seconds in (two, copy_two))
    return (
        f"{start} {size / one:.1f} | {size / two:.1f} | {ratio:.2f} | {min(ratios):.2f} to {max(ratios):.2f} "
        f"| {marked(ratio, 1.6) if length == MIB else ''} | {copy_ratio:.2f} | {encode_speed:.0f} | {copy_speed:.0f} "
        f"| {encode_speed / copy_speed:.0%} |"
    )


def encoding(code, data, out):
    """Seconds a call with so many threads, and the CPUs that were in use meanwhile."""

    def seconds(threads, rounds):
        code.encode(data, out, threads=threads)  # a helper that sleeps is woken once, not in each row of calls
        cpu, begin = time.process_time_ns(), time.perf_counter_ns()
        for _ in range(rounds):
            code.encode(data, out, threads=threads)
        wall = time.perf_counter_ns() - begin
        return wall / rounds / 1e9, (time.process_time_ns() - cpu) / wall

    return seconds


def undisturbed_pairs(work, moved, seconds):
    """Wall-clock seconds of a round with one thread and with two, where each of them had a CPU all the time."""
    rounds = max(2, int(2e-3 * 60e9 / moved))
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        (one, busy_one), (two, busy_two) = (work(threads, rounds) for threads in (1, 2))
        if busy_one >= 0.97 and busy_two >= 1.9:
            yield one, two


def peers(length=MIB):
    """Other libraries' own calls on (10,4), 1 MiB a shard, encode: GB/s of data in."""
    import raptorq
    import zfec
    from pyeclib.ec_iface import ECDriver
    from reed_solomon_leopard import encode as leopard
    from reedsolo import RSCodec

    data = random((10, length))
    whole = data.tobytes()
    rows = [row.tobytes() for row in data]
    out = np.empty((4, length), dtype=np.uint8)
    code = codes.get("rs:10+4")
    pyeclib = ECDriver(k=10, m=4, ec_type="isa_l_rs_cauchy")
    encoder = zfec.Encoder(10, 14)
    reedsolo = RSCodec(4)
    calls = {
        f"faultset-ray ({engine.active()})": (lambda: code.encode(data, out), len(whole), 20),
        "pyeclib isa_l_rs_cauchy": (lambda: pyeclib.encode(whole), len(whole), 5),
        "zfec": (lambda: encoder.encode(rows, tuple(range(10, 14))), len(whole), 2),
        "reed-solomon-leopard": (lambda: leopard(rows, 4), len(whole), 5),
        "raptorq, 1 MiB, 1,400-byte packets, 40 % repair": (
            lambda: raptorq.Encoder.with_defaults(whole[:MIB], 1400).get_encoded_packets(300),
            MIB,
            1,
        ),
        "reedsolo": (lambda: reedsolo.encode(whole[:2000]), 2000, 1),
    }
    yield "| library, encode 10+4, 1 MiB shards | GB/s |"
    yield "|---|---|"
    for name, (call, size, inner) in calls.items():
        call()
        times = []
        for _ in range(5):
            begin = time.process_time_ns()
            for _ in range(inner):
                call()
            times.append((time.process_time_ns() - begin) / inner / 1e9)
        yield f"| {name} | {size / 1e9 / statistics.median(times):.3g} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the time, rougher figures")
    parser.add_argument("--no-peers", action="store_true", help="only ISA-L")
    parser.add_argument("--portable", action="store_true", help="only the portable engine's GB/s")
    parser.add_argument("--threads", action="store_true", help="only two threads against one; the file stays as it is")
    arguments = parser.parse_args()
    quick = arguments.quick
    if arguments.portable:
        print(portable_speed(quick))
        return 0
    lines = [
        about(),
        "",
        f"Engine {engine.active()}; GB/s of data shards; one thread and its CPU time, where nothing else is said.",
        "",
    ]
    print(lines[0], lines[2], sep="\n")
    if arguments.threads:
        for line in two_threads(quick):
            print(line, flush=True)
        return 0
    for part in (against_isal(quick), portable(quick), two_threads(quick), () if arguments.no_peers else peers()):
        for line in part:
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    (RESULTS / f"codes-{engine.active()}.md").write_text("\n".join(lines))
    return 1 if any("MISSED" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
