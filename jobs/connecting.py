"""Where a job runs: on the cluster that it is given, or in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import typer

from faultset_ray.backend.protocol import Backend
from faultset_ray.driver.sync import Driver, connect
from faultset_ray.driver.systems import open_backend, system_name

B = TypeVar("B", bound=Backend)

Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster to use: HOST:PORT or 'auto'. RAY_ADDRESS, which a submitted job has, does too."),
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend",
        help="'ray', 'local' (this process), or 'auto': Ray where a cluster is named, else this process.",
    ),
]

SystemName = Annotated[
    str,
    typer.Option("--system", envvar="FAULTSET_SYSTEM", help="Name of the system; `register` and `put` create it."),
]
Name = Annotated[str, typer.Argument(help="The object's name; any text of 1 to 1,024 bytes in UTF-8.")]
Deadline = Annotated[
    float, typer.Option("--deadline", help="Seconds; regions that have not answered by then are named.")
]
FleetName = Annotated[str, typer.Option("--fleet", help="Name of the fleet.")]


def attached(address: str | None, system: str, *, create: bool = False) -> Driver:
    """A driver of a named system on a cluster that runs already: what a verb does must be there for the next one.

    Only what makes nodes known or stores objects makes a system; to all else, one that there is not is an error.
    """
    return connect(address or os.environ.get("RAY_ADDRESS") or "auto", system=system, create=create)


def chosen(backend: str, address: str | None) -> str:
    """The name of the backend that a job's options mean."""
    if backend == "auto":
        return "ray" if address or os.environ.get("RAY_ADDRESS") else "local"
    return backend


@asynccontextmanager
async def closing(backend: B) -> AsyncIterator[B]:
    """Close a backend at the end of the block."""
    try:
        yield backend
    finally:
        await backend.close()


def private_backend(backend: str, address: str | None) -> Backend:
    """A backend that ends with this job."""
    return open_backend(chosen(backend, address), system_name(None), address)
