"""How an object is: ``python -m jobs.stat``, ``faultset stat``."""

from __future__ import annotations

from jobs.connecting import Address, Name, SystemName, attached
from jobs.output import Json, app, finish, run, shown
from jobs.terminal import console


def stat(
    name: Name,
    system: SystemName = "default",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Tell how an object is: its size and generation, where its shards are, and how many further losses it bears."""
    from faultset_ray.driver.described import told_stat

    with attached(address, system) as driver:
        found = driver.stat(name)
    console.print(f"{shown(name)}: {found.size:,} bytes as {found.spec}, generation {found.generation}", soft_wrap=True)
    console.print(f"  {found.health}: bears {found.survivable} further losses of stores, promised {found.tolerate}")
    for index, (_, place, path) in sorted(found.locations.items()):
        console.print(f"  shard {index}: {place} {path}", soft_wrap=True)
    for index, why in sorted(found.missing.items()):
        console.print(f"  shard {index} is missing: {why}", soft_wrap=True)
    finish({"system": system, **told_stat(found)})


if __name__ == "__main__":
    run(app(stat))
