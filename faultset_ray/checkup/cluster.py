"""A look at every place of a backend at once: facts by tasks there, findings here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from faultset_ray.backend.protocol import LABEL_STORE, At, Backend, Place, Servant
from faultset_ray.checkup.findings import Finding, Level
from faultset_ray.checkup.judging import judge_clock, judge_machine, judge_store, judge_versions
from faultset_ray.checkup.machine import Machine, look, tell_time
from faultset_ray.coordinator.servant import Coordinator
from faultset_ray.driver.authority import ATTENDANT, COORDINATOR
from faultset_ray.errors import ClusterError, VersionSkew

_ASKS = 5
"""How often a place is asked for the time: the quickest answer says most."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What came of one place."""

    machine: Machine | None
    offset_ms: float = 0.0
    within_ms: float = 0.0
    problem: str = ""


async def examine(backend: Backend, own: Machine, system: str, deadline_s: float) -> list[Finding]:
    """Look at every place, and at whether a system runs; nothing is started or changed.

    Parameters
    ----------
    own
        Facts of this machine.
    system
        Its coordinator is looked for.
    deadline_s
        For each place; one that has not answered by then is a finding.

    Raises
    ------
    ClusterError
        The places themselves can't be told.
    """
    places = await backend.places()
    looked = dict(
        zip(
            [place.id for place in places],
            await asyncio.gather(*(_look(backend, place, deadline_s) for place in places)),
            strict=True,
        )
    )
    machines = {place: each.machine for place, each in looked.items() if each.machine is not None}
    findings = [*_answers(looked), *judge_versions(own, machines)]
    for place, machine in machines.items():
        findings += judge_machine(machine, place)
    findings += _judge_stores(places, machines)
    for place, each in looked.items():
        if each.machine is not None:
            findings.append(judge_clock(place, each.offset_ms, each.within_ms))
    findings += [finding async for finding in _judge_system(backend, system)]
    return findings


async def _look(backend: Backend, place: Place, deadline_s: float) -> _Looked:
    at = At(place=place.id)
    try:
        async with asyncio.timeout(deadline_s):
            machine = await backend.run(look, at)
            times = [await _offset(backend, at) for _ in range(_ASKS)]
    except TimeoutError:
        return _Looked(None, problem=f"no answer within {deadline_s:g} s")
    except ClusterError as error:
        return _Looked(None, problem=str(error))
    within_ms, offset_ms = min(times)
    return _Looked(machine, offset_ms, within_ms)


async def _offset(backend: Backend, at: At) -> tuple[float, float]:
    """Half of the round trip, and the place's clock less ours in the middle of it, in ms."""
    ours, begun = backend.now_ms(), backend.uptime_s()
    theirs = await backend.run(tell_time, at)
    half_ms = 500.0 * (backend.uptime_s() - begun)
    return half_ms, theirs - ours - half_ms


def _answers(looked: dict[str, _Looked]) -> Iterator[Finding]:
    silent = {place: each.problem for place, each in looked.items() if each.machine is None}
    for place, problem in silent.items():
        remedy = "look at its machine: processes of Ray, disk, memory; Ray calls it alive"
        yield Finding("place", Level.FAILED, problem, place, remedy)
    if len(silent) < len(looked):
        yield Finding("place", Level.OK, f"{len(looked) - len(silent)} of {len(looked)} places answer")


def _judge_stores(places: Sequence[Place], machines: dict[str, Machine]) -> Iterator[Finding]:
    labelled = [place.id for place in places if place.labels.get(LABEL_STORE) == "true"]
    if not labelled:
        told = f"no place carries {LABEL_STORE}=true: all {len(places)} may hold a store"
        yield Finding("store_label", Level.WARNING, told, remedy="label the nodes that have disks for it")
    for place in labelled or [place.id for place in places]:
        if (machine := machines.get(place)) is not None:
            yield from judge_store(machine.disk, machine.setting_problem, place)


async def _judge_system(backend: Backend, system: str) -> AsyncIterator[Finding]:
    try:
        found = await backend.find(Coordinator, COORDINATOR)
        attended = found is not None and await backend.find(Servant, ATTENDANT) is not None
    except VersionSkew as error:
        remedy = "`faultset down` with that version, then `faultset up` with this one"
        yield Finding("system", Level.FAILED, str(error), remedy=remedy)
    except ClusterError as error:
        remedy = "look at the head's machine; `faultset down`, `faultset up` start the coordinator anew"
        yield Finding("system", Level.FAILED, f"the coordinator of {system!r}: {error}", remedy=remedy)
    else:
        if found is None:
            told = f"{system!r} does not run here"
            yield Finding("system", Level.SKIPPED, told, remedy=f"`faultset up {system}` brings it up")
        else:
            who = "an attendant looks after it" if attended else "looked after only while a driver is connected"
            told = f"{system!r} runs, with this version; {who}"
            yield Finding("system", Level.OK, told, numbers={"attended": attended})
