"""What could be wrong, looked for on purpose: ``python -m jobs.doctor``, ``faultset doctor``."""

from __future__ import annotations

import os
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from faultset_ray.checkup.findings import Finding, Level, worst
from faultset_ray.errors import AuthError, ClusterUnreachable, FaultsetError, OpenClusterWarning
from jobs.connecting import Address, chosen_system, closing
from jobs.output import DAMAGED, UNREACHED, Json, finish, run
from jobs.settings import session, settled
from jobs.terminal import console

if TYPE_CHECKING:
    from faultset_ray.backend.protocol import Backend
    from faultset_ray.checkup.machine import Machine
    from faultset_ray.config import Config

_STYLES = {Level.OK: "green", Level.SKIPPED: "dim", Level.WARNING: "yellow", Level.FAILED: "bold red"}


def doctor(
    system: Annotated[
        str | None,
        typer.Option("--system", help="The system that is looked for; by default the config's, else `default`."),
    ] = None,
    address: Address = None,
    deadline: Annotated[float, typer.Option(min=0.1, help="Seconds for each place to answer.")] = 60.0,
    local: Annotated[bool, typer.Option("--local", help="Look at this machine alone.")] = False,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Look for what could be wrong here and on every place of the cluster, and say what to do. Changes nothing.

    Ends with 0 if nothing failed (there may be warnings), 4 if something did, 5 if the cluster that was named can't be
    reached. Where none is named, and none is found on this machine, only this machine is looked at.
    """
    from faultset_ray.checkup.judging import judge_machine
    from faultset_ray.checkup.machine import describe

    findings, config = _configured()
    own = describe(time.monotonic)
    findings += judge_machine(own)
    unreached = False
    if local:
        findings += [*_alone(own), Finding("ray", Level.SKIPPED, "--local was given: no place was looked at")]
    else:
        found, unreached = _cluster(own, config, system, address, deadline)
        findings += found
    _show(findings)
    counts = {level.value: sum(finding.level is level for finding in findings) for level in Level}
    finish({"level": worst(findings).value, "counts": counts, "findings": [asdict(finding) for finding in findings]})
    if unreached:
        raise typer.Exit(UNREACHED)
    if counts[Level.FAILED]:
        raise typer.Exit(DAMAGED)


def _configured() -> tuple[list[Finding], Config]:
    """Findings on the settings in force, and those; defaults where they can't be used."""
    from faultset_ray.checkup.judging import judge_config
    from faultset_ray.config import Config
    from faultset_ray.config.loading import collect
    from faultset_ray.config.process import examine as examine_config

    found = collect(session.path, os.environ, session.flags)
    config = Config() if found.problems else Config.made(found)
    problems = found.problems or examine_config(config)
    return [*judge_config([*map(str, problems)], [*map(str, found.unknown)], found.file)], config


def _alone(own: Machine) -> Iterator[Finding]:
    """What is looked at on this machine only where there is no cluster whose places would be."""
    from faultset_ray.checkup.judging import judge_store, judge_versions

    yield from judge_versions(own, {})
    if own.disk is not None or own.setting_problem:
        yield from judge_store(own.disk, own.setting_problem)
    else:
        told = "FAULTSET_STORE_DIR is not set here: this machine holds no store, or a temporary one"
        yield Finding("store_disk", Level.SKIPPED, told)


def _cluster(
    own: Machine, config: Config, system: str | None, address: str | None, deadline_s: float
) -> tuple[list[Finding], bool]:
    """Findings on a cluster and its places; and whether one that was named can't be reached."""
    import asyncio

    from actors import checkup
    from faultset_ray.driver.systems import open_backend

    name = chosen_system(system, config)
    named = address or config.cluster.address or os.environ.get("RAY_ADDRESS")
    findings = []
    try:
        bootstrap, answers = checkup.reach(named or "auto", config.security)
    except (AuthError, ClusterUnreachable) as error:
        findings += [*checkup.judge_token()]
        if named is None and isinstance(error, ClusterUnreachable):
            told = "no cluster is named, and none runs on this machine: no place was looked at"
            return [*findings, *_alone(own), Finding("ray", Level.SKIPPED, told, remedy="--address HOST:PORT")], False
        return [*findings, *_alone(own), checkup.unreached(error)], True
    findings += [answers, *checkup.judge_token()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OpenClusterWarning)  # it is a finding
            backend = open_backend("ray", name, bootstrap, config)
        hosts, found = asyncio.run(_looked(backend, own, name, deadline_s))
    except ClusterUnreachable as error:
        return [*findings, checkup.unreached(error)], True
    except FaultsetError as error:
        return [*findings, Finding("ray", Level.FAILED, str(error), numbers=error.fields())], True
    return [*findings, checkup.judge_auth(bootstrap, hosts), *found], False


async def _looked(backend: Backend, own: Machine, system: str, deadline_s: float) -> tuple[list[str], list[Finding]]:
    from faultset_ray.checkup.cluster import examine

    async with closing(backend):
        hosts = [place.host for place in await backend.places()]
        return hosts, await examine(backend, own, system, deadline_s)


def _show(findings: Sequence[Finding]) -> None:
    """A row for each thing that was found, the same on several places in one; then what to do."""
    rows: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for finding in findings:
        rows[finding.check, finding.level, finding.text, finding.remedy].append(finding.place[:12])
    table = Table(show_lines=False)
    for heading in ("", "check", "where", "found"):
        table.add_column(heading, overflow="fold")
    for (check, level, text, _), places in rows.items():
        where = places[0] if len(places) == 1 else f"{len(places)} places"
        table.add_row(f"[{_STYLES[level]}]{level.value}[/]", check, where or "here", text)
    console.print(table, markup=True)
    for (check, level, _, remedy), places in rows.items():
        if remedy:
            where = f" of {', '.join(places)}" if any(places) else ""
            console.print(f"{level.value}: {check}{where}: {remedy}", soft_wrap=True)


application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
application.command()(settled(doctor, checked=False))  # a config that can't be used is a finding

if __name__ == "__main__":
    run(application)
