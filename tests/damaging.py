"""Damage to files, as disks do it."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path, *positions: int) -> None:
    """Flip a bit of each of some bytes, in place; of byte 300 by default, negative ones counted from the end."""
    damaged = bytearray(path.read_bytes())
    for position in positions or (300,):
        damaged[position] ^= 1
    with path.open("r+b") as file:
        file.write(damaged)
