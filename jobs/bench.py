"""How fast it is here: ``python -m jobs.bench``, ``faultset bench``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from jobs import completing
from jobs.connecting import Address, BackendName, private
from jobs.output import Json, app, finish, run
from jobs.settings import session
from jobs.terminal import console

_MIB = 1 << 20


def bench(
    code: Annotated[
        list[str] | None,
        typer.Option(
            help="A code to measure; may be repeated. By default codes.put and codes.encode of the config.",
            autocompletion=completing.codes,
        ),
    ] = None,
    shard_bytes: Annotated[int, typer.Option(min=64, max=64 * _MIB, help="Bytes of a shard that is coded.")] = _MIB,
    object_bytes: Annotated[
        int, typer.Option(min=1, max=1024 * _MIB, help="Bytes of the large object that is put and fetched.")
    ] = 16 * _MIB,
    nodes: Annotated[int, typer.Option(min=1, max=10_000_000, help="Nodes of the fleet that is asked.")] = 100_000,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, max=3600, help="Measure for about so long in all; what takes longer is done twice."),
    ] = 10.0,
    backend: BackendName = "auto",
    address: Address = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Measure how fast codes, objects and fleets are here: on a cluster, or in this process alone.

    Everything happens in a private system, which is gone afterwards. Another engine: `--set codes.engine=avx2`.
    """
    from faultset_ray import codes
    from jobs import measuring

    specs = code or list(dict.fromkeys([session.config.codes.put, session.config.codes.encode]))
    for spec in specs:
        codes.get(spec)  # refused before anything is measured
    begun = time.perf_counter()
    share = seconds / (len(specs) + 2)
    with private(backend, address) as driver:  # first of all: no cluster, no figures
        coded = [measuring.of_code(spec, shard_bytes, share) for spec in specs]
        _show_codes(coded)
        stored = measuring.of_objects(driver, specs[0], object_bytes, share)
        _show_objects(stored)
        asked = measuring.of_fleet(driver, nodes, share)
        _show_fleet(asked)
    taken = round(time.perf_counter() - begun, 3)
    finish({"codes": coded, "objects": stored, "fleet": asked, "seconds": taken})


def _show_codes(coded: list[dict[str, Any]]) -> None:
    first = coded[0]
    table = Table(
        title=f"one thread, engine {first['engine']}, shards of {first['shard_bytes']:,} bytes: GB of data a second"
    )
    table.add_column("code")
    for name in ("encode", "decode", "lost", "a plain copy"):
        table.add_column(name, justify="right")
    for row in coded:
        figures = (f"{row[key]:,.1f}" for key in ("encode_gb_s", "decode_gb_s"))
        table.add_row(row["code"], *figures, str(row["lost"]), f"{row['copy_gb_s']:,.1f}")
    console.print(table)


def _show_objects(stored: dict[str, Any]) -> None:
    console.print(
        f"objects of {stored['code']} on {stored['stores']} stores ({stored['durability']}, bear "
        f"{stored['survivable']} losses): {stored['size']:,} bytes put at {stored['put_mb_s']:,} MB/s, fetched at "
        f"{stored['get_mb_s']:,} MB/s; {stored['small_size']:,} bytes put in {stored['small_put_ms']:,} ms, fetched in "
        f"{stored['small_get_ms']:,} ms"
    )


def _show_fleet(asked: dict[str, Any]) -> None:
    console.print(
        f"{asked['nodes']:,} nodes: registered in {asked['register_s']:,} s, observed in {asked['observe_s']:,} s; "
        f"{asked['survivors']:,} survivors in {asked['survivors_s']:,} s"
    )


if __name__ == "__main__":
    run(app(bench))
