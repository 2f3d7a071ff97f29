"""Results of verbs, held to their schemas."""

import json
from functools import cache

from jsonschema import Draft202012Validator


@cache
def validator(verb, line=False):
    """What checks the results of a verb; of none, as where arguments can't be used, an error is all that there may be."""
    from jobs.schemas import _ERROR, line_schema, result_schema

    if verb is None:
        schema = {"properties": {"error": _ERROR}, "required": ["error"], "additionalProperties": False}
    else:
        schema = line_schema(verb) if line else result_schema(verb)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def check(verb, result, line=False):
    """Fail where a result is not as its schema says; the deepest difference is told."""
    from jobs.results import RESULTS

    if verb == "schema":
        return
    known = verb if verb in RESULTS else None  # a job that only a test knows
    wrong = [*validator(known, line).iter_errors(result)]
    deep = [each for error in wrong for each in (error.context or [error])]
    assert not wrong, f"faultset {verb}: " + "; ".join(f"{each.json_path}: {each.message[:200]}" for each in deep)


def checked(arguments, text):
    """What a command line with ``--json`` printed, parsed: lines, and the result as the last, each held to its schema."""
    from jobs.results import RESULTS

    words = " ".join(map(str, arguments[:2]))  # as of `config show`
    verb = words if words in RESULTS else str(arguments[0])
    *lines, result = map(json.loads, text.splitlines())
    for line in lines:
        check(verb, line, line=True)
    check(verb, result)
    return [*lines, result]
