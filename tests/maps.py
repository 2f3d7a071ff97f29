"""Fleets and answers for tests of maps, with what is hostile in names; run as a command, their pages as files."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import faultset_ray as fs
from faultset_ray.control.ladder import Tier
from faultset_ray.geohash import cells_to_strings, encode_many
from faultset_ray.maps.survey import StoreSite, survey

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "' onmouseover='alert(3)",
    "</title></svg></table><a href=//evil.example>x",
    "&lt;script&gt; \u202e right to left",
    "javascript:alert(4)",
    "x" * 5000,
)


def fleet_of(lat, lon, ids=None, name="default"):
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    ids = [f"n{number}" for number in range(len(lat))] if ids is None else ids
    fleet = fs.Fleet(ids, lat, lon, np.full(len(lat), 20.0), name)
    return fleet.with_handles(np.arange(len(fleet)))


def scattered(count, seed):
    """Nodes all over the sphere, its edges among them."""
    rng = np.random.default_rng(seed)
    lat, lon = np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)
    lat[:4], lon[:4] = (90.0, -90.0, 0.0, 0.0), (0.0, 0.0, 180.0, -180.0)
    return fleet_of(lat, lon)


def answer_of(fleet, precision, seed=0, *, alive=0.7, missing=0, short=0, panic=0):
    """An answer in which some nodes survive, and some regions did not answer or are short of survivors."""
    rng = np.random.default_rng(seed)
    cells = encode_many(fleet.lat, fleet.lon, precision)
    names = cells_to_strings(np.unique(cells)).tolist()
    rng.shuffle(names)
    silent, names = names[:missing], names[missing:]
    nobody = np.isin(cells_to_strings(cells), silent)
    own = (rng.random(len(fleet)) < alive) & ~nobody
    return SimpleNamespace(
        precision=precision,
        at_ms=1_800_000_000_000,
        threshold_ms=100.0,
        handles=fleet.handles[own],
        tiers=np.full(int(own.sum()), Tier.OWN, np.uint8),
        missing_regions=silent,
        short=dict.fromkeys(names[: short + panic], (1, 3)),
        panic=dict.fromkeys(names[:panic], "too few"),
    )


def hostile():
    """A map all of whose names are somebody's who means harm."""
    ids = [f"{text}{number}" for number, text in enumerate(HOSTILE * 3)]
    lat, lon = np.linspace(36, 60, len(ids)), np.linspace(-8, 24, len(ids))
    fleet = fleet_of(lat, lon, ids, HOSTILE[0])
    sites = [
        StoreSite(text, cell, 2, 1, 10, 1000) for text, cell in zip(HOSTILE, ("u33", "u09", "", "gcp"), strict=False)
    ]
    return survey(fleet, answer_of(fleet, 3, alive=0.3, missing=2, short=2, panic=2), sites)
