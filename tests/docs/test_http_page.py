"""The guide's tables of problems, limits and routes are what the code says."""

import re
from dataclasses import fields
from pathlib import Path

from error_samples import classes, sample

from faultset_ray import errors
from faultset_ray.config import Http
from faultset_ray.http.guard import scope_of
from faultset_ray.http.problems import REFUSALS, STATUSES, answer_error, status_of

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "http.md").read_text()


def test_every_error_becomes_a_document_of_its_code():
    import json

    for cls in classes():
        answer = answer_error(sample(cls))
        document = json.loads(answer.body)
        assert (answer.status_code, document["status"]) == (status_of(sample(cls)), STATUSES[cls])
        assert (document["code"], document["detail"]) == (cls.code, str(sample(cls)))
        assert answer.media_type == "application/problem+json"
        assert ("retry-after" in answer.headers) == (STATUSES[cls] == 503 or cls is errors.WriteInProgress)


def test_every_refusal():
    rows = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `([a-z_]+)` \|", PAGE, re.MULTILINE)}
    framework = {(400, "invalid_json"), (422, "invalid_request"), (500, "internal_error")}
    framework |= {(400, "bad_request"), (404, "not_found"), (405, "method_not_allowed")}  # its own refusals, by phrase
    assert rows == {(cls.status, cls.code) for cls in REFUSALS} | framework


def test_every_limit():
    listed = set(re.findall(r"`(\w+_(?:max|s))`", PAGE.partition("## Limits")[2]))
    names = {field.name for field in fields(Http) if field.name.endswith(("_max", "_s"))}
    assert listed == names - {"heartbeat_s"}


def test_every_route_with_its_scope():
    rows = re.findall(r"^\| (`(?:GET|PUT|POST|DELETE).*?) \| .* \| `?(\w+)`? \|$", PAGE, re.MULTILINE)
    assert len(rows) == 13
    for routes, scope in rows:
        for methods, path in re.findall(r"([A-Z`, ]+) (/v1/[^`?]+)", routes):
            for method in re.findall(r"[A-Z]+", methods):
                assert (scope_of(method, path) or "none") == scope, (method, path)
