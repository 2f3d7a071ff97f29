"""What every command takes: ``--config``, ``--set``, how much is logged. And the config that a command goes by."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TextIO, get_type_hints

import typer

from faultset_ray.config import Config
from faultset_ray.config.process import apply

_PACKAGES: Final = ("faultset_ray", "actors", "jobs")
_TEXT: Final = "%(levelname)s %(name)s: %(message)s"


class Session:
    """What the command line says of settings: before the verb, and after it, which counts more."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, with another command line."""
        self._path: Path | None = None
        self._flags: tuple[str, ...] = ()
        self.begin()

    def before(self, path: Path | None, flags: list[str]) -> None:
        """Take what stands before the verb."""
        self._path, self._flags = path, tuple(flags)
        self.begin()

    def begin(self) -> None:
        """Begin with a verb: what another one was given is over."""
        self._own: dict[str, Any] = {}
        self._config: Config | None = None

    def after(self, name: str, value: Any) -> None:
        """Take what stands after the verb."""
        self._own[name] = value
        self._config = None

    @property
    def path(self) -> Path | None:
        """The file that was asked for."""
        return self._own.get("config") or self._path

    @property
    def flags(self) -> list[str]:
        """All settings that were given as ``KEY=VALUE``; of two for one key the last counts."""
        return [*self._flags, *(self._own.get("set") or ())]

    @property
    def config(self) -> Config:
        """Everything that there is, read when it is first asked for.

        Raises
        ------
        InvalidConfig
        """
        if self._config is None:
            self._config = Config.load(self.path, flags=self.flags)
        return self._config


session = Session()
"""Of the command that runs."""


def _after(ctx: typer.Context, param: typer.CallbackParam, value: Any) -> None:
    if not ctx.resilient_parsing:
        session.after(str(param.name).removesuffix("_"), value)


def _option(name: str, metavar: str, help_: str, callback: Callable[..., Any] | None = None) -> Any:
    return typer.Option(name, metavar=metavar, help=help_, callback=callback, is_eager=True, rich_help_panel="Settings")


_CONFIG: Final = "--config", "FILE", "TOML file of settings; by default FAULTSET_CONFIG, else faultset.toml here."
_SET: Final = "--set", "KEY=VALUE", "A setting, over variables and files, as codes.put=rs:4+2; may be repeated."
CONFIG_FILE: Final = _option(*_CONFIG)
SETTING: Final = _option(*_SET)
"""As they stand before the verb."""


def settled(job: Callable[..., None], *, checked: bool = True) -> Callable[..., None]:
    """A job that takes ``--config`` and ``--set`` as well; it logs, and codes, as its config says.

    Parameters
    ----------
    checked
        Whether a config that can't be used ends it before it begins.
    """

    @functools.wraps(job)
    def wrapper(**given: Any) -> None:
        for name in ("config_", "set_"):
            given.pop(name)
        if checked:
            log_to_stderr(session.config.log.level, session.config.log.format)
            apply(session.config)
        job(**given)

    own = {
        "config_": Annotated[Path | None, _option(*_CONFIG, _after)],
        "set_": Annotated[list[str] | None, _option(*_SET, _after)],
    }
    signature = inspect.signature(job, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
        for name, hint in own.items()
    ]
    wrapper.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined]  # of every function
    wrapper.__annotations__ = {**get_type_hints(job, include_extras=True), **own}
    return wrapper


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


class _Json(logging.Formatter):
    """One object a line, with the names that Ray's own logs have."""

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
        return json.dumps(told)


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
