"""What a name may be, as a journal tells: a line before each step of a driver, and one after it.

A journal outlives its driver. A step that was begun and not ended is one that nobody was told the end of.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from zlib import crc32

import numpy as np

SIZES = (0, 1, 300, 20_000, 20_000, 300_000, 3_000_000)
"""Bytes of objects; the last are coded by tasks."""


def payload(seed: int, name: str, version: int) -> bytes:
    """The bytes of one version of an object: nobody else's."""
    dice = np.random.default_rng([seed, crc32(name.encode()), version])
    return dice.bytes(int(dice.choice(SIZES)))


class Ledger:
    """What each name may be: one version where that is sure; None stands for no object.

    Parameters
    ----------
    path
        The journal; read if it is there, and gone on with.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._seed = seed
        self.may_be: dict[str, set[int | None]] = {}
        self.versions: dict[str, int] = {}
        """The last version that was begun of each name."""
        self.counted: Counter[str] = Counter()
        if path.exists():
            for line in path.read_bytes().split(b"\n")[:-1]:  # what a killed driver wrote of a line does not count
                self._apply(json.loads(line))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def close(self) -> None:
        """Leave the journal."""
        os.close(self._file)

    def now(self, name: str) -> set[int | None]:
        """What the name may be."""
        return self.may_be.get(name, {None})

    def note(self, **step: object) -> None:
        """Write a step down: from then on it counts, whoever is killed."""
        os.write(self._file, (json.dumps(step) + "\n").encode())
        self._apply(step)

    def judge(self, name: str, may_be: set[int | None], found: bytes | None) -> str:
        """What to say of a read: ``gets``, or that what was acknowledged is ``lost``, or that bytes are ``wrong``."""
        if found is None:
            return "gets" if None in may_be else "lost"
        fits = {version for version in range(1, self.versions.get(name, 0) + 1) if self._is(name, version, found)}
        if not fits:
            return "wrong"
        return "gets" if fits & may_be else "lost"

    def _is(self, name: str, version: int, found: bytes) -> bool:
        return payload(self._seed, name, version) == found

    def _apply(self, step: dict) -> None:
        name = step.get("name", "")
        match step["do"]:
            case "put":
                self.versions[name] = step["version"]
                self.may_be[name] = self.now(name) | {step["version"]}
            case "delete":
                self.may_be[name] = self.now(name) | {None}
            case "is":
                self.may_be[name] = {step["version"]}
        if "counts" in step:
            self.counted[step["counts"]] += 1
            self.counted["bytes"] += step.get("bytes", 0)
