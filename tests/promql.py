"""What an expression of PromQL names: its series, their labels and values, and the labels that it groups or joins by."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import promql_parser as promql

from faultset_ray.telemetry.metric_table import METRICS

OF_RAY = {"system", "SessionName", "WorkerId"}
"""Labels that every series of ours has: the first from us, the others from Ray."""
KNOWN = {
    name: {tag.name: tag.values for tag in metric.tags}
    | dict.fromkeys(OF_RAY, ())
    | ({"le": ()} if name.endswith("_bucket") else {})
    for metric in METRICS.values()
    for name in metric.series
}
"""By series, its labels with the values that they may have; empty for open ones."""


@dataclass
class Named:
    """What was found."""

    selectors: list[tuple[str, dict[str, tuple[str, ...]]]] = field(default_factory=list)
    """Series, and the values that each of its labels is compared with."""
    labels: set[str] = field(default_factory=set)
    """By which it groups or joins."""


def named(expression):
    """Parse an expression; an error of the parser is the test's."""
    found = Named()
    _walk(promql.parse(re.sub(r"\$__rate_interval", "5m", expression)), found)
    return found


def problems(expression, known):
    """What an expression names that there is not."""
    found = named(expression)
    wrong = [] if found.selectors else ["it names no series"]
    for series, compared in found.selectors:
        if series not in known:
            wrong.append(f"there is no series {series}")
            continue
        for label, values in compared.items():
            if label not in known[series]:
                wrong.append(f"{series} has no label {label}")
            elif known[series][label]:
                wrong += [
                    f"{label} of {series} is never {value}" for value in values if value not in known[series][label]
                ]
    have = {label for series, _ in found.selectors if series in known for label in known[series]}
    return wrong + [f"nothing that it names has the label {label}" for label in sorted(found.labels - have)]


def made(expression, known):
    """The labels, with their values, of what an expression of a recording rule gives."""
    parsed = promql.parse(expression)
    while not isinstance(parsed, promql.AggregateExpr):
        if isinstance(parsed, promql.BinaryExpr):
            parsed = parsed.lhs
        elif isinstance(parsed, promql.Call):
            parsed = next(each for each in parsed.args if isinstance(each, promql.Expr) and _has_series(each))
        else:
            parsed = parsed.expr
    values = {}
    for series, _ in named(expression).selectors:
        values |= known.get(series, {})
    return {label: values[label] for label in parsed.modifier.labels if label != "le"}


def _has_series(parsed):
    found = Named()
    _walk(parsed, found)
    return bool(found.selectors)


def _walk(parsed, found):
    if isinstance(parsed, promql.VectorSelector):
        matchers = parsed.matchers.matchers
        compared = {}
        for each in matchers:
            values = each.value.split("|") if str(each.op) in {"MatchOp.Re", "MatchOp.NotRe"} else [each.value]
            open_ended = any(re.search(r"[.$*^(]", value) for value in values)
            compared[each.name] = () if open_ended else tuple(re.sub(r"\[(.)\]", r"\1", value) for value in values)
        found.selectors.append((parsed.name, compared))
        return
    if isinstance(parsed, promql.MatrixSelector):
        _walk(parsed.vector_selector, found)
        return
    if isinstance(parsed, promql.AggregateExpr) and parsed.modifier is not None:
        found.labels |= set(parsed.modifier.labels)
    if isinstance(parsed, promql.BinaryExpr):
        if parsed.modifier is not None and parsed.modifier.matching is not None:
            found.labels |= set(parsed.modifier.matching.labels)
        _walk(parsed.lhs, found)
        _walk(parsed.rhs, found)
    elif isinstance(parsed, promql.Call):
        for each in parsed.args:
            _walk(each, found)
    elif isinstance(parsed, (promql.AggregateExpr, promql.ParenExpr, promql.UnaryExpr, promql.SubqueryExpr)):
        _walk(parsed.expr, found)
