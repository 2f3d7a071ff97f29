"""Geohash by halving intervals of exact fractions; cells as lists of letters."""

from fractions import Fraction

ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"


def encode(lat: float, lon: float, precision: int) -> str:
    values = [Fraction(lon), Fraction(lat)]
    bounds = [[Fraction(-180), Fraction(180)], [Fraction(-90), Fraction(90)]]
    text = ""
    number = 0
    for bit in range(5 * precision):
        axis = bit % 2
        middle = sum(bounds[axis]) / 2
        upper = values[axis] >= middle
        bounds[axis][0 if upper else 1] = middle
        number = 2 * number + upper
        if bit % 5 == 4:
            text += ALPHABET[number]
            number = 0
    return text


def bounds(text: str) -> list[list[Fraction]]:
    """[[west, east], [south, north]] of a cell."""
    box = [[Fraction(-180), Fraction(180)], [Fraction(-90), Fraction(90)]]
    for place, letter in enumerate(text):
        for bit in range(5):
            axis = (5 * place + bit) % 2
            upper = ALPHABET.index(letter) >> (4 - bit) & 1
            box[axis][0 if upper else 1] = sum(box[axis]) / 2
    return box


def neighbours(text: str) -> list[str]:
    """The cells N, NE, E, SE, S, SW, W and NW of one; '' beyond a pole."""
    (west, east), (south, north) = bounds(text)
    width, height = east - west, north - south
    around = []
    for rows, columns in ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)):
        lat = (south + north) / 2 + rows * height
        lon = (west + east) / 2 + columns * width
        lon -= 360 * ((lon + 180) // 360)
        around.append(encode(lat, lon, len(text)) if -90 < lat < 90 else "")
    return around
