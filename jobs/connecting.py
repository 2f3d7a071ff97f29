"""Where a job runs: on the cluster that it is given, or in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from jobs import completing
from jobs.settings import from_config, session

if TYPE_CHECKING:
    from faultset_ray.backend.protocol import Backend
    from faultset_ray.config import Config
    from faultset_ray.driver.sync import Driver

B = TypeVar("B", bound="Backend")

Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to use: HOST:PORT or 'auto'. By default cluster.address of the config, RAY_ADDRESS before it."
    ),
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        callback=from_config(lambda config: config.cluster.backend),
        autocompletion=completing.words("auto", "ray", "local"),
        help="'ray', 'local' (this process), or 'auto': Ray where a cluster is named, else this process.",
    ),
]

SystemName = Annotated[
    str,
    typer.Option(
        "--system",
        callback=from_config(lambda config: config.cluster.system),
        help="Name of the system, FAULTSET_SYSTEM before a config's; `register` and `put` create it.",
    ),
]
System = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="The system's name; by default FAULTSET_SYSTEM, the config's, or `default`."),
]
Name = Annotated[str, typer.Argument(help="The object's name; any text of 1 to 1,024 bytes in UTF-8.")]
Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline",
        help="Seconds; regions that have not answered by then are named. By default limits.survivors_s of the config; "
        "of `observe`, limits.observe_s.",
    ),
]
FleetName = Annotated[str, typer.Option("--fleet", help="Name of the fleet.", autocompletion=completing.fleets)]


def connect(address: str | None, **options: Any) -> Driver:
    """:func:`faultset_ray.connect`, which takes a while to load."""
    from faultset_ray.driver import sync

    return sync.connect(address, **options)


def attached(address: str | None, system: str, *, create: bool = False) -> Driver:
    """A driver of a named system on a cluster that runs already: what a verb does must be there for the next one.

    Only what makes nodes known or stores objects makes a system; to all else, one that there is not is an error.
    """
    by = session.config
    return connect(address or by.cluster.address or "auto", system=system, create=create, config=by)


def private(backend: str, address: str | None) -> Driver:
    """A driver of a system that ends with this job."""
    by = session.config
    name, address = _chosen(backend, address)
    return connect(address, backend=name, config=replace(by, cluster=replace(by.cluster, system=None)))


def _chosen(backend: str, address: str | None) -> tuple[str, str | None]:
    """The name of the backend that a job's options mean, and the cluster's address."""
    there = session.config.cluster.address
    name = backend if backend != "auto" else "ray" if address or there else "local"
    return name, address if name == "local" else address or there


@asynccontextmanager
async def closing(backend: B) -> AsyncIterator[B]:
    """Close a backend at the end of the block."""
    try:
        yield backend
    finally:
        await backend.close()


def chosen_system(name: str | None, by: Config) -> str:
    """The system that is meant: the one that is named, else a config's, else ``default``.

    Raises
    ------
    InputError
        It can't be the name of one.
    """
    from faultset_ray.driver.system_names import system_name

    return system_name(name or by.cluster.system or "default")


def private_backend(backend: str, address: str | None) -> Backend:
    """A backend that ends with this job."""
    from faultset_ray.driver.system_names import system_name
    from faultset_ray.driver.systems import open_backend

    name, address = _chosen(backend, address)
    return open_backend(name, system_name(None), address, session.config)
