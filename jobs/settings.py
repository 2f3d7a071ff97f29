"""What every command takes: its config, how much is logged and how. And the config that a command goes by."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, get_type_hints

import typer

from jobs import completing
from jobs.terminal import console, stdout

if TYPE_CHECKING:
    from faultset_ray.config import Config

_PACKAGES: Final = ("faultset_ray", "actors", "jobs")
_TEXT: Final = "%(levelname)s %(name)s: %(message)s"


class Session:
    """What the command line says of settings: before the verb, and after it, which counts more."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, with another command line."""
        self._before: dict[str, Any] = {}
        self.begin()

    def before(self, **given: Any) -> None:
        """Take what stands before the verb."""
        self._before = given
        self.begin()

    def begin(self) -> None:
        """Begin with a verb: what another one was given is over."""
        self.verb: str | None = None
        self._own: dict[str, Any] = {}
        self._config: Config | None = None

    def after(self, name: str, value: Any) -> None:
        """Take what stands after the verb."""
        self._own[name] = value
        self._config = None

    @property
    def path(self) -> Path | None:
        """The file that was asked for."""
        path: Path | None = self._given("config")
        return path

    @property
    def flags(self) -> list[str]:
        """All settings that were given as ``KEY=VALUE``; of two for one key the last counts."""
        told = [*(self._before.get("set") or ()), *(self._own.get("set") or ())]
        if (level := self.level) is not None:
            told.append(f"log.level={level}")
        if (style := self._given("log_format")) is not None:
            told.append(f"log.format={style}")
        return told

    @property
    def level(self) -> str | None:
        """How much is logged, if ``-v`` or ``-q`` say so."""
        if self.quiet:
            return "error"
        return (None, "info", "debug")[min(self._given("verbose") or 0, 2)]

    def log(self) -> None:
        """Log as the command line alone says."""
        log_to_stderr(self.level or "warning", self._given("log_format") or "text")

    @property
    def quiet(self) -> bool:
        """Whether only the result and errors are told."""
        return bool(self._given("quiet"))

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises
        ------
        typer.BadParameter
        """
        if self.quiet and self._given("verbose"):
            raise typer.BadParameter("say one of them, not both", param_hint="'--verbose' / '--quiet'")

    def _given(self, name: str) -> Any:
        """What stands after the verb, else before it."""
        return self._own.get(name) or self._before.get(name) or None

    @property
    def config(self) -> Config:
        """Everything that there is, read when it is first asked for.

        Raises
        ------
        InvalidConfig
        """
        if self._config is None:
            from faultset_ray.config import Config

            self.log()  # what reading it has to say
            self._config = Config.load(self.path, flags=self.flags)
        return self._config


session = Session()
"""Of the command that runs."""


def _after(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    if not ctx.resilient_parsing:
        session.after(str(param.name).removesuffix("_"), value)


class LogFormat(StrEnum):
    """How a line of the log looks."""

    TEXT = "text"
    JSON = "json"


def settings_options(callback: Callable[..., Any] | None = None) -> dict[str, Any]:
    """What every command takes, by name: its type, with what is told of it."""

    def option(*names: str, **more: Any) -> Any:
        return typer.Option(*names, callback=callback, is_eager=True, rich_help_panel="Settings", **more)

    config = option(
        "--config", metavar="FILE", help="TOML file of settings; by default FAULTSET_CONFIG, else faultset.toml here."
    )
    setting = option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=completing.settings,
        help="A setting, over variables and files, as codes.put=rs:4+2; may be repeated.",
    )
    return {
        "config_": Annotated[Path | None, config],
        "set_": Annotated[list[str] | None, setting],
        "verbose": Annotated[int, option("--verbose", "-v", count=True, help="Log what is done; -vv, all of it.")],
        "quiet": Annotated[bool, option("--quiet", "-q", help="Tell the result and errors, and nothing else.")],
        "log_format": Annotated[
            LogFormat | None, option("--log-format", help="How lines of the log look; by default log.format.")
        ],
    }


_DEFAULTS: Final = {"verbose": 0, "quiet": False}


def takes_settings(job: Callable[..., None], callback: Callable[..., Any] | None = None) -> Callable[..., None]:
    """A function that takes what every command takes as well; it is handed to it by name.

    Parameters
    ----------
    callback
        Told of each by typer, as it is parsed.
    """

    @functools.wraps(job)
    def wrapper(**given: Any) -> None:
        job(**given)

    own = settings_options(callback)
    signature = inspect.signature(job, eval_str=True)
    named = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name), annotation=hint)
        for name, hint in own.items()
    ]
    wrapper.__signature__ = signature.replace(parameters=[*named, *added])  # type: ignore[attr-defined]  # of every function
    hints = get_type_hints(job, include_extras=True)
    wrapper.__annotations__ = {**{each.name: hints[each.name] for each in named}, **own}
    return wrapper


def settled(job: Callable[..., None], *, checked: bool = True) -> Callable[..., None]:
    """A job that takes ``--config``, ``--set``, ``-v``, ``-q`` and ``--log-format`` as well, and goes by them.

    Parameters
    ----------
    checked
        Whether a config that can't be used ends it before it begins.
    """
    module = job.__module__.rpartition(".")[2]
    module = job.__name__ if module == "__main__" else module
    verb = module if job.__name__ in {module, f"{module}_"} else f"{module} {job.__name__.partition('_')[0]}"

    @functools.wraps(job)
    def begun(**given: Any) -> None:
        for name in settings_options():
            given.pop(name)
        session.verb = verb
        session.check()
        console.quiet = console.quiet or session.quiet
        if checked:
            from faultset_ray.config.process import apply

            log_to_stderr(session.config.log.level, session.config.log.format)
            apply(session.config)
        else:
            session.log()
        with stdout.alone() if console.quiet else nullcontext():
            job(**given)

    return takes_settings(begun, _after)


def from_config(read: Callable[[Config], Any]) -> Callable[..., Any]:
    """A callback of an option: where the command line has none, its value is the config's, if that has one."""

    def callback(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
        source = ctx.get_parameter_source(str(param.name))
        if ctx.resilient_parsing or source is None or source.name != "DEFAULT":
            return value
        found = read(session.config)
        return value if found is None else found

    return callback


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is when something is logged."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """It is never another one."""


_STANDARD: Final = {*vars(logging.makeLogRecord({})), "message", "asctime"}
"""What every record has; the rest are an event's fields."""


class _Json(logging.Formatter):
    """One object a line, with the names that Ray's own logs have, and an event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, Any] = {
            "asctime": f"{at}.{int(record.msecs):03d}Z",
            "levelname": record.levelname,
            "name": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exc_text"] = self.formatException(record.exc_info)
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        return json.dumps({**told, **fields})


_handler = _Stderr()


def log_to_stderr(level: str, style: str) -> None:
    """Log what this project's own code says, from a level on, to stderr; again replaces what was said before."""
    _handler.setFormatter(_Json() if style == "json" else logging.Formatter(_TEXT))
    _handler.setLevel(level.upper())
    for package in _PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(level.upper() if level in {"debug", "info"} else logging.NOTSET)
        if _handler not in logger.handlers:
            logger.addHandler(_handler)
