"""The page of metrics is what the table says."""

from pathlib import Path

from faultset_ray.telemetry.metric_page import MARK, made, write
from faultset_ray.telemetry.metric_table import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_up_to_date():
    _, mark, behind = PAGE.read_text().partition(MARK)
    assert mark, "the page has no mark"
    assert behind == made(), "make docs-metrics writes it anew"


def test_every_metric_is_on_it_once():
    text = made()
    for metric in METRICS.values():
        assert text.count(f"| `{metric.series[0].removesuffix('_bucket')}` |") == 1


def test_a_stale_page_is_written_anew(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"by hand\n{MARK}old\n")
    write(page)
    assert page.read_text() == f"by hand\n{MARK}{made()}"
