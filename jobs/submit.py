"""A job through Ray's Jobs API, followed to its end: ``python -m jobs.submit``, ``faultset submit -- SCRIPT``."""

from __future__ import annotations

import asyncio
import json as json_
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from faultset_ray.errors import InputError, JobLost
from jobs.output import Json, app, fail, finish, run
from jobs.settings import session
from jobs.terminal import console

if TYPE_CHECKING:  # Ray is loaded by the commands that use it
    from actors.submission import Job, Jobs

INTERRUPTED: Final = 130
"""As shells say it of what Ctrl-C ended."""
_SIGNALLED: Final = 128


def submit(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="SCRIPT ARGS…", help="A Python script and its arguments, or any command; behind `--`."),
    ] = None,
    working_dir: Annotated[
        Path | None,
        typer.Option(help="The directory that goes with the job and that it runs in; by default this one."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable of the job; may be repeated.")
    ] = None,
    runtime_env: Annotated[
        str | None, typer.Option(metavar="FILE|JSON", help="Ray's runtime environment: a YAML or JSON file, or JSON.")
    ] = None,
    submission_id: Annotated[str | None, typer.Option(help="The job's id; by default Ray makes one.")] = None,
    follow: Annotated[
        str | None, typer.Option(metavar="ID", help="Submit nothing; follow a job that was submitted before.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for its end, and tell what it writes.")] = True,
    stop_on_interrupt: Annotated[
        bool, typer.Option("--stop-on-interrupt", help="Ctrl-C stops the job too, without asking.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            help="The cluster's dashboard, http://HOST:8265, or HOST:PORT of its head, or 'auto'. By default "
            "RAY_API_SERVER_ADDRESS, cluster.address of the config, RAY_ADDRESS before it."
        ),
    ] = None,
    json: Json = False,  # noqa: ARG001 - takes effect where it is parsed
) -> None:
    """Run a script on the cluster as a job, tell what it writes as it comes, and end with its exit code.

    With --json what it writes goes to stderr. A job that a signal ended: 128 and the signal's number. One without an
    exit code (stopped, never begun, its machine gone): 5, and why. Ctrl-C: 130; the job goes on unless it is stopped.
    """
    from actors.submission import API_SERVER, Jobs

    if (follow is None) == (not command):
        raise InputError("name a script behind `--`, or with --follow a job; not both, and not neither")
    made = _environment(working_dir, env or [], runtime_env) if command else {}
    there = address or os.environ.get(API_SERVER) or session.config.cluster.address or "auto"
    jobs = Jobs(there, session.config.security)
    if follow is None:
        assert command is not None
        follow = jobs.submit(_entrypoint(command), made, submission_id)
        console.print(f"job {follow} at {jobs.address}", soft_wrap=True)
    if not wait:
        _finish(jobs, jobs.look(follow))
        return
    job = _followed(jobs, follow, stop=stop_on_interrupt)
    if job.exit_code is None:
        raise fail(JobLost(follow, job.status, job.message), _told(jobs, job))
    _finish(jobs, job)
    if job.exit_code:
        raise typer.Exit(job.exit_code if job.exit_code > 0 else _SIGNALLED - job.exit_code)


def _entrypoint(command: list[str]) -> str:
    """What the cluster's shell is to run."""
    return shlex.join(["python", *command] if command[0].endswith(".py") else command)


def _environment(working_dir: Path | None, env: list[str], given: str | None) -> dict[str, Any]:
    """The job's runtime environment: what is given, the variables over it, the working directory, and our code."""
    from actors import ship

    made = _given(given)
    if working_dir is not None or "working_dir" not in made:
        made["working_dir"] = str(working_dir or ".")
    if not isinstance(made["working_dir"], str):
        raise InputError(f"--runtime-env: working_dir is {made['working_dir']!r}, not the name of a directory")
    folder = Path(made["working_dir"])
    if "://" not in made["working_dir"] and not folder.is_dir() and folder.suffix != ".zip":
        raise InputError(f"--working-dir {folder} is not a directory")
    variables = [variable.partition("=") for variable in env]
    for name, equals, _ in variables:
        if not name or not equals:
            raise InputError(f"--env {name!r} is not NAME=VALUE")
    if variables:
        made["env_vars"] = {**(made.get("env_vars") or {}), **{name: value for name, _, value in variables}}
    if "py_modules" not in made and not (folder / "faultset_ray" / "__init__.py").is_file():
        ours = ship.modules(Path(__file__).parent)
        made |= ours | {"excludes": [*(made.get("excludes") or []), *ours["excludes"]]}
    return made


def _given(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    import yaml

    try:
        found = json_.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(Path(text).read_bytes())
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"--runtime-env: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("env_vars") or {}, Mapping):
        raise InputError("--runtime-env is not a mapping of Ray's fields; see runtime environments in Ray's manual")
    return found


def _followed(jobs: Jobs, submission_id: str, *, stop: bool) -> Job:
    """Tell what the job writes until it has ended; how it did."""
    stream = sys.stderr if console.quiet else sys.stdout

    async def tell() -> None:
        async for text in jobs.follow(submission_id):
            stream.write(text)
            stream.flush()

    try:
        asyncio.run(tell())
    except KeyboardInterrupt:
        raise _interrupted(jobs, submission_id, stop=stop) from None
    return jobs.look(submission_id)


def _interrupted(jobs: Jobs, submission_id: str, *, stop: bool) -> typer.Exit:
    """Stop the job or leave it, as whoever pressed Ctrl-C wishes; raise what is returned."""
    if not stop and sys.stdin.isatty():
        stop = typer.confirm(f"\nStop job {submission_id} too?", default=False, err=True)
    if stop:
        job = jobs.stop(submission_id)
        console.print(f"job {submission_id}: {job.status}")
    else:
        job = jobs.look(submission_id)
        console.print(f"job {submission_id} goes on: `faultset submit --follow {submission_id}`", soft_wrap=True)
    _finish(jobs, job)
    return typer.Exit(INTERRUPTED)


def _finish(jobs: Jobs, job: Job) -> None:
    finish(_told(jobs, job))


def _told(jobs: Jobs, job: Job) -> dict[str, Any]:
    return {
        "submission_id": job.submission_id,
        "address": jobs.address,
        "status": job.status,
        "driver_exit_code": job.exit_code,
        "error_type": job.error_type,
    }


if __name__ == "__main__":
    run(app(submit))
