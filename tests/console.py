"""The ``console`` blocks of the documentation, and who runs each.

``HERE`` is run by ``tests/cluster/test_console.py`` on a cluster of its own. A path is the test that runs the block, or
what it says with other addresses and directories. All others need what stands there, which is outside of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from doc_pages import ROOT, sources

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sources(".md") if path.name != "cli.md"),
]

HERE = "here"
RUNBOOKS = "tests/cluster/test_runbooks.py"
FRESH = "tests/host/test_fresh_machine.py"
HOSTS = "tests/host/test_cluster_commands.py"
DRILL = "tests/cluster/test_jobs.py"
SUBMITTED = "tests/cluster/test_jobs.py"
NEW = "tests/host/test_new_user.py"
EXAMPLES = "tests/cluster/test_examples.py"
KUBERNETES = "needs Kubernetes with KubeRay; deploy/k8s itself is checked by tests/packaging/test_k8s.py"

RUN_BY = {
    "README.md": {"make drill": FRESH, "export RAY_ADDRESS": HERE, "faultset serve": "tests/cluster/test_serve.py"},
    "CONTRIBUTING.md": {"make setup": FRESH},
    "docs/configuration.md": {"faultset --config": HERE},
    "docs/guides/clusters.md": {
        "faultset up": "tests/cluster/test_up_down.py",
        "ray start --address": HOSTS,
        "export RAY_AUTH_MODE": HOSTS,
        "ray get-auth-token": "needs an account at AWS; cluster.yaml is checked by tests/packaging/test_cluster_yaml.py",
    },
    "docs/guides/http.md": {"faultset token add": "tests/cluster/test_serve.py"},
    "docs/guides/jobs.md": {"faultset submit": SUBMITTED, "make drill": DRILL},
    "docs/guides/kuberay.md": {
        "make wheel": "needs a registry of images",
        "kubectl": KUBERNETES,
        "faultset token add": KUBERNETES,
    },
    "docs/guides/map.md": {"faultset map": HERE, ">>>": "tests/unit/test_map.py"},
    "docs/guides/objects.md": {"faultset put": HERE},
    "docs/guides/tracing.md": {"export OTEL": "needs a collector of OpenTelemetry"},
    "docs/logging.md": {"faultset put": HERE, "ray.init": "tests/cluster/test_console.py"},
    "docs/operations.md": {
        "faultset doctor": HERE,
        "faultset": RUNBOOKS,
        "ray start --head": HOSTS,
        "sqlite3": HERE,
    },
    "docs/quickstart.md": {"make setup": NEW, "faultset up": NEW, "NODE=": NEW},
    "docs/recovery.md": {"faultset rebuild": RUNBOOKS, "faultset": HERE},
    "docs/tutorials/outage.md": {"export RAY_ADDRESS": EXAMPLES},
    "docs/tutorials/pipeline.md": {"python examples/dag.py": EXAMPLES},
    "docs/tutorials/region.md": {"make drill": DRILL},
}


class Block(NamedTuple):
    page: str
    """Its path in the repository."""
    lines: tuple[str, ...]

    @property
    def commands(self) -> list[str]:
        """What is typed, without what is told; continued lines are one."""
        joined = "\n".join(self.lines).replace("\\\n", " ")
        return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]

    @property
    def run_by(self) -> str | None:
        """Who runs it; None if nobody said."""
        first = (self.commands or self.lines)[0]
        return next((who for start, who in RUN_BY.get(self.page, {}).items() if first.startswith(start)), None)


def blocks() -> Iterator[Block]:
    """Every block, page by page."""
    for page in PAGES:
        for body in re.findall(r"^ *```console\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
            yield Block(str(page.relative_to(ROOT)), tuple(line.strip() for line in body.splitlines()))
