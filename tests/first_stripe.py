"""Who encodes what, for certain: a write's first stripe is in its own hands until a task has the next one."""

from __future__ import annotations

import asyncio

from faultset_ray.objects import encode


def hold_first_stripe(monkeypatch):
    """Have the next writes keep their first stripe so long; what has no other one would wait for ever."""
    begun = asyncio.Event()
    here, sent = encode.encode_here, encode.run_with_rows

    async def encode_here(*args):
        await begun.wait()
        return await here(*args)

    async def run_with_rows(*args):
        begun.set()
        return await sent(*args)

    monkeypatch.setattr(encode, "encode_here", encode_here)
    monkeypatch.setattr(encode, "run_with_rows", run_with_rows)
