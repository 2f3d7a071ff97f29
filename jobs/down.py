"""A named system ended, its data left on disks: ``python -m jobs.down``, ``faultset down``."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from faultset_ray.errors import ClusterError, InputError, UnknownSystem
from jobs.connecting import Address, System, chosen_system
from jobs.output import Json, app, finish, run, working
from jobs.settings import session
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.config import Config
    from faultset_ray.driver.running import Ended


def down(
    name: System = None,
    local: Annotated[
        bool, typer.Option("--local", help="End the Ray nodes too that `up --local` started under this name.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where stores have no directory, and what they hold goes with them.")
    ] = False,
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """End a system for all its drivers: coordinator, region actors, stores, attendant. Data stays on disks.

    What is new is saved first. `faultset up` brings it back as it was. Of one that does not run, nothing happens.
    """
    by = session.config
    system = chosen_system(name, by)
    if local:
        if address is not None:
            raise InputError("--local ends a cluster of this machine, by name; it has no --address")
        finish(_local(by, system, force=force))
        return
    with working(f"end {system}"):
        ended = _ended(by, system, address or by.cluster.address or "auto", force=force)
    _show(ended)
    finish({**asdict(ended), "local": None})


def _local(by: Config, system: str, *, force: bool) -> dict[str, Any]:
    """End a system on nodes of this machine, if they run, and the nodes; what came of both."""
    from actors.local_nodes import LocalNodes
    from faultset_ray.driver.running import Ended
    from jobs.up import of_local, told_nodes

    nodes = LocalNodes(system)
    there = nodes.read()
    ended = Ended(system, was_up=False, servants=(), stores=(), state_dir=None, orderly=True)
    if there is not None and there.running:
        with_token = of_local(by, nodes, there)
        try:
            with working(f"end {system}"):
                ended = _ended(with_token, system, there.address, force=force)
        except (ClusterError, UnknownSystem) as error:
            console.print(f"{system} was not ended in order: {error}", soft_wrap=True)
            ended = replace(ended, orderly=False)
        else:
            _show(ended)
    told = {"folder": str(nodes.folder)} if there is None else told_nodes(nodes, there)
    with working("end its Ray nodes"):
        processes = nodes.end()
    console.print(
        f"{len(processes)} processes of Ray were ended; {nodes.folder} is left: state, stores and token", soft_wrap=True
    )
    return {**asdict(ended), "local": {**told, "ended": [each.pid for each in processes]}}


def _ended(by: Config, system: str, address: str, *, force: bool) -> Ended:
    import asyncio

    from faultset_ray.driver.running import bring_down
    from faultset_ray.driver.systems import open_backend

    return asyncio.run(bring_down(open_backend("ray", system, address, by), system, by, force=force))


def _show(ended: Ended) -> None:
    from faultset_ray.driver.running import servants_by_kind

    if not ended.was_up:
        console.print(f"{ended.system} was not up")
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in servants_by_kind(ended.servants).items())
    console.print(f"{ended.system} is down: {kinds}", soft_wrap=True)
    if not ended.orderly:
        console.print("not all that was new could be saved; see the log", soft_wrap=True)
    if ended.state_dir is not None:
        console.print(f"what it remembers stays in {ended.state_dir} on the head", soft_wrap=True)
    table = Table(title="left on disks")
    for heading in ("place", "path"):
        table.add_column(heading, overflow="fold")
    for heading in ("shards", "bytes"):
        table.add_column(heading, justify="right")
    for store in ended.stores:
        path = store.path if store.durability != "none" else "gone: it had no directory"
        table.add_row(store.place[:12], path, f"{store.shards:,}", f"{store.used_bytes:,}")
    console.print(table)


if __name__ == "__main__":
    run(app(down))
