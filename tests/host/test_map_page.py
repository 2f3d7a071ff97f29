"""A map in a real browser: it asks for nothing, complains of nothing, shows what it should, and names do nothing.

``FAULTSET_SCREENSHOTS`` names a directory that the screenshots are left in.
"""

import os
from pathlib import Path

import pytest
from host.browser import browser, tab
from maps import HOSTILE, answer_of, hostile, scattered

from faultset_ray.datasets import azure_fleet
from faultset_ray.maps.survey import survey

pytestmark = [pytest.mark.host, pytest.mark.needs("chromium")]

COUNTS = """({
    marks: document.querySelectorAll("svg.map a.mark").length,
    rows: document.querySelectorAll("#regions tbody tr").length,
    stores: document.querySelectorAll("svg.map .store").length,
    scripts: document.scripts.length,
    images: document.images.length,
})"""
MIDDLE = """(() => {
    const box = document.querySelector('a.mark[data-row="%s"]').getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
FACTS = 'document.getElementById("facts").innerText'
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture
def page(tools):
    with tab(tools) as page:
        yield page


@pytest.fixture
def pictures(tmp_path):
    return Path(os.environ.get("FAULTSET_SCREENSHOTS") or tmp_path)


def show(page, tmp_path, found, name):
    (tmp_path / f"{name}.html").write_text(found.html(), encoding="utf-8")
    page.size(1280, 1000)
    address = (tmp_path / f"{name}.html").as_uri()
    page.open(address)
    assert page.requests() == [address], "nothing but the page itself is asked for"
    assert page.complaints() == []


def azure():
    fleet = azure_fleet(per_region=20)
    fleet = fleet.with_handles(range(len(fleet)))
    return survey(fleet, answer_of(fleet, 3, missing=4, short=6, panic=3, alive=0.9))


def test_a_map_of_the_world(page, tmp_path, pictures):
    found = azure()
    show(page, tmp_path, found, "azure")
    counts = page.run(COUNTS)
    assert counts == {"marks": len(found.cells), "rows": len(found.cells), "stores": 0, "scripts": 1, "images": 0}
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        page.screenshot(pictures / f"azure-{scheme}.png")
    papers = set()
    for scheme in ("light", "dark"):
        page.prefer(scheme)
        papers.add(page.run("getComputedStyle(document.body).backgroundColor"))
    assert len(papers) == 2
    page.size(400, 800)
    assert page.run(OVERFLOW) <= 0, "a narrow window has nothing to scroll aside"
    page.screenshot(pictures / "azure-narrow.png")


def test_who_points_or_clicks_reads_of_the_region(page, tmp_path, pictures):
    found = azure()
    show(page, tmp_path, found, "azure")
    one, other = found.cells.index("6gy"), found.cells.index("kek")  # each alone on its continent
    page.point(*page.run(MIDDLE % f"r{one}"))
    assert "6gy" in page.run(FACTS)
    assert f"{found.nodes[one]}" in page.run(FACTS)
    page.click(*page.run(MIDDLE % f"r{other}"))
    page.point(1, 1)
    assert "kek" in page.run(FACTS), "what was clicked stays"
    assert page.run(f'document.getElementById("r{other}").className') == "chosen"
    page.screenshot(pictures / "azure-chosen.png")
    page.run(f"document.querySelector('a.mark[data-row=\"r{one}\"]').focus()")
    assert "6gy" in page.run(FACTS), "and so does who has no mouse"
    assert page.complaints() == []


def test_hostile_names_are_only_read(page, tmp_path, pictures):
    found = hostile()
    show(page, tmp_path, found, "hostile")
    counts = page.run(COUNTS)
    sites = sum(bool(site.cell) for site in found.sites)
    assert counts == {"marks": len(found.cells), "rows": len(found.cells), "stores": sites, "scripts": 1, "images": 0}
    assert page.run("document.querySelector('h1').innerText").startswith(f"Fleet {HOSTILE[0]}: ")
    for row in range(len(found.cells)):
        page.point(*page.run(MIDDLE % f"r{row}"))
    assert page.complaints() == []
    assert len(page.requests()) == 1
    page.screenshot(pictures / "hostile.png")
    # and what a page held that was not escaped would not run: its policy names one script
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.ran = 1'}))")
    page.run("document.body.insertAdjacentHTML('beforeend', '<img src=https://outside.example/x onerror=\"ran = 2\">')")
    assert page.run("typeof window.ran") == "undefined"
    assert len(page.complaints()) >= 2, "and the browser says so"


def test_as_many_marks_as_there_may_be(page, tmp_path, pictures):
    fleet = scattered(50_000, 7)
    found = survey(fleet, answer_of(fleet, 5, missing=40, short=30, panic=10))
    show(page, tmp_path, found, "many")
    assert page.run(COUNTS)["marks"] == len(found.cells) > 700
    page.screenshot(pictures / "many.png")
