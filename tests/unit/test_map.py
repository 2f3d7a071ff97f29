"""Maps: what is counted, where it is drawn, and that a page holds nothing but itself, whatever names are."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from contextlib import nullcontext
from html.parser import HTMLParser

import numpy as np
import pytest
from maps import HOSTILE, answer_of, fleet_of, hostile, scattered
from typer.testing import CliRunner

import faultset_ray as fs
import jobs.connecting
from faultset_ray.backend.local import LocalBackend
from faultset_ray.backend.protocol import Place
from faultset_ray.geohash import encode
from faultset_ray.maps.page import SITES_MAX, TEXT_MAX
from faultset_ray.maps.scene import project, scene
from faultset_ray.maps.survey import EXAMPLES_MAX, MARKS_MAX, State, StoreSite, survey
from jobs.cli import application

PAGE_BYTES_MAX = 2_000_000


class Parsed(HTMLParser):
    """A page's elements, their attributes, and the text between them."""

    VOID = frozenset({"meta", "circle", "path", "rect"})

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag != "rect":
            assert self.open.pop() == tag, "elements are closed in order"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def count(self, tag, **attributes):
        return sum(tag == name and attributes.items() <= found.items() for name, found in self.elements)


# -- Counts


def test_counts_are_those_of_the_nodes_one_by_one():
    fleet = scattered(600, 1)
    answer = answer_of(fleet, 2, missing=9, short=5, panic=3)
    found = survey(fleet, answer)
    alive = set(answer.handles.tolist())
    nodes, survivors, unknown = Counter(), Counter(), Counter()
    for node, handle in zip(fleet, fleet.handles.tolist(), strict=True):
        cell = encode(node.lat, node.lon, 2)
        nodes[cell] += 1
        survivors[cell] += handle in alive
        unknown[cell] += cell in answer.missing_regions and handle not in alive
    assert dict(zip(found.cells, found.nodes.tolist(), strict=True)) == nodes
    for at, cell in enumerate(found.cells):
        counted = found.survivors[at], found.unknown[at], found.out[at]
        assert counted == (survivors[cell], unknown[cell], nodes[cell] - survivors[cell] - unknown[cell])
        expected = (
            State.NO_ANSWER
            if cell in answer.missing_regions
            else State.PANIC
            if cell in answer.panic
            else State.EMPTY
            if not survivors[cell]
            else State.SHORT
            if cell in answer.short
            else State.SOME_OUT
            if survivors[cell] < nodes[cell]
            else State.WHOLE
        )
        assert found.state(at) is expected
        assert len(found.examples[at]) == min(EXAMPLES_MAX, found.out[at])
    assert {found.state(at) for at in range(len(found.cells))} == set(State)


def test_more_regions_than_can_be_shown_are_put_together_and_nothing_is_lost():
    fleet = scattered(20_000, 2)
    answer = answer_of(fleet, 6, missing=50, short=40, panic=20)
    found = survey(fleet, answer)
    assert len(np.unique(encode_all(fleet, 6))) == found.regions.sum() > MARKS_MAX >= len(found.cells)
    assert found.nodes.sum() == len(fleet)
    assert found.survivors.sum() == len(answer.handles)
    assert found.unknown.sum() > 0
    page = found.html()
    assert len(page.encode()) < PAGE_BYTES_MAX
    parsed = Parsed(page)
    assert parsed.count("a", **{"class": "mark"}) == len(found.cells)
    assert parsed.count("tr") == len(found.cells) + 1


def encode_all(fleet, precision):
    return [encode(node.lat, node.lon, precision) for node in fleet]


def test_a_page_of_the_longest_names_is_bounded():
    ids = [f"{number:06d}{'&' * 2000}" for number in range(3000)]
    rng = np.random.default_rng(3)
    fleet = fleet_of(rng.uniform(-80, 80, 3000), rng.uniform(-180, 180, 3000), ids)
    sites = [StoreSite("&" * 3000 + str(number), "", 1, 1, 1, 1) for number in range(2 * SITES_MAX)]
    page = survey(fleet, answer_of(fleet, 4, alive=0.0), sites).html()
    assert len(page.encode()) < PAGE_BYTES_MAX
    assert f"The first {SITES_MAX} of {2 * SITES_MAX:,}." in page


# -- Drawing


def test_the_projection_keeps_areas():
    rng = np.random.default_rng(4)
    lat, lon = rng.uniform(-89, 89, 500), rng.uniform(-179, 179, 500)
    step = 1e-4
    east = (project(lat, lon + step) - project(lat, lon - step)) / 2
    north = (project(lat + step, lon) - project(lat - step, lon)) / 2
    area = east[:, 0] * north[:, 1] - east[:, 1] * north[:, 0]
    np.testing.assert_allclose(area, np.cos(np.radians(lat)) * np.radians(step) ** 2, rtol=1e-3)


@pytest.mark.parametrize("precision", [1, 2, 4])
def test_all_marks_are_on_the_picture_and_labels_cover_nothing(precision):
    laid_out = scene(survey(scattered(900, 5), answer_of(scattered(900, 5), precision, missing=3)))
    assert all(0 <= mark.x <= laid_out.width and 0 <= mark.y <= laid_out.height for mark in laid_out.marks)
    boxes = [(label.x, label.y - 6, label.x + 6.4 * len(label.text), label.y + 6) for label in laid_out.labels]
    circles = [
        (each.x - each.radius, each.y - each.radius, each.x + each.radius, each.y + each.radius)
        for each in laid_out.marks
    ]
    for at, box in enumerate(boxes):
        for other in [*boxes[:at], *circles]:
            assert box[0] >= other[2] or other[0] >= box[2] or box[1] >= other[3] or other[1] >= box[3]


def test_a_small_fleet_is_shown_from_near_and_one_of_all_the_world_whole():
    near = scene(survey(*with_answer(fleet_of([52.5, 48.9, 51.5], [13.4, 2.4, -0.1]))))
    xs = sorted(mark.x for mark in near.marks)
    assert xs[-1] - xs[0] > 0.25 * near.width
    world = scene(survey(*with_answer(fleet_of([52.5, -33.9, 37.8], [13.4, 151.2, -122.4]))))
    assert np.ptp(world.sphere[:, 0]) > 0.95 * world.width
    assert len(world.land) > len(near.land) > 0
    one = scene(survey(*with_answer(fleet_of([52.5], [13.4]))))
    assert (one.marks[0].x, one.marks[0].y) == (one.width / 2, one.height / 2)


def with_answer(fleet):
    return fleet, answer_of(fleet, 3)


# -- The page


def test_the_page_asks_nobody_and_runs_no_script_but_its_own():
    page = hostile().html()
    parsed = Parsed(page)
    [policy] = [each["content"] for tag, each in parsed.elements if each.get("http-equiv") == "Content-Security-Policy"]
    [script] = [text for tag, text in parsed.texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    assert parsed.count("script") == 1
    links = {value for _, each in parsed.elements for name, value in each.items() if name in {"href", "src"}}
    assert links == {f"#r{number}" for number in range(parsed.count("a"))}
    assert not re.search(r"https?:|url\(|@import", page)


def test_hostile_names_are_text_and_nothing_else():
    parsed = Parsed(hostile().html())
    assert parsed.open == []
    assert {tag for tag, _ in parsed.elements} == {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "h1",
            "h2",
            "p",
            "dl",
            "dt",
            "dd",
            "div",
            "svg",
            "path",
            "circle",
            "a",
        ),
        *(
            "rect",
            "text",
            "ul",
            "li",
            "aside",
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "footer",
            "script",
        ),
    }
    assert not [name for _, each in parsed.elements for name in each if name.startswith("on")]
    assert ("h1", f"Fleet {HOSTILE[0]}: ") in [(tag, text[: len(HOSTILE[0]) + 8]) for tag, text in parsed.texts]
    shown = {text for tag, text in parsed.texts if tag == "th"}
    assert {HOSTILE[0], HOSTILE[1]} <= shown
    assert "\u202e" not in "".join(text for _, text in parsed.texts)
    assert max(len(text) for tag, text in parsed.texts if tag == "th") <= TEXT_MAX


# -- The picture, and the verb


def test_a_picture_is_of_the_width_that_is_asked_for(tmp_path, monkeypatch):
    hostile().png(tmp_path / "map.png", width=640)
    written = (tmp_path / "map.png").read_bytes()
    assert written[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(written[16:20]) == 640
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(fs.errors.InputError, match=r"faultset-ray\[map\]"):
        hostile().png(tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


def verb(*arguments):
    result = CliRunner().invoke(application, ["map", *map(str, arguments), "--json"])
    return result, json.loads(result.stdout.splitlines()[-1])


def test_the_verb_draws_the_nodes_of_a_file(tmp_path):
    (tmp_path / "nodes.csv").write_text("id,lat,lon,latency_ms\na,52.5,13.4,20\nb,52.5,13.4,180\nc,48.9,2.4,500\n")
    result, told = verb("--nodes-file", tmp_path / "nodes.csv", "--threshold", 100, "--out", tmp_path / "a.html")
    assert result.exit_code == 0, result.output
    assert (told["nodes"], told["survivors"], told["out"], told["unknown"], told["regions"]) == (3, 1, 2, 0, 2)
    assert [(mark["cell"], mark["state"]) for mark in told["marks"]] == [("u33", "some_out"), ("u09", "empty")]
    page = (tmp_path / "a.html").read_text()
    assert len(page.encode()) == told["page_bytes"]
    assert "1 of 3 nodes survive" in page
    for wrong in (["--nodes-file", tmp_path / "nodes.csv"], ["--precision", 3]):
        result, told = CliRunner().invoke(application, ["map", *map(str, wrong)]), None
        assert result.exit_code == 2, result.output


def test_no_page_is_written_where_the_picture_can_not_be(tmp_path, monkeypatch):
    (tmp_path / "nodes.csv").write_text("id,lat,lon,latency_ms\na,52.5,13.4,20\n")
    given = ["map", "--nodes-file", tmp_path / "nodes.csv", "--threshold", 100, "--out", tmp_path / "a.html", "--png"]
    result = CliRunner().invoke(application, [*map(str, given), str(tmp_path / "x.txt")])
    assert (result.exit_code, "Invalid value for --png" in result.output) == (2, True), result.output
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    result = CliRunner().invoke(application, [*map(str, given), str(tmp_path / "x.png")])
    assert isinstance(result.exception, fs.errors.InputError)
    assert not (tmp_path / "a.html").exists()


def test_the_verb_draws_a_fleet_with_its_stores(tmp_path, monkeypatch):
    labels = {"berlin": "u33", "paris": "u09", "nowhere": "not a geohash!"}
    places = [
        Place(f"p{region}{number}", {"faultset.io/region": region, "faultset.io/cell": cell})
        for region, cell in labels.items()
        for number in range(2)
    ]
    with fs.connect(backend=LocalBackend(places, cpus=2)) as driver:
        monkeypatch.setattr(jobs.connecting, "connect", lambda *_, **__: nullcontext(driver))
        driver.register([("a", 52.5, 13.4, 20.0), ("b", 48.9, 2.4, 180.0)], 3, policy=fs.Policy(threshold_ms=100.0))
        result, before = verb("--out", tmp_path / "a.html")
        assert result.exit_code == 0, result.output
        assert before["stores"] == [], "no store was started for a map"
        driver.put("x", bytes(1000))
        _, told = verb("--out", tmp_path / "a.html")
    sites = {site["region"]: site for site in told["stores"]}
    assert {region: site["cell"] for region, site in sites.items()} == {"berlin": "u33", "paris": "u09", "nowhere": ""}
    assert {(site["stores"], site["here"], site["shards"]) for site in sites.values()} == {(2, 2, 2)}
    page = (tmp_path / "a.html").read_text()
    assert Parsed(page).count("rect", **{"class": "store"}) == 2 + 1, "two sites, and one in the legend"
    assert "1 of them are not on the map" in page
