"""``deploy/k8s`` against KubeRay's own schemas: ``make test-kuberay`` fetches them first."""

import copy

import jsonschema
import pytest
import yaml
from manifests import VENDOR, documents

CUSTOM = [(name, document) for name, document in documents() if document["apiVersion"] == "ray.io/v1"]

pytestmark = pytest.mark.kuberay


def schema_of(kind: str) -> dict:
    definition = yaml.safe_load((VENDOR / "kuberay" / f"ray.io_{kind.lower()}s.yaml").read_text())
    assert definition["spec"]["names"]["kind"] == kind
    (version,) = [version for version in definition["spec"]["versions"] if version["name"] == "v1"]
    return strict(version["schema"]["openAPIV3Schema"])


def strict(schema):
    """With unknown fields as errors, as ``kubectl apply`` has them."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    known = isinstance(closed.get("properties"), dict) and closed.get("type") == "object"
    if known and not closed.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.mark.parametrize(("name", "document"), CUSTOM, ids=[document["kind"] for _, document in CUSTOM])
def test_kuberay_takes_it(name, document):
    jsonschema.Draft202012Validator(schema_of(document["kind"])).validate(document)


@pytest.mark.parametrize(("name", "document"), CUSTOM, ids=[document["kind"] for _, document in CUSTOM])
def test_kuberay_would_not_take_another_field(name, document):
    spoilt = copy.deepcopy(document)
    spoilt["spec"]["rayVersions"] = "2.60.0"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema_of(document["kind"])).validate(spoilt)
