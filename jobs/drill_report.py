"""What a drill shows to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.panel import Panel
from rich.table import Table

from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.control.answer import Survivors
    from faultset_ray.driver.object_values import ObjectStat
    from faultset_ray.model import Fleet
    from jobs.drill import Victim

_ROWS_SHOWN = 12


def survivors(title: str, fleet: Fleet, answer: Survivors) -> None:
    """The regions that have survivors, nearest first."""
    latency_of = dict(zip(fleet.ids.tolist(), fleet.latency_ms.tolist(), strict=True))
    rows = sorted((latency_of[ids[0]], region, len(ids), ids[0]) for region, ids in answer.by_region.items())
    table = Table(title=f"{title}: {len(answer):,} of {len(fleet):,} nodes within {answer.threshold_ms:g} ms")
    table.add_column("region (geohash)")
    table.add_column("survivors", justify="right")
    table.add_column("nearest node")
    table.add_column("ms", justify="right")
    for latency, region, count, nearest in rows[:_ROWS_SHOWN]:
        table.add_row(region, str(count), str(nearest), f"{latency:.1f}")
    if len(rows) > _ROWS_SHOWN:
        table.add_row(f"… {len(rows) - _ROWS_SHOWN} more", "", "", "")
    console.print(table)
    console.print(f"  no survivor in {len(answer.empty_regions)} regions, no answer from {len(answer.missing_regions)}")


def shards(stored: ObjectStat, region_of: Mapping[str, str]) -> None:
    """Where each shard lies."""
    table = Table(title=f"{stored.size:,} bytes as {stored.spec}: survives the loss of any {stored.survivable} stores")
    table.add_column("shard", justify="right")
    table.add_column("Ray node")
    table.add_column("region")
    for index, (_, place, _) in sorted(stored.locations.items()):
        table.add_row(str(index), place[:12], region_of.get(place, ""))
    console.print(table)


def killed(victims: Sequence[Victim], lost: Sequence[int]) -> None:
    """Who was killed, and which shards went with them."""
    table = Table(title="kill -9")
    table.add_column("Ray node")
    table.add_column("region")
    table.add_column("processes", justify="right")
    for victim in victims:
        table.add_row(victim.place[:12], victim.region, str(len(victim.pids)))
    console.print(table)
    console.print(f"  lost shards: {', '.join(map(str, lost)) or 'none'}")


def verdict(result: Mapping[str, Any], k: int, seconds: Mapping[str, float]) -> None:
    """How long each step took, and whether all is well; the first `k` shards are of data."""
    table = Table(title="Timings")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("MB/s", justify="right")
    for step, took in seconds.items():
        rate = f"{result['size'] / took / 1e6:,.0f}" if step in ("put", "get") else ""
        table.add_row(step, f"{took:.2f}", rate)
    console.print(table)
    data_lost = [index for index in result["lost_shards"] if index < k]
    lines = [
        f"every byte is back: {'yes' if result['bytes_back'] else 'NO'}   SHA-256 {result['sha256_out']}",
        f"data shards rebuilt from parity: {', '.join(map(str, data_lost)) or 'none'}",
        f"survivors equal the oracle's: {'yes' if result['survivors_equal_oracle'] else 'NO'}",
    ]
    console.print(Panel("\n".join(lines), title="passed" if result["passed"] else "FAILED", expand=False))
