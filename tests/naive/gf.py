"""GF(2^8) bit by bit, on Python ints: no tables, nothing shared with the kernels."""


def mul(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= 0x11D
        b >>= 1
    return product


def inv(a: int) -> int:
    return next(b for b in range(1, 256) if mul(a, b) == 1)


def dot(row: list[int], column: list[int]) -> int:
    total = 0
    for a, b in zip(row, column, strict=True):
        total ^= mul(a, b)
    return total


def matvec(matrix: list[list[int]], vector: list[int]) -> list[int]:
    return [dot(row, vector) for row in matrix]


def solve(matrix: list[list[int]], right: list[list[int]]) -> list[list[int]] | None:
    """x with matrix · x = right for a matrix of full column rank; None if it has not that rank."""
    columns = len(matrix[0])
    system = [[*row, *side] for row, side in zip(matrix, right, strict=True)]
    for column in range(columns):
        pivot = next((r for r in range(column, len(system)) if system[r][column]), None)
        if pivot is None:
            return None
        system[column], system[pivot] = system[pivot], system[column]
        scale = inv(system[column][column])
        system[column] = [mul(scale, x) for x in system[column]]
        for r, row in enumerate(system):
            if r != column and row[column]:
                factor = row[column]
                system[r] = [x ^ mul(factor, y) for x, y in zip(row, system[column], strict=True)]
    return [row[columns:] for row in system[:columns]]
