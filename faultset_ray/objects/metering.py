"""How much is encoded and decoded, and how long it takes: told where a driver or a task has it done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, ParamSpec, TypeVar

from faultset_ray.backend.protocol import Net
from faultset_ray.codes import engine
from faultset_ray.telemetry import metric_table as table
from faultset_ray.telemetry.metrics import count, listened

P = ParamSpec("P")
R = TypeVar("R")


async def coded(
    net: Net,
    verb: Literal["encode", "decode"],
    spec: str,
    nbytes: int,
    function: Callable[P, R],
    /,
    *args: P.args,
    **kwargs: P.kwargs,
) -> R:
    """:meth:`Net.compute <faultset_ray.backend.protocol.Net.compute>`, counted as the coding of ``nbytes`` of data."""
    begun_s = net.uptime_s()
    done = await net.compute(function, *args, **kwargs)
    tell_coded(verb, {spec: nbytes}, net.uptime_s() - begun_s)
    return done


def tell_coded(verb: Literal["encode", "decode"], by_code: Mapping[str, int], seconds: float) -> None:
    """Tell what was coded together, in bytes by code: each code took its share of the time, by its bytes."""
    if not listened():
        return
    level, total = engine.active(), sum(by_code.values())
    for spec, nbytes in by_code.items():
        count(table.CODED_BYTES, nbytes, verb, spec, level)
        count(table.CODED_SECONDS, seconds * nbytes / max(total, 1), verb, spec, level)
