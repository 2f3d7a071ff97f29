"""Write cases.csv: what pygeohash answers at edges of cells, poles, the antimeridian and in the open.

Coordinates are in hexadecimal, so that none is rounded on its way. Run: python tests/golden/geohash/make.py
"""

import csv
import math
import random
from pathlib import Path

import pygeohash

CASES = Path(__file__).with_name("cases.csv")


def beside(value: float, span: float) -> list[float]:
    around = [math.nextafter(value, -math.inf), value, math.nextafter(value, math.inf)]
    return [min(max(each, -span), span) for each in around]


def coordinates(span: float, chance: random.Random) -> list[float]:
    special = [-span, span, 0.0, -0.0, 5e-324, -5e-324, 1e-17, span / 2, -span / 2, span / 3]
    bits = [chance.randrange(1, 31) for _ in range(60)]
    edges = [chance.randrange(2**width + 1) * (2 * span / 2**width) - span for width in bits]
    return [each for value in special + edges for each in beside(value, span)]


def main() -> None:
    chance = random.Random(2008)
    lats, lons = coordinates(90.0, chance), coordinates(180.0, chance)
    chance.shuffle(lons)
    points = [*zip(lats, lons, strict=True), (57.64911, 10.40744), (35.0, 139.0), (-33.8688, 151.2093)]
    with CASES.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["lat", "lon", "geohash"])
        for lat, lon in points:
            out.writerow([lat.hex(), lon.hex(), pygeohash.encode(lat, lon, 12)])


if __name__ == "__main__":
    main()
