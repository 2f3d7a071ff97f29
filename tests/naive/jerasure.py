"""Jerasure's Vandermonde distribution matrix, column by column as its reed_sol.c makes it; nothing of ours in it."""

from naive.gf import inv, mul


def parity(k: int, m: int) -> list[list[int]]:
    """The m parity rows of ``reed_sol_vandermonde_coding_matrix(k, m, 8)``."""
    rows = k + m
    table = [[1 if column == 0 else 0 for column in range(k)]]
    for number in range(1, rows - 1):
        power, row = 1, []
        for _ in range(k):
            row.append(power)
            power = mul(power, number)
        table.append(row)
    table.append([1 if column == k - 1 else 0 for column in range(k)])
    for step in range(1, k):
        pivot = next(row for row in range(step, rows) if table[row][step])
        table[step], table[pivot] = table[pivot], table[step]
        _scale(table, step, inv(table[step][step]), 0)
        for column in range(k):
            factor = table[step][column]
            if column != step and factor:
                for row in table:
                    row[column] ^= mul(factor, row[step])
    for column in range(k):
        _scale(table, column, inv(table[k][column]), k)
    for row in table[k + 1 :]:
        factor = inv(row[0])
        row[:] = [mul(factor, item) for item in row]
    return table[k:]


def _scale(table: list[list[int]], column: int, factor: int, first: int) -> None:
    for row in table[first:]:
        row[column] = mul(row[column], factor)
