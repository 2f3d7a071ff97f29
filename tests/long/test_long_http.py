"""The HTTP API on Ray Serve under load: many small requests at once, and large ones beside a bare deployment."""

import asyncio
import hashlib
import os
import statistics
import time

import httpx
import pytest
from http_on_ray import MIB, OBJECT, SYSTEM, served_on_ray

from faultset_ray.driver.sync import connect

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
CONCURRENCY = 64
ROUNDS = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def served(folder):
    with served_on_ray(folder, bare=True) as served:
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


def test_large_ones_beside_a_bare_deployment(served, folder, large):
    """And beside what a put does anyhow: the driver's own, a hash, and the shards written and synced."""
    url, headers = served
    data = os.urandom(64 * MIB)
    large.counted = ROUNDS

    def synced():
        for number in range(3):  # as many bytes as the shards of rs:2+1 have, on the same disk
            with (folder / f"raw-{number}").open("wb") as file:
                file.write(memoryview(data)[: 32 * MIB])
                os.fsync(file.fileno())

    with (
        httpx.Client(base_url=url, headers=headers, timeout=120) as client,
        connect(system=SYSTEM, create=False, state_dir=str(folder / "state")) as driver,
    ):

        def asked(method, path, **more):
            answer = client.request(method, path, **more)
            assert answer.status_code == 200, answer.text[:300]
            return answer.content

        works = {
            "bare put": lambda: asked("PUT", "/bare", content=data),
            "our put": lambda: asked("PUT", f"/v1/objects/large{OBJECT}", content=data),
            "driver.put": lambda: driver.put("driven", data, code="rs:2+1", tolerate=0),
            "sha256": lambda: hashlib.sha256(data).digest(),
            "write and fsync of 96 MiB": synced,
            "bare get": lambda: asked("GET", "/bare"),
            "our get": lambda: asked("GET", "/v1/objects/large"),
            "driver.get": lambda: driver.get("driven"),
        }
        took = {what: [] for what in works}
        for _ in range(ROUNDS + 1):
            for what, work in works.items():
                begun = time.perf_counter()
                found = work()
                took[what].append(time.perf_counter() - begun)
                if what in {"our get", "driver.get"}:
                    assert found == data
    median = {what: statistics.median(each[1:]) for what, each in took.items()}  # the first one warms up
    large.notes += [f"64 MiB, {what}: median {each:.2f} s" for what, each in median.items()]
    for verb in ("put", "get"):
        ours = median[f"our {verb}"]
        beside = ours / median[f"bare {verb}"], ours / median[f"driver.{verb}"]
        large.notes.append(f"{verb}: {beside[0]:.1f} times the bare one, {beside[1]:.1f} times the driver's")
