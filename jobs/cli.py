"""The command ``faultset``: every job is a verb of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from faultset_ray._version import __version__
from jobs import config
from jobs.decode import decode
from jobs.decommission import decommission
from jobs.drill import drill
from jobs.encode import encode
from jobs.failover import failover
from jobs.get import get
from jobs.ls import ls
from jobs.mark import mark
from jobs.observe import observe
from jobs.output import run
from jobs.plan import plan
from jobs.put import put
from jobs.rebuild import rebuild
from jobs.regions import regions
from jobs.register import register
from jobs.repair import repair
from jobs.replay import replay
from jobs.rm import rm
from jobs.scrub import scrub
from jobs.serve import serve
from jobs.settings import CONFIG_FILE, SETTING, session, settled
from jobs.stat import stat
from jobs.status import status
from jobs.survivors import survivors
from jobs.token import application as token
from jobs.verify import verify
from jobs.watch import watch
from jobs.why import why

application = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="markdown")
_VERBS = (
    *(failover, register, observe, survivors, why, plan, watch, mark, regions, replay),
    *(put, get, ls, stat, rm, status, scrub, repair, decommission, rebuild),
    *(serve,),
    *(encode, decode, verify, drill),
)
for job in _VERBS:
    application.command()(settled(job))
application.add_typer(config.application, name="config")
application.add_typer(token, name="token")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@application.callback()
def faultset(
    version: Annotated[  # noqa: ARG001 - takes effect where it is parsed
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    config_: Annotated[Path | None, CONFIG_FILE] = None,
    set_: Annotated[list[str] | None, SETTING] = None,
) -> None:
    """Which nodes can be trusted, region by region, and no data lost when some are gone."""
    session.before(config_, set_ or [])


def main() -> None:
    """Entry point of the console script."""
    run(application)
