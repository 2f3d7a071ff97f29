"""What the promise says of formats is so, and what it names as its tests is there."""

import re
from pathlib import Path

from faultset_ray.coordinator.catalog import SCHEMA
from faultset_ray.objects.record import RECORD_VERSION
from faultset_ray.objects.store_home import STORE_FORMAT
from faultset_ray.shards.format import FORMAT_VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "versioning.md").read_text()


def test_every_test_that_is_named_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)
    assert len(named) == 9
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_formats_are_those_of_the_code():
    assert f"[Shard files](#what-is-on-disks), format {FORMAT_VERSION} |" in PAGE
    assert f"| Records, format {RECORD_VERSION} |" in PAGE
    assert f"| State directory, schema {SCHEMA} |" in PAGE
    assert f"| Store directory, format {STORE_FORMAT} |" in PAGE


def test_the_formats_page_has_the_same():
    formats = (ROOT / "docs" / "formats.md").read_text()
    for heading in (
        f"## Shard file, version {FORMAT_VERSION}",
        f"## Record, version {RECORD_VERSION}",
        f"## Store directory, format {STORE_FORMAT}",
        f"## State directory, schema {SCHEMA}",
    ):
        assert f"{heading}\n" in formats
