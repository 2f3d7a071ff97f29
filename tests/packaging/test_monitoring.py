"""``deploy/prometheus`` and ``deploy/grafana``: every expression parses, and what it names is told by somebody."""

import json
import re
from pathlib import Path

import pytest
import yaml
from manifests import documents
from promql import KNOWN, made, problems

from faultset_ray.telemetry.metric_table import METRICS

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
[RUNBOOKS], NOW = GROUPS[0]["rules"], GROUPS[1]["rules"]
RULES = [rule for group in GROUPS[1:] for rule in group["rules"]]
RECORDS = [rule for rule in RULES if "record" in rule]
ALERTS = [rule for rule in RULES if "alert" in rule]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "faultset.json").read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


@pytest.fixture(scope="module")
def known():
    """Series that are told, and those that the rules make of them."""
    return KNOWN | {rule["record"]: made(rule["expr"], KNOWN) for rule in RECORDS}


@pytest.mark.parametrize("rule", RECORDS, ids=lambda rule: rule["record"])
def test_recording_rules_name_what_is_told(rule):
    own = {rule["record"]: made(rule["expr"], KNOWN)}  # what it hands on to itself
    assert problems(rule["expr"], KNOWN | own) == []


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alerts_name_what_there_is(rule, known):
    assert problems(rule["expr"], known) == []
    labels = set().union(
        *(known[series] for series in re.findall(r"\b(?:ray_faultset_|faultset:)[\w:]+", rule["expr"]))
    )
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panels_name_what_there_is(panel, known):
    assert panel["targets"]
    for target in panel["targets"]:
        assert problems(target["expr"], known) == []
        legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        assert legend <= set().union(*(known[series] for series in known if series in target["expr"]))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("ray_faultset_hedges", "there is no series ray_faultset_hedges"),
        ('ray_faultset_objects{margin="4"}', "margin of ray_faultset_objects is never 4"),
        ('ray_faultset_objects{margin=~"lost|4"}', "margin of ray_faultset_objects is never 4"),
        ('ray_faultset_objects{fleet="f"}', "ray_faultset_objects has no label fleet"),
        ("sum by (fleet) (ray_faultset_objects)", "nothing that it names has the label fleet"),
        ("ray_faultset_objects and on (fleet) ray_faultset_stores", "nothing that it names has the label fleet"),
        ("1 + 1", "it names no series"),
    ],
)
def test_what_is_wrong_is_seen(expression, problem):
    assert problems(expression, KNOWN) == [problem]


def test_gauges_are_read_only_where_they_are_of_now():
    """What was told by a process that died, hangs or lost the lease is no figure of now."""
    gauges = {name for name in KNOWN if not name.endswith(("_total", "_bucket", "_sum", "_count"))}
    gauges.remove("ray_faultset_upkeep_timestamp_seconds")
    fresh = {rule["record"]: rule["expr"] for rule in NOW}
    assert {f"ray_faultset_{record.partition(':')[2]}" for record in fresh} == gauges
    for record, expression in fresh.items():
        gauge = f"ray_faultset_{record.partition(':')[2]}"
        assert gauge in expression
        assert "time() - ray_faultset_upkeep_timestamp_seconds" in expression
    elsewhere = [rule["expr"] for group in GROUPS[2:] for rule in group["rules"]]
    elsewhere += [target["expr"] for panel in PANELS for target in panel["targets"]]
    assert [text for text in elsewhere if gauges & set(re.findall(r"\w+", text))] == []


def test_a_gauge_is_beside_the_look_that_told_it():
    for rule in NOW:
        metric = METRICS[rule["record"].partition(":")[2]]
        assert f'what="{metric.beside}"' in rule["expr"]
        assert made(rule["expr"], KNOWN) == {tag.name: tag.values for tag in metric.tags} | {"system": ()}


def test_every_alert_is_explained_and_leads_to_what_to_do():
    page = (ROOT / "docs" / "alerts.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == [rule["alert"] for rule in ALERTS]
    for rule, text in zip(ALERTS, re.split(r"^## \w+$", page, flags=re.MULTILINE)[1:], strict=True):
        base, anchor = rule["annotations"]["runbook_url"].split("#")
        assert base == f'{{{{ range query "{RUNBOOKS["record"]}" }}}}{{{{ .Labels.page }}}}{{{{ end }}}}'
        assert anchor == rule["alert"].lower()
        assert rule["labels"]["severity"] in {"critical", "warning"}
        for part in ("*Means.*", "*Look at.*", "*Do.*"):
            assert part in text, (rule["alert"], part)
        assert "](operations.md#" in text or "](guides/" in text, rule["alert"]


def test_where_the_runbooks_are_is_set_in_one_place():
    assert RUNBOOKS["expr"] == "vector(1)", "it is always there"
    assert RUNBOOKS["labels"]["page"].startswith("https://")
    text = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()
    assert text.count(RUNBOOKS["labels"]["page"]) == 1
    assert "page: " + RUNBOOKS["labels"]["page"] in (ROOT / "docs" / "alerts.md").read_text()


def test_the_dashboard_loads():
    assert BOARD["schemaVersion"] >= 36
    variables = {each["name"]: each for each in BOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    for each in (variables["system"], variables["fleet"]):
        series, label = re.fullmatch(r"label_values\((\w+)(?:{.*})?, (\w+)\)", each["query"]["query"]).groups()
        assert label in KNOWN[series]
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, "panels lie over each other"
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_every_metric_is_looked_at_by_somebody():
    """What nobody looks at need not be told; or it is told for who asks for it, and stands here."""
    asked_for = {"operation_bytes", "shortages", "readmissions", "writes_ended", "unsaved_changes", "object_bytes"}
    texts = " ".join([rule["expr"] for rule in RULES] + [t["expr"] for panel in PANELS for t in panel["targets"]])
    unseen = {name for name, metric in METRICS.items() if not any(series in texts for series in metric.series)}
    assert unseen <= asked_for


def test_the_pod_monitor_finds_every_pod_of_the_cluster():
    monitor = yaml.safe_load((ROOT / "deploy" / "prometheus" / "podmonitor.yaml").read_text())
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    [cluster] = [document for _, document in documents() if document["kind"] == "RayCluster"]
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for template in (group["template"] for group in groups):
        assert wanted.items() <= template["metadata"]["labels"].items()
        [container] = template["spec"]["containers"]
        assert endpoint["port"] in {port["name"] for port in container["ports"]}
