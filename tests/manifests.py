"""How the manifests of ``deploy/k8s`` are checked: Kubernetes' own schema, and one of ours for KubeRay's resources."""

import json
from functools import cache
from pathlib import Path

import jsonschema
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "deploy" / "k8s"
VENDOR = ROOT / "tests" / "vendor"


def documents() -> list[tuple[str, dict]]:
    """Each document with the name of its file."""
    return [
        (path.name, document)
        for path in sorted(MANIFESTS.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document is not None
    ]


@cache
def kubernetes() -> dict:
    return json.loads((VENDOR / "kubernetes" / "_definitions.json").read_text())


@cache
def kinds() -> dict[tuple[str, str], str]:
    """The name of the definition of each API version and kind."""
    return {
        ("/".join(filter(None, (of["group"], of["version"]))), of["kind"]): name
        for name, definition in kubernetes()["$defs"].items()
        for of in definition.get("x-kubernetes-group-version-kind", [])
    }


@cache
def ours() -> dict:
    return json.loads((ROOT / "tests" / "kuberay.schema.json").read_text())


def check(document: dict) -> None:
    """Raise ``jsonschema.ValidationError`` if a document is not what its kind says."""
    registry = Registry().with_resource("kubernetes", Resource(kubernetes(), DRAFT202012))
    if document["apiVersion"] == "ray.io/v1":
        schema = {**ours()["$defs"][document["kind"]], "$defs": ours()["$defs"]}
    else:
        schema = {"$ref": f"kubernetes#/$defs/{kinds()[document['apiVersion'], document['kind']]}"}
    jsonschema.Draft202012Validator(schema, registry=registry).validate(document)
