"""A named system brought up, to run by itself: ``python -m jobs.up``, ``faultset up``."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from faultset_ray.errors import InputError
from jobs.connecting import Address, System, chosen_system
from jobs.output import Json, app, finish, run, working
from jobs.settings import session
from jobs.terminal import console

if TYPE_CHECKING:
    from actors.local_nodes import LocalNodes, Nodes
    from faultset_ray.config import Config
    from faultset_ray.driver.running import Running


def up(
    name: System = None,
    local: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="Start N Ray nodes on this machine first, which go on until `down --local`.",
        ),
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each node of --local.")] = 1,
    attended: Annotated[
        bool, typer.Option("--attended/--unattended", help="Have a servant look after it while no driver is connected.")
    ] = True,
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Bring a system up on a cluster that runs: its coordinator, a store on each place meant for one, an attendant.

    What runs already is left as it is, so again does nothing. It goes on when this command has ended, until
    `faultset down`.
    """
    by = session.config
    system = chosen_system(name, by)
    nodes = made = None
    if local is not None:
        if address is not None:
            raise InputError("--local starts a cluster of its own; it has no --address")
        from actors.local_nodes import LocalNodes

        nodes = LocalNodes(system)
        with working(f"start {local} Ray nodes"):
            made = nodes.start(local, cpus)
        by = of_local(by, nodes, made)
    with working(f"bring up {system}"):
        running = _brought_up(by, system, address or by.cluster.address or "auto", attended=attended)
    _show(running)
    result: dict[str, Any] = {**asdict(running), "local": None}
    if nodes is not None and made is not None:
        _show_nodes(nodes, made)
        result["local"] = told_nodes(nodes, made)
    finish(result)


def of_local(by: Config, nodes: LocalNodes, made: Nodes) -> Config:
    """A config with the cluster and the token of nodes on this machine, whatever it says of others."""
    import os

    from faultset_ray.config import Security

    os.environ.pop("RAY_AUTH_TOKEN", None)  # it would count more than the file, and is another cluster's
    security = Security(ray_auth_mode="token", ray_token_path=str(nodes.token))
    cluster = replace(by.cluster, address=made.address, backend="ray", system=nodes.name)
    return replace(by, cluster=cluster, security=security)


def told_nodes(nodes: LocalNodes, made: Nodes) -> dict[str, Any]:
    """Nodes on this machine, for programs."""
    return {
        "address": made.address,
        "dashboard": made.dashboard,
        "nodes": [{"number": node.number, "pid": node.root.pid} for node in made.nodes],
        "config": str(nodes.config),
        "folder": str(nodes.folder),
        "store_dir": str(nodes.store_dir),
        "environment": {
            "RAY_ADDRESS": made.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(nodes.token),
            "FAULTSET_SYSTEM": made.name,
        },
    }


def _brought_up(by: Config, system: str, address: str, *, attended: bool) -> Running:
    import asyncio

    from actors.attendant import Attendant, without_secrets
    from faultset_ray.driver.running import bring_up
    from faultset_ray.driver.systems import open_backend

    backend = open_backend("ray", system, address, by)
    return asyncio.run(bring_up(backend, system, by, Attendant if attended else None, system, without_secrets(by)))


def _show(running: Running) -> None:
    was = "runs already" if running.was_up else "is up"
    looked = "an attendant looks after it" if running.attended else "nobody looks after it while no driver is connected"
    console.print(f"{running.system} {was} on {running.places} places; {looked}")
    if running.state_dir is not None:
        console.print(f"what it remembers is in {running.state_dir} on the head", soft_wrap=True)
    table = Table(title=f"{len(running.stores)} stores")
    for heading in ("place", "region", "durability", "path"):
        table.add_column(heading, overflow="fold")
    for store in running.stores:
        table.add_row(store.place[:12], store.region, store.durability, store.path)
    console.print(table)


def _show_nodes(nodes: LocalNodes, made: Nodes) -> None:
    pids = ", ".join(str(node.root.pid) for node in made.nodes)
    console.print(f"{len(made.nodes) - 1} Ray nodes and a head, processes {pids}; they go on until", soft_wrap=True)
    console.print(f"  faultset down {made.name} --local", soft_wrap=True)
    console.print(f"dashboard {made.dashboard}; for other commands: --config {nodes.config}, or", soft_wrap=True)
    for variable, value in told_nodes(nodes, made)["environment"].items():
        console.print(f"  export {variable}={value}", soft_wrap=True)


if __name__ == "__main__":
    run(app(up))
