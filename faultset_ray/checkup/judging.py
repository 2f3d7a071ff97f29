"""Findings from facts: pure, so that every rule is tried without a broken machine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Final

from faultset_ray.checkup.disk import Disk
from faultset_ray.checkup.findings import Finding, Level
from faultset_ray.checkup.machine import Machine
from faultset_ray.checkup.wheel import Installed
from faultset_ray.errors.base import listed
from faultset_ray.limits import (
    CLOCK_SKEW_MS_MAX,
    MIB,
    STORE_RESERVE_BYTES_MAX,
    STORE_RESERVE_SHARE,
    STORE_SPARE_BYTES_MAX,
    STORE_SPARE_SHARE,
)

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
_FAR: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "glusterfs", "lustre", "overlay"})
_CLOCK_MS: Final = CLOCK_SKEW_MS_MAX // 4
_TOO_QUICK_S: Final = 10e-6
"""No disk makes anything durable in less."""
_SLOW_ENGINES: Final = frozenset({"naive", "portable"})


def judge_config(problems: Sequence[str], warnings: Sequence[str], file: str | None) -> Iterator[Finding]:
    """What is wrong with the settings in force, as ``faultset config check`` finds it."""
    where = file or "no file; variables and defaults"
    for problem in problems:
        yield Finding("config", Level.FAILED, problem, remedy="`faultset config check` tells all of it")
    for warning in warnings:
        yield Finding("config", Level.WARNING, warning, remedy="mend or remove it; nothing reads it as it is")
    if not problems and not warnings:
        yield Finding("config", Level.OK, where)


def judge_machine(machine: Machine, place: str = "") -> Iterator[Finding]:
    """What is wrong with one machine by itself, its store's disk apart."""
    yield from _judge_wheel(machine.wheel, place)
    levels = {"engine": machine.engine, "engines": machine.engines, "compiled": machine.compiled}
    if not machine.compiled:
        remedy = "install numba, or unset FAULTSET_DISABLE_NUMBA"
        yield Finding(
            "engine", Level.WARNING, "kernels are not compiled: the same results, slower", place, remedy, levels
        )
    elif machine.engine in _SLOW_ENGINES:
        told = f"codes run on {machine.engine}, of {', '.join(machine.engines)}"
        remedy = "unset FAULTSET_ENGINE and codes.engine; a processor without AVX2 has nothing faster"
        yield Finding("engine", Level.WARNING, told, place, remedy, levels)
    else:
        yield Finding("engine", Level.OK, f"codes run on {machine.engine}", place, numbers=levels)
    if machine.compiled and machine.cache_problem:
        remedy = "set NUMBA_CACHE_DIR to a directory that its user may write to"
        told = f"compiled kernels can't be kept, so every process compiles its own: {machine.cache_problem}"
        yield Finding("kernel_cache", Level.WARNING, told, place, remedy)
    elif machine.compiled:
        yield Finding("kernel_cache", Level.OK, machine.cache, place)


def _judge_wheel(wheel: Installed, place: str) -> Iterator[Finding]:
    numbers = {"version": wheel.version, "files": wheel.files, "changed": wheel.changed, "missing": wheel.missing}
    if wheel.version is None:
        told = "not installed there: the code comes with the driver, or from a clone"
        yield Finding("wheel", Level.SKIPPED, told, place, numbers=numbers)
    elif wheel.editable:
        yield Finding("wheel", Level.SKIPPED, f"{wheel.version}, editable: it has no hashes", place, numbers=numbers)
    elif wheel.changed or wheel.missing:
        told = f"{len(wheel.changed)} of {wheel.files} installed files were changed, {len(wheel.missing)} are missing: "
        names = listed([*wheel.changed, *wheel.missing])
        remedy = f"pip install --force-reinstall --no-deps faultset-ray=={wheel.version}"
        yield Finding("wheel", Level.FAILED, told + names, place, remedy, numbers)
    else:
        told = f"{wheel.version}: {wheel.files} files are as they were released"
        if wheel.elsewhere:
            told += f"; this process has its code from {wheel.elsewhere}"
        yield Finding("wheel", Level.OK, told, place, numbers=numbers)


def judge_versions(own: Machine, others: Mapping[str, Machine]) -> Iterator[Finding]:
    """Whether all places run what this machine does."""
    equal = {}
    for name, ours in own.versions.items():
        differ: dict[str, list[str]] = defaultdict(list)
        for place, machine in others.items():
            if (theirs := machine.versions.get(name, "none")) != ours:
                differ[theirs].append(place)
        if not differ:
            equal[name] = ours
        for theirs, places in differ.items():
            level = Level.FAILED if _must_equal(name, ours, theirs) else Level.WARNING
            told = f"{name} {theirs} on {listed(places)}, {ours} here"
            remedy = "install one version everywhere (constraints.txt has those that are tested)"
            yield Finding("versions", level, told, places[0], remedy, {name: ours, "there": theirs, "places": places})
    if equal:
        where = f" here and on {len(others)} places" if others else ""
        told = ", ".join(f"{name} {ours}" for name, ours in equal.items())
        yield Finding("versions", Level.OK, told + where, numbers=equal)
    skewed = [
        place
        for place, machine in others.items()
        if machine.wheel.version not in {None, machine.versions["faultset-ray"]}
    ]
    if skewed:
        found = sorted({str(others[place].wheel.version) for place in skewed})
        told = f"faultset-ray {', '.join(found)} is installed on {listed(skewed)}, {own.versions['faultset-ray']} runs"
        remedy = "install one version everywhere: what starts there without a driver of ours takes the installed one"
        yield Finding("versions", Level.WARNING, told, skewed[0], remedy, {"installed": found, "places": skewed})


def _must_equal(name: str, ours: str, theirs: str) -> bool:
    """Whether a difference breaks things: of Python the minor version, of numpy the major one, of Ray any."""
    parts = {"python": 2, "numpy": 1, "ray": 3, "faultset-ray": 3}.get(name, 0)
    return ours.split(".")[:parts] != theirs.split(".")[:parts]


def judge_store(disk: Disk | None, problem: str = "", place: str = "") -> Iterator[Finding]:
    """What is wrong with the disk of a machine's stores."""
    if problem:
        yield Finding("store_disk", Level.FAILED, problem, place, "mend the setting in the environment of `ray start`")
        return
    if disk is None:
        told = "no directory for stores: shards are temporary and gone with their process"
        yield Finding(
            "store_disk", Level.WARNING, told, place, "set FAULTSET_STORE_DIR in the environment of Ray there"
        )
        return
    numbers = asdict(disk)
    at = f"{disk.path} on {disk.file_system or 'an unknown file system'}"
    if disk.problem:
        remedy = "mend what is named, or have the directory owned and writable by Ray's user"
        yield Finding("store_disk", Level.FAILED, f"{at}: {disk.problem}", place, remedy, numbers)
        return
    found = [*_judge_space(disk), *_judge_rights(disk), *_judge_honesty(disk)]
    for level, told, remedy in found:
        yield Finding("store_disk", level, f"{at}: {told}", place, remedy, numbers)
    if not found:
        told = f"{at}: {disk.free_bytes / MIB:,.0f} MiB free, durable in {disk.fsync_s * 1000:.2f} ms"
        yield Finding("store_disk", Level.OK, told, place, numbers=numbers)


_Verdict = tuple[Level, str, str]


def _judge_space(disk: Disk) -> Iterator[_Verdict]:
    told = f"{disk.free_bytes / MIB:,.0f} MiB of {disk.capacity_bytes / MIB:,.0f} are free"
    remedy = "free some, or `faultset decommission` the place"
    if disk.free_bytes <= min(disk.capacity_bytes * STORE_SPARE_SHARE, STORE_SPARE_BYTES_MAX):
        yield Level.FAILED, f"{told}: it takes no more shards", remedy
    elif disk.free_bytes <= min(disk.capacity_bytes * STORE_RESERVE_SHARE, STORE_RESERVE_BYTES_MAX):
        yield Level.WARNING, f"{told}: placement passes it over", remedy


def _judge_rights(disk: Disk) -> Iterator[_Verdict]:
    if not disk.owned:
        yield Level.WARNING, "it belongs to another user than Ray's", "chown it to the user that runs Ray"
    if disk.mode & 0o022:
        told = f"mode {disk.mode:04o}: others may put directories there"
        yield Level.FAILED, told, f"chmod 700 {disk.path}"
    elif disk.mode & 0o055:
        yield Level.WARNING, f"mode {disk.mode:04o}: others may look into it", f"chmod 700 {disk.path}"
    if disk.exposed:
        told = f"others may enter {listed(disk.exposed)}"
        yield Level.FAILED, told, "chmod 700 each of them, and look who read or changed what is in it"


def _judge_honesty(disk: Disk) -> Iterator[_Verdict]:
    """Whether what is synced is on a disk."""
    options = set(disk.options.split(","))
    if disk.file_system in _IN_MEMORY:
        yield Level.FAILED, "it is memory: what is synced there is gone with the power", "name a directory on a disk"
    elif disk.file_system in _FAR or disk.file_system.startswith("fuse"):
        told = "whether what is synced stays, and a lock holds, is up to what is behind this file system"
        yield Level.WARNING, told, "name a directory on a disk of the machine's own (in a container: on a volume)"
    elif disk.fsync_s < _TOO_QUICK_S:
        told = f"a sync took {disk.fsync_s * 1e6:.1f} µs, which no disk does"
        yield Level.WARNING, told, "find out what swallows it: a cache without power behind it, a hypervisor"
    if options & {"nobarrier", "barrier=0"}:
        yield Level.FAILED, "mounted without barriers: a sync does not reach the disk", "mount it with barrier=1"
    if "ro" in options:
        yield Level.FAILED, "mounted read-only", "look into the kernel's log: a failing disk is remounted so"
    if "eatmydata" in disk.preloaded:
        yield Level.FAILED, "libeatmydata makes every sync do nothing", "start Ray without LD_PRELOAD"


def judge_clock(place: str, offset_ms: float, within_ms: float) -> Finding:
    """How far a place's clock is from this machine's.

    Parameters
    ----------
    offset_ms
        Theirs less ours.
    within_ms
        By how much that may be wrong: half of the round trip in which it was asked for.
    """
    off = max(0.0, abs(offset_ms) - within_ms)
    numbers = {"offset_ms": round(offset_ms, 1), "within_ms": round(within_ms, 1)}
    told = f"{offset_ms:+,.0f} ms from here, ± {within_ms:,.0f}"
    remedy = "keep clocks in step: NTP on all machines, this one too"
    if off > CLOCK_SKEW_MS_MAX:
        return Finding("clock", Level.FAILED, f"{told}: not believed", place, remedy, numbers)
    if off > _CLOCK_MS:
        return Finding("clock", Level.WARNING, told, place, remedy, numbers)
    return Finding("clock", Level.OK, told, place, numbers=numbers)
