"""Segments put where they belong, one value at a time."""


def place_segments(pool, counts, taken, to, out):
    at = 0
    for count, kept, begin in zip(counts, taken, to, strict=True):
        for step in range(kept):
            out[begin + step] = pool[at + step]
        at += count
