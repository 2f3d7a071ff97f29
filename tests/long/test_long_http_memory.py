"""An upload of 4 GiB over HTTP, and a download that is read slowly, in bounded memory of Serve's proxy and the replica."""

import contextlib
import os
import threading
import time
from pathlib import Path

import httpx
import pytest
from http_on_ray import MIB, OBJECT, served_on_ray

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def resident_bytes(word):
    """Anonymous memory of the processes whose command line has a word: what is shared with the object store is not theirs."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word in (folder / "cmdline").read_text():
                lines = (folder / "status").read_text().splitlines()
                total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return total


class Watched:
    """The most that the proxy and the replica had beyond what they had at first."""

    WORDS = ("ray::ProxyActor", "ray::ServeReplica:faultset")

    def __enter__(self):
        self.before = {word: resident_bytes(word) for word in self.WORDS}
        assert all(self.before.values()), self.before
        self.most = dict(self.before)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def _look(self):
        while not self.ended.wait(0.1):
            for word in self.WORDS:
                self.most[word] = max(self.most[word], resident_bytes(word))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    @property
    def grown(self):
        return {word: self.most[word] - self.before[word] for word in self.WORDS}


def test_there_and_back_in_bounded_memory(large, tmp_path):
    with served_on_ray(tmp_path) as (url, headers):
        there_and_back(large, url, headers)


def there_and_back(large, url, headers):
    count = large.count(4096)
    piece = os.urandom(MIB)

    def body():
        for _ in range(count):
            yield piece

    with httpx.Client(base_url=url, headers=headers, timeout=300) as client:
        client.put(f"/v1/objects/huge{OBJECT}", content=bytes(64 * MIB))  # what a first one takes once
        with Watched() as watched:
            answer = client.put(f"/v1/objects/huge{OBJECT}", content=body())
        assert answer.status_code == 200, answer.text[:300]
        assert answer.json()["size"] == count * MIB
        large.notes.append(f"put: {told(watched)}")
        check(watched)
        with Watched() as watched, client.stream("GET", "/v1/objects/huge") as slow:
            found = 0
            for chunk in slow.iter_bytes(MIB):
                assert chunk == piece[: len(chunk)]
                found += len(chunk)
                if found < 20 * MIB:
                    time.sleep(0.1)  # a slow reader: what it doesn't take must not pile up
        assert found == count * MIB
        large.notes.append(f"got: {told(watched)}")
        check(watched)


def check(watched):
    proxy, replica = watched.WORDS
    assert watched.grown[proxy] < 200 * MIB
    assert watched.grown[replica] < 700 * MIB


def told(watched):
    return ", ".join(
        f"{word.partition('::')[2].partition(':')[0]} +{most // MIB} MiB" for word, most in watched.grown.items()
    )
