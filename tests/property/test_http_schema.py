"""The HTTP API against its own description: schemathesis makes requests of it, sound and unsound, and judges the answers."""

from __future__ import annotations

import pytest
import schemathesis
from http_server import NODES, Served, token_of
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from faultset_ray.config import Http

ENDLESS = {"/v1/watch"}
OPERATIONS = 14
"""Those that end."""
# not that all sound data is accepted: that columns agree in length, or ids are distinct, no schema says


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    token = token_of(folder / "tokens", "admin")
    config = Http(tokens=str(folder / "tokens"))
    with pytest.MonkeyPatch.context() as patch, Served(config, token=token) as served:
        patch.setenv("FAULTSET_STORE_DIR", str(folder / "stores"))  # durability=fsync can be had
        served.client.post("/v1/fleet", json={"nodes": NODES})
        served.client.put("/v1/objects/x", content=b"x")
        yield served


@pytest.fixture(scope="module")
def schema(served):
    return schemathesis.openapi.from_url(f"{served.url}/v1/openapi.json", headers=dict(served.client.headers))


def operations(schema):
    found = [result.ok() for result in schema.get_all_operations()]
    return [operation for operation in found if operation.path not in ENDLESS]


def test_the_description_has_every_operation(schema):
    assert len(operations(schema)) == OPERATIONS
    schema.validate()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("number", range(OPERATIONS))
def test_answers_are_as_described(served, schema, number, mode, derandomize):
    operation = operations(schema)[number]
    if mode == GenerationMode.NEGATIVE and operation.path in {"/v1/health", "/v1/ready"}:
        pytest.skip("it has nothing that could be wrong")

    strategy = operation.as_strategy(generation_mode=mode)

    @settings(
        max_examples=25,
        database=None,
        derandomize=derandomize,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case):
        if "deadline_s" in (case.query or {}) and mode == GenerationMode.POSITIVE:
            case.query["deadline_s"] = 30.0  # a short one may rightly pass
        positive = mode == GenerationMode.POSITIVE
        bearer = {"Authorization": served.client.headers["Authorization"]} if positive else {}
        case.call_and_validate(timeout=30, headers=bearer, excluded_checks=[positive_data_acceptance])

    ask()
