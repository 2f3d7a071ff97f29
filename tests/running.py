"""Run a scenario to its end on a backend that ends with it."""

from __future__ import annotations

import asyncio

from faultset_ray.backend.local import LocalBackend


def run(work):
    """``work(backend)`` in this process."""

    async def main():
        backend = LocalBackend(cpus=2)
        try:
            return await work(backend)
        finally:
            await backend.close()

    return asyncio.run(main())


def simulate(sim, scenario):
    """A coroutine in a simulation, which can't be used after it."""
    try:
        return sim.execute(scenario)
    finally:
        sim.dispose()
