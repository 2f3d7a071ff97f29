"""A map as one HTML page: it asks nobody for anything, and shows any text as text.

What comes from outside (ids, names) is escaped where it is written, and the page's own policy lets no script run but
the one whose digest it names, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faultset_ray._version import __version__
from faultset_ray.maps.scene import FLAGGED, LEGEND, Mark, Scene, Square, scene, shares
from faultset_ray.maps.survey import FleetMap, State, StoreSite

TEXT_MAX: Final = 48
"""Letters of a name or an id; of longer ones the end is left out."""
SITES_MAX: Final = 500
"""Rows of the table of stores."""
_UNSHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028-\u202e\u2066-\u2069]")
"""Control characters, halves of characters, and what turns the direction of a line."""
_HEADS: Final = (
    ("cell", ""),
    ("state", ""),
    ("nodes", "n"),
    ("survivors", "n"),
    ("out", "n"),
    ("not known", "n"),
    ("regions", "n"),
    ("latitude", "n"),
    ("longitude", "n"),
    ("out, for instance", ""),
)
_SITE_HEADS: Final = (("region", ""), ("cell", ""), ("stores", "n"), ("answer", "n"), ("shards", "n"), ("bytes", "n"))
_HINT: Final = "Point at a circle, or choose one, to read about its regions here. The table below has all of it."
_SOURCES: Final = "Coasts: Natural Earth, public domain. Equal Earth projection: areas are true."


def shown(text: str) -> str:
    """A name as the page may hold it: short, without what no page can show, and escaped."""
    clean = _UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", text)
    return html.escape(clean if len(clean) <= TEXT_MAX else clean[: TEXT_MAX - 1] + "…")


def page(found: FleetMap) -> str:
    """The whole page."""
    style, script = (files("faultset_ray.maps").joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    laid_out = scene(found)
    title = f"Fleet {shown(found.fleet)}"
    nodes, survivors = int(found.nodes.sum()), int(found.survivors.sum())
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta name="referrer" content="no-referrer"><title>{title}</title>',
            f"<style>{style}</style></head><body>",
            f"<h1>{title}: {survivors:,} of {nodes:,} nodes survive</h1>",
            f"<p>{_when(found)}</p>",
            *_sums(found),
            '<div class="view"><div>',
            *_drawing(found, laid_out),
            *_legend(found),
            f'</div><aside id="facts" aria-live="polite">{_HINT}</aside></div>',
            *_regions(found),
            *_sites(laid_out, found.sites),
            f"<footer>faultset-ray {__version__}. {_SOURCES}</footer>",
            f"<script>{script}</script></body></html>",
            "",
        ]
    )


# -- Head


def when(found: FleetMap) -> str:
    """When and by what was asked, for people."""
    at = datetime.fromtimestamp(found.at_ms / 1000, UTC)
    rule = f" at {found.threshold_ms:g} ms" if math.isfinite(found.threshold_ms) else ""
    return f"Asked {at:%Y-%m-%d %H:%M:%S} UTC{rule}"


def _when(found: FleetMap) -> str:
    size = found.precision
    merged = len(found.cells) < int(found.regions.sum())
    note = " There are more regions than can be shown: a circle stands for all of a larger cell's." if merged else ""
    return f"{when(found)}. Regions are geohash cells of {size} characters.{note}"


def _sums(found: FleetMap) -> Iterator[str]:
    figures = {
        "survivors": int(found.survivors.sum()),
        "out": int(found.out.sum()),
        "not known": int(found.unknown.sum()),
        "regions": int(found.regions.sum()),
    }
    if found.sites:
        figures["stores"] = sum(site.stores for site in found.sites)
        figures["shards"] = sum(site.shards for site in found.sites)
    yield '<dl class="sums">'
    yield from (f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in figures.items())
    yield "</dl>"


# -- Drawing


def _drawing(found: FleetMap, laid_out: Scene) -> Iterator[str]:
    label = f"Map of {len(found.cells):,} marks; the table below has the same facts"
    yield f'<svg class="map" viewBox="0 0 {laid_out.width:g} {laid_out.height:g}" role="group" aria-label="{label}">'
    yield f'<path class="sphere" d="{_path([laid_out.sphere])}"/>'
    yield f'<path class="graticule" d="{_path(laid_out.graticule, closed=False)}"/>'
    yield f'<path class="land" d="{_path(laid_out.land)}"/>'
    for mark in laid_out.marks:
        yield from _mark(found, mark)
    yield from map(_square, laid_out.squares)
    for text, x, y in laid_out.labels:
        yield f'<text class="label" x="{x:g}" y="{y:g}" dy=".35em">{shown(text)}</text>'
    yield "</svg>"


def _path(lines: Iterable[NDArray[np.float64]], *, closed: bool = True) -> str:
    def one(points: NDArray[np.float64]) -> str:
        tenths = np.round(points * 10).astype(np.int64)
        steps = np.diff(tenths, axis=0, prepend=np.zeros((1, 2), np.int64))
        steps = steps[np.r_[True, np.any(steps[1:] != 0, axis=1)]]
        first, *rest = [f"{x / 10:g},{y / 10:g}" for x, y in steps.tolist()]
        return f"M{first}l{' '.join(rest)}{'z' if closed else ''}" if rest else ""

    return "".join(one(points) for points in lines)


def _mark(found: FleetMap, mark: Mark) -> Iterator[str]:
    at, x, y, radius = mark
    state = found.state(at)
    counts = f"{int(found.survivors[at]):,} of {int(found.nodes[at]):,}"
    facts = f"{shown(found.cells[at])}: {counts} nodes survive, {found.words(at)}"
    yield f'<a class="mark" href="#r{at}" data-row="r{at}" aria-label="{facts}"><title>{facts}</title>'
    yield from _circle(state, *shares(found, at), x, y, radius)
    yield "</a>"


def _circle(state: State, out: float, unknown: float, x: float, y: float, radius: float) -> Iterator[str]:
    """Survivors clockwise from the top, then who is out, then who is not known; signs for who sees no colours."""
    begun = 0.0
    for kind, share in (("good", 1 - out - unknown), ("bad", out), ("none", unknown)):
        if share > 0:
            yield _wedge(kind, begun, begun + share, x, y, radius)
            begun += share
    arm = round(0.4 * radius, 2)
    if out == 1:
        left, right, up, down = (f"{value:.2f}" for value in (x - arm, x + arm, y - arm, y + arm))
        yield f'<path class="sign" d="M{left},{up}L{right},{down}M{right},{up}L{left},{down}"/>'
    elif unknown == 1:
        yield f'<path class="sign" d="M{x - arm:g},{y:g}h{2 * arm:g}"/>'
    yield f'<circle class="ring" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'
    if state in FLAGGED:
        yield f'<circle class="flag {state.name.lower()}" cx="{x:g}" cy="{y:g}" r="{radius + 2.2:g}"/>'


def _wedge(kind: str, begun: float, ended: float, x: float, y: float, radius: float) -> str:
    if ended - begun > 0.9999:
        return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'
    from_x, from_y, to_x, to_y = (
        round(middle + radius * turn(2 * math.pi * share) * sign, 2)
        for share in (begun, ended)
        for middle, turn, sign in ((x, math.sin, 1), (y, math.cos, -1))
    )
    large = int(ended - begun > 0.5)
    return (
        f'<path class="{kind}" d="M{x:g},{y:g}L{from_x:g},{from_y:g}A{radius:g},{radius:g} 0 {large} 1 '
        f'{to_x:g},{to_y:g}z"/>'
    )


def _square(square: Square) -> str:
    site, x, y = square
    away = " away" if site.here < site.stores else ""
    facts = f"{shown(site.region)}: {site.here:,} of {site.stores:,} stores answer, {site.shards:,} shards"
    corner = f'x="{x - 3.2:g}" y="{y - 3.2:g}" width="6.4" height="6.4"'
    return f'<rect class="store{away}" {corner}><title>{facts}</title></rect>'


def _legend(found: FleetMap) -> Iterator[str]:
    samples = [
        (words, _circle(state, out, unknown, 9, 9, 6 if state in FLAGGED else 7))
        for words, state, out, unknown in LEGEND
    ]
    if found.sites:
        samples += [
            ("stores", iter([_square(Square(StoreSite("here", "", 1, 1, 0, 0), 9, 9))])),
            ("stores, some away", iter([_square(Square(StoreSite("here", "", 1, 0, 0, 0), 9, 9))])),
        ]
    yield '<ul class="legend">'
    for words, drawn in samples:
        drawing = re.sub(r"<title>.*?</title>", "", "".join(drawn))
        yield f'<li><svg viewBox="0 0 18 18" aria-hidden="true">{drawing}</svg>{words}</li>'
    yield "</ul>"


# -- Tables


def _regions(found: FleetMap) -> Iterator[str]:
    """One row a mark, the worst first."""
    yield '<h2>Regions</h2><div class="wide">'
    yield from _head("regions", "By state, the worst first; then by how many are out.", _HEADS)
    for at in np.lexsort((-found.out, -found.states.astype(np.int64))).tolist():
        counts = (column[at] for column in (found.nodes, found.survivors, found.out, found.unknown, found.regions))
        numbers = [*(f"{int(count):,}" for count in counts), f"{found.lat[at]:.2f}", f"{found.lon[at]:.2f}"]
        cells = "".join(f'<td class="n">{number}</td>' for number in numbers)
        some = ", ".join(map(shown, found.examples[at]))
        more = ", …" if int(found.out[at]) > len(found.examples[at]) else ""
        name = shown(found.cells[at])
        state = found.words(at)
        yield f'<tr id="r{at}"><th scope="row">{name}</th><td>{state}</td>{cells}<td>{some}{more}</td></tr>'
    yield "</tbody></table></div>"


def _sites(laid_out: Scene, sites: tuple[StoreSite, ...]) -> Iterator[str]:
    if not sites:
        return
    note = "Where the shards of objects lie, by the region of the machine."
    if laid_out.nowhere:
        note += f" {len(laid_out.nowhere):,} of them are not on the map: no machine there has a label with its geohash."
    if len(sites) > SITES_MAX:
        note += f" The first {SITES_MAX:,} of {len(sites):,}."
    yield '<h2>Stores</h2><div class="wide">'
    yield from _head("stores", note, _SITE_HEADS)
    for site in sites[:SITES_MAX]:
        numbers = "".join(f'<td class="n">{number:,}</td>' for number in site[2:])
        yield f'<tr><th scope="row">{shown(site.region)}</th><td>{shown(site.cell)}</td>{numbers}</tr>'
    yield "</tbody></table></div>"


def _head(name: str, caption: str, heads: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield f'<table id="{name}"><caption>{caption}</caption><thead><tr>'
    for text, kind in heads:
        yield f'<th scope="col" class="{kind}">{text}</th>'
    yield "</tr></thead><tbody>"
