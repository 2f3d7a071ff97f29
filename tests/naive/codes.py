"""Codes from their definitions, slowly: parity matrices, encode and decode on lists of ints."""

from naive import gf


def cauchy(k: int, m: int) -> list[list[int]]:
    return [[gf.inv(i ^ j) for j in range(k)] for i in range(k, k + m)]


def generator(parity: list[list[int]]) -> list[list[int]]:
    k = len(parity[0])
    return [[int(i == j) for j in range(k)] for i in range(k)] + parity


def encode(parity: list[list[int]], data: list[bytes]) -> list[bytes]:
    columns = zip(*data, strict=True)
    coded = [gf.matvec(parity, list(column)) for column in columns]
    return [bytes(row) for row in zip(*coded, strict=True)] if coded else [b""] * len(parity)


def decode(parity: list[list[int]], rows: dict[int, bytes]) -> list[bytes] | None:
    """All data rows by Gaussian elimination over every row given; None if they don't determine the data."""
    matrix = generator(parity)
    if not rows:
        return None
    if len(rows) < len(parity[0]):
        return None
    answer = gf.solve([matrix[i] for i in rows], [list(row) for row in rows.values()])
    return None if answer is None else [bytes(row) for row in answer]


def rank(rows: list[list[int]]) -> int:
    """Of a matrix over GF(2^8), one coefficient at a time."""
    rows, found = [list(row) for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((row for row in rows[found:] if row[column]), None)
        if pivot is None:
            continue
        rows.remove(pivot)
        rows.insert(found, pivot)
        scale = gf.inv(pivot[column])
        for row in rows[found + 1 :]:
            factor = gf.mul(row[column], scale)
            row[:] = [a ^ gf.mul(factor, b) for a, b in zip(row, pivot, strict=True)]
        found += 1
    return found
