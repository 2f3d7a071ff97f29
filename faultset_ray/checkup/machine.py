"""What a machine says of itself: versions, engine, cache of kernels, the disk of its stores, its clock."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from faultset_ray._version import __version__
from faultset_ray.backend.protocol import Net
from faultset_ray.checkup.disk import Disk, examine
from faultset_ray.checkup.wheel import Installed, installed
from faultset_ray.codes import engine
from faultset_ray.config.process import at_place
from faultset_ray.errors import FaultsetError
from faultset_ray.kernels import jit

PACKAGES = "ray", "numpy", "numba", "llvmlite"


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts of one machine, as plain values."""

    versions: dict[str, str]
    """Of ``python``, ``faultset-ray`` (the code that runs) and the packages that are there."""
    wheel: Installed
    engine: str
    engines: tuple[str, ...]
    """Those that it could run, fastest first."""
    compiled: bool
    """Whether kernels are compiled, by numba."""
    cache: str
    """Directory of compiled kernels."""
    cache_problem: str
    """Why nothing can be kept there; empty where it can."""
    disk: Disk | None
    """Of its stores; None where no directory is set for them."""
    setting_problem: str
    """Why the setting of that directory can't be read there."""


def describe(uptime_s: Callable[[], float]) -> Machine:
    """Look at the machine that this process is on."""
    versions = {"python": platform.python_version(), "faultset-ray": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cache, cache_problem = jit.cache_state()
    try:
        directory, setting_problem = at_place("stores.dir"), ""
    except FaultsetError as error:
        directory, setting_problem = None, str(error)
    return Machine(
        versions,
        installed(),
        engine.active(),
        engine.available(),
        jit.HAVE_NUMBA,
        cache,
        cache_problem,
        None if directory is None else examine(directory, uptime_s),
        setting_problem,
    )


async def look(net: Net) -> Machine:
    """The same, as a task at a place."""
    return describe(net.uptime_s)


async def tell_time(net: Net) -> int:
    """What a place's clock says, in milliseconds since the epoch: a task."""
    return net.now_ms()
