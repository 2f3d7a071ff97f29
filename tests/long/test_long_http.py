"""The HTTP API on Ray Serve under load: many small requests at once, and large ones beside a bare deployment."""

import asyncio
import os
import statistics
import time

import httpx
import pytest
from http_on_ray import MIB, OBJECT, served_on_ray

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
CONCURRENCY = 64
ROUNDS = 7


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with served_on_ray(tmp_path_factory.mktemp("serve"), bare=True) as served:
        yield served


def test_small_requests_at_once(served, large):
    """Half of them put an object of some bytes, half fetch one: none may fail."""
    url, headers = served
    total = large.count(10_000)

    async def run():
        took, failed = [], []
        limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60, limits=limits) as client:
            assert (await client.put(f"/v1/objects/small/first{OBJECT}", content=b"first")).status_code == 200
            numbers = iter(range(total))

            async def worker():
                for number in numbers:
                    begun = time.perf_counter()
                    if number % 2:
                        answer = await client.get("/v1/objects/small/first")
                        good = answer.status_code == 200 and answer.content == b"first"
                    else:
                        content = str(number).encode()
                        answer = await client.put(f"/v1/objects/small/{number % 1000}{OBJECT}", content=content)
                        good = answer.status_code == 200
                    took.append(time.perf_counter() - begun)
                    if not good:
                        failed.append((number, answer.status_code, answer.text[:200]))

            begun = time.perf_counter()
            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
            return time.perf_counter() - begun, took, failed

    seconds, took, failed = asyncio.run(run())
    took.sort()
    large.notes.append(
        f"{total / seconds:,.0f}/s at concurrency {CONCURRENCY}, median {1000 * statistics.median(took):.0f} ms, "
        f"99th percentile {1000 * took[len(took) * 99 // 100]:.0f} ms, {len(failed)} errors"
    )
    assert failed == []


def test_large_ones_beside_a_bare_deployment(served, large):
    url, headers = served
    data = os.urandom(64 * MIB)
    took = {what: [] for what in ("bare put", "our put", "bare get", "our get")}
    with httpx.Client(base_url=url, headers=headers, timeout=120) as client:
        for _ in range(ROUNDS):
            for what, ask in {
                "bare put": lambda: client.put("/bare", content=data),
                "our put": lambda: client.put(f"/v1/objects/large{OBJECT}", content=data),
                "bare get": lambda: client.get("/bare"),
                "our get": lambda: client.get("/v1/objects/large"),
            }.items():
                begun = time.perf_counter()
                answer = ask()
                took[what].append(time.perf_counter() - begun)
                assert answer.status_code == 200, answer.text[:300]
                if what == "our get":
                    assert answer.content == data
    large.notes += [f"64 MiB, {what}: median {statistics.median(each[1:]):.2f} s" for what, each in took.items()]
