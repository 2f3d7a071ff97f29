"""Events of the log: one closed table, and what is told is in it; fields are keys for programs."""

import ast
import io
import json
import logging
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from http_server import Served, token_of
from told import STANDARD, told

from faultset_ray.config import Http
from faultset_ray.errors import CallTimeout
from faultset_ray.telemetry import events
from faultset_ray.telemetry.event import FIELDS, INFO, WARNING, Event
from jobs.settings import log_to_stderr

ROOT = Path(__file__).parents[2]
TABLE = {name: event for name, event in vars(events).items() if isinstance(event, Event)}
OF_RAY = {"job_id", "worker_id", "node_id", "actor_id", "task_id", "actor_name", "task_name", "task_func_name"}
LOGGERS = {
    "faultset_ray/telemetry/event.py": "the one logger",
    "faultset_ray/app_faultset.py": "the older command, as it was",
    "actors/ship.py": "handed to Ray, which packs",
    "actors/submission.py": "has Ray's client say less",
    "jobs/settings.py": "sets levels and handlers",
    "jobs/warned.py": "warnings of Python's, which are no events",
}


@cache
def sources():
    return [*_sources()]


def _sources():
    for folder in ("faultset_ray", "actors", "jobs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def calls():
    """(file, event, names of fields) of each place that tells one; those that choose an event first are not seen."""
    for name, source in sources():
        for node in ast.walk(ast.parse(source)) if "events." in source else ():
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="events"), attr=event), attr="tell")
                ):
                    yield name, event, {each.arg for each in node.keywords} - {"exc_info", "quietly"}


def test_what_is_told_is_in_the_table():
    fields = defaultdict(set)
    for name, event, given in calls():
        assert event in TABLE, name
        assert given <= set(TABLE[event].fields), (name, event)
        fields[event] |= given
    assert len(fields) > 70
    for event, given in fields.items():
        assert given | {"error_code"} >= set(TABLE[event].fields), f"{event} has fields that nobody tells"


def test_the_table_has_nothing_else():
    named = {name for _, source in sources() for name in re.findall(r"events\.([A-Z_]+)", source)}
    assert named == set(TABLE)
    assert {event.name for event in TABLE.values()} == {name.lower() for name in TABLE}
    used = {name for event in TABLE.values() for name in event.fields} | {"error_code"}
    assert used == set(FIELDS), "every field is explained, and each that is explained is used"
    assert all(event.meaning.endswith(".") for event in TABLE.values())


def test_no_field_is_anothers():
    """What logging itself, or Ray, would write over."""
    assert not set(FIELDS) & (STANDARD | OF_RAY | {"event"})


def test_all_goes_through_the_table():
    users = {
        name for name, source in sources() if re.search(r"getLogger\(|logging\.(info|warning|error|debug)\(", source)
    }
    assert users == set(LOGGERS)


SAMPLE = Event("sample", WARNING, ("object", "error", "store", "shards", "write_id", "path"), "A sample.")


def test_a_line_of_text(caplog):
    SAMPLE.tell(
        object="a b", error=CallTimeout("store/x", "info", 2.0), shards=3, write_id=b"\x01\xff", path=Path("/a/b")
    )
    [message] = caplog.messages
    assert message == (
        'sample object="a b" error="store/x.info did not answer within 2 s" error_code=call_timeout '
        "shards=3 write_id=01ff path=/a/b"
    )


@pytest.mark.parametrize("name", ["a\nb", "a=b", '"', "", "\u2028", "\x1b[2J", "ü 1", "{}", "a%sb"])
def test_a_name_is_one_value_on_one_line(caplog, name):
    SAMPLE.tell(object=name, store="s")
    [message] = caplog.messages
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    text = re.fullmatch(r"sample object=(.*) store=s", message)[1]
    assert (json.loads(text) if text.startswith('"') else text) == name


def test_many_are_cut_off(caplog):
    SAMPLE.tell(store=[f"s{number}" for number in range(1000)], shards=dict.fromkeys(range(1000), "gone"))
    [given] = told(caplog, "sample")
    assert given["store"][-1] == "and 980 more"
    assert (len(given["store"]), len(given["shards"])) == (21, 20)


def test_nobody_listens(caplog):
    quiet = Event("quiet", INFO, ("object",), "Only good to know.")
    with caplog.at_level(WARNING):
        assert not quiet.heard
        quiet.tell(object=None)
        SAMPLE.tell(quietly=True)
    with caplog.at_level(INFO):
        assert quiet.heard
        SAMPLE.tell(quietly=True)
    assert [record.event for record in caplog.records] == ["sample"]


def test_a_line_for_programs(capsys):
    loggers = [logging.getLogger(name) for name in ("faultset_ray", "actors", "jobs")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    try:
        log_to_stderr("warning", "json")
        SAMPLE.tell(object="a", shards=[1, 2])
        line = json.loads(capsys.readouterr().err)
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
    assert {key: line[key] for key in ("event", "object", "shards", "levelname")} == {
        "event": "sample", "object": "a", "shards": [1, 2], "levelname": "WARNING"
    }  # fmt: skip
    assert not {"args", "msg", "process"} & set(line)


def test_ray_writes_each_field_as_a_key():
    from ray._common.formatters import JSONFormatter

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("faultset_ray.events")
    logger.addHandler(handler)
    try:
        SAMPLE.tell(object="a", error=CallTimeout("x", "info", 1.0), shards=2, write_id=b"\x01")
    finally:
        logger.removeHandler(handler)
    line = json.loads(written.getvalue())
    expected = {"event": "sample", "object": "a", "error_code": "call_timeout", "shards": 2, "write_id": "01"}
    assert {key: line[key] for key in expected} == expected
    assert line["filename"] == "test_events.py", "where it was told, not where it was logged"


def test_refusals_do_not_fill_the_log(tmp_path, caplog):
    token_of(tmp_path / "t", "read", number=1)
    with Served(Http(tokens=str(tmp_path / "t"))) as served:
        for _ in range(9):
            assert served.client.get("/v1/status", headers={"Authorization": "Bearer canary"}).status_code == 401
    refused = told(caplog, "request_refused")
    assert [(each["count"], each["status"]) for each in refused] == [(1, 401), (2, 401), (4, 401), (8, 401)]
    assert "canary" not in caplog.text


def test_refusals_are_told_anew_after_an_hour(tmp_path, caplog):
    token_of(tmp_path / "t", "read", number=1)
    now = [1_800_000_000_000]
    with Served(Http(tokens=str(tmp_path / "t")), clock=lambda: now[0]) as served:
        for passed_ms in (0, 0, 3_599_999, 1, 0):
            now[0] += passed_ms
            assert served.client.get("/v1/status").status_code == 401
    assert [each["count"] for each in told(caplog, "request_refused")] == [1, 2, 1, 2]
