"""Objects as files for fsspec: ``faultset://NAME``, for pandas, pyarrow, polars and Ray Data.

A name is a path, and what stands before a ``/`` in it a directory, which is there as long as an object is in it.
A file that is written becomes an object when it is closed, wholly or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import fsspec
from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.spec import AbstractFileSystem

from faultset_ray.config import Config
from faultset_ray.driver.object_values import ObjectInfo, ObjectStat
from faultset_ray.driver.sync import Driver, connect
from faultset_ray.errors import InputError, ObjectNotFound, PreconditionFailed
from faultset_ray.errors.base import shown
from faultset_ray.file_writing import PackedFile, TextFile, WrittenFile
from faultset_ray.telemetry import events


class FaultsetFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The objects of one system as a file system.

    Parameters
    ----------
    system : str
        The system's name.
    address : str, optional
        Of the Ray cluster, as for :func:`~faultset_ray.driver.sync.connect`. In a worker of Ray Data it is the
        worker's own cluster.
    code, tolerate
        What files are written with, as for :meth:`Driver.put <faultset_ray.driver.object_verbs.ObjectVerbs.put>`.
    driver : Driver, optional
        One that is connected already. It is left open, and a copy of the file system in another process connects to
        the driver's system by name.
    config : Config or str, optional
        As for :func:`~faultset_ray.driver.sync.connect`; of a driver that is given, its own. A path is read here, and a
        copy in another process goes by what was read.

    Raises
    ------
    FileNotFoundError, FileExistsError
        As file systems do. All else is the driver's own error.
    InputError
        A file is written whose path has an empty step, as ``a//b`` has: no directory would show it.

    Examples
    --------
    >>> with connect(backend="local") as driver:
    ...     files = FaultsetFileSystem(driver=driver, code="copy:2", tolerate=0)
    ...     files.pipe_file("logs/a.txt", b"hello")
    ...     files.cat_file("logs/a.txt")
    b'hello'
    """

    protocol: ClassVar[str] = "faultset"
    root_marker: ClassVar[str] = ""
    cachable: ClassVar[bool] = True

    def __init__(
        self,
        system: str = "default",
        address: str | None = None,
        code: str | None = None,
        tolerate: int | None = None,
        driver: Driver | None = None,
        config: Config | str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._system = driver.system if driver is not None else system
        self._address = address
        self._code = code
        self._tolerate = tolerate
        self._config = (
            driver.config if driver is not None else Config.load(config) if isinstance(config, str) else config
        )
        self._connected = driver

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        text = fsspec.utils.stringify_path(path)
        for prefix in ("faultset://", "faultset::"):
            text = text.removeprefix(prefix)
        return text.strip("/")

    def __reduce__(self) -> Any:
        return _made, (self._system, self._address, self._code, self._tolerate, self._config)

    @property
    def fsid(self) -> str:
        """Which system this is."""
        return f"faultset-{self._system}"

    @property
    def driver(self) -> Driver:
        """The driver that is used; connected when it is first needed."""
        if self._connected is None:
            self._connected = connect(self._address, system=self._system, create=False, config=self._config)
        return self._connected

    # -- Looking

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        """What is in a directory, or the file of that name."""
        inside = self._strip_protocol(path)
        prefix = f"{inside}/" if inside else ""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for each in self._below(inside):
            step, below, _rest = each.name[len(prefix) :].partition("/")
            entry = _directory(prefix + step) if below else _file(each)
            found.setdefault((entry["name"], entry["type"]), entry)
        entries = [found[key] for key in sorted(found)]
        if not entries and inside:
            entries = [self._stat(inside)]
        return entries if detail else [entry["name"] for entry in entries]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size, generation, code and time of a file; or that it is a directory."""
        name = self._strip_protocol(path)
        if not name:
            return _directory("")
        try:
            return self._stat(name)
        except FileNotFoundError:
            if self._is_directory(name):
                return _directory(name)
            raise

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """All files below a directory, in one listing."""
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail)
        inside = self._strip_protocol(path)
        found = {each.name: _file(each) for each in self._below(inside)}
        if not found and inside and self.exists(inside):
            found[inside] = self._stat(inside)
        return found if detail else sorted(found)

    def created(self, path: str) -> datetime:
        """When the object was written."""
        return datetime.fromtimestamp(self._stat(self._strip_protocol(path))["created_ms"] / 1000, tz=UTC)

    def modified(self, path: str) -> datetime:
        """The same: an object is never changed, only replaced."""
        return self.created(path)

    def checksum(self, path: str) -> int:
        """Changes with every write of the name."""
        generation: int = self._stat(self._strip_protocol(path))["generation"]
        return generation

    def ukey(self, path: str) -> str:
        """The SHA-256 of the content, in hex."""
        digest: str = self._stat(self._strip_protocol(path))["sha256"]
        return digest

    # -- Reading

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a file, or of a range of it; negative places count from its end."""
        name = self._strip_protocol(path)
        with _as_files(name):
            if start is None and end is None:
                return self.driver.get(name)
            with self.driver.open(name) as file:
                low, high, _step = slice(start, end).indices(file.size)
                file.seek(low)
                return file.read(max(0, high - low))

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **options: Any) -> Any:
        """The bytes of files, by name where there may be several; with ``recursive`` of all below directories too."""
        if recursive:
            tops = self.expand_path(path)
            below = {name for top in tops for name in self.find(top)}
            path = sorted(below | {top for top in tops if self.isfile(top)})
        return super().cat(path, on_error=on_error, **options)

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **options: Any,
    ) -> Any:
        """A file, also of text or compressed; what is written becomes an object when it is closed without an error."""
        if "r" in mode:
            return super().open(path, mode, block_size, cache_options, compression, **options)
        text = {key: options.pop(key) for key in ("encoding", "errors", "newline") if key in options}
        binary = mode.replace("t", "").replace("b", "") + "b"
        autocommit = options.pop("autocommit", not self._intrans)
        file = written = self._open(path, binary, autocommit=autocommit)
        if not autocommit:
            self.transaction.files.append(written)
        packing = get_compression(path, compression)
        if packing is not None:
            file = PackedFile(compr[packing](written, mode=binary[0]), written)
        return file if "b" in mode else TextFile(file, **text)

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **_: Any) -> Any:
        name = self._strip_protocol(path)
        if mode == "rb":
            with _as_files(name):
                return self.driver.open(name)
        if mode in {"wb", "xb", "ab"}:
            _check_path(name)
        if mode in {"wb", "xb"}:
            return WrittenFile(lambda data: self._put(name, data, exclusive=mode == "xb"), autocommit)
        if mode == "ab":
            return self._appended(name, autocommit)
        raise ValueError(f"mode {mode!r}; expected rb, wb, xb or ab")

    def get_file(self, rpath: str, lpath: Any, callback: Callback = DEFAULT_CALLBACK, **options: Any) -> None:
        """Copy a file to a local one, in bounded memory; a directory is made."""
        if self.isdir(rpath):
            fsspec.filesystem("file").makedirs(lpath, exist_ok=True)
            return
        super().get_file(rpath, lpath, callback=callback, **options)

    # -- Writing

    def pipe_file(self, path: str, value: bytes, mode: Literal["overwrite", "create"] = "overwrite", **_: Any) -> None:
        """Write a file at once; with ``mode="create"`` only if there is none."""
        self._put(self._strip_protocol(path), value, exclusive=mode == "create")

    def put_file(
        self,
        lpath: str,
        rpath: str,
        callback: Callback = DEFAULT_CALLBACK,
        mode: Literal["overwrite", "create"] = "overwrite",
        **_: Any,
    ) -> None:
        """Copy a local file here; a directory needs nothing."""
        if fsspec.filesystem("file").isdir(lpath):
            return
        with open(lpath, "rb") as file:  # noqa: PTH123 - lpath may be anything that open takes
            self._put(self._strip_protocol(rpath), file, exclusive=mode == "create")
            callback.set_size(file.tell())
            callback.absolute_update(file.tell())

    def touch(self, path: str, truncate: bool = True, **_: Any) -> None:
        """Write an empty file.

        Raises
        ------
        NotImplementedError
            With ``truncate=False``, where there is a file: its time is that of its writing.
        """
        name = self._strip_protocol(path)
        try:
            self._put(name, b"", exclusive=not truncate)
        except FileExistsError:
            raise NotImplementedError(
                f"file {shown(name)} is there, and its time is when it was written; truncate=True writes an empty one"
            ) from None

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy an object to another name; a directory needs nothing."""
        if self.isdir(path1):
            return
        with self._open(path1) as file:
            self._put(self._strip_protocol(path2), file)

    def rm_file(self, path: str) -> None:
        """Delete an object; ``Driver.undelete`` brings it back for a day."""
        name = self._strip_protocol(path)
        with _as_files(name):
            self.driver.delete(name)

    def _rm(self, path: str) -> None:
        self.rm_file(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete objects; with ``recursive`` all that are below a directory."""
        for name in self.expand_path(path, recursive=recursive, maxdepth=maxdepth):
            if self.info(name)["type"] == "file":
                self.rm_file(name)
            elif not recursive:
                raise IsADirectoryError(name)

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Nothing: a directory is there when an object is in it."""

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: a directory is there when an object is in it."""

    def rmdir(self, path: str) -> None:
        """Nothing for an empty directory, which is not there; one with objects in it is refused."""
        if self._is_directory(self._strip_protocol(path)):
            raise OSError(f"{path!r} has objects in it; remove them with rm(recursive=True)")

    # -- Inside

    def _below(self, directory: str) -> list[ObjectInfo]:
        """The objects below a directory whose names are paths; of others the log tells."""
        listed = self.driver.list(f"{directory}/" if directory else "")
        found = [each for each in listed if _is_path(each.name)]
        if len(found) < len(listed):
            odd = next(each.name for each in listed if not _is_path(each.name))
            events.NAMES_NO_FILES.tell(count=len(listed) - len(found), example=odd)
        return found

    def _is_directory(self, name: str) -> bool:
        """Whether a file is below; asks for one name, and for all only where that is no path."""
        prefix = f"{name}/" if name else ""
        first = self.driver.list(prefix, limit=1)
        return bool(first) and (
            _is_path(first[0].name) or any(_is_path(each.name) for each in self.driver.list(prefix))
        )

    def _put(self, name: str, data: Any, *, exclusive: bool = False) -> None:
        _check_path(name)
        try:
            self.driver.put(name, data, code=self._code, tolerate=self._tolerate, if_absent=exclusive)
        except PreconditionFailed as error:
            raise FileExistsError(name) from error

    def _appended(self, name: str, autocommit: bool) -> WrittenFile:
        """A file that has what an object has, and takes its place unless another one has done so first."""
        try:
            before: dict[str, Any] = self._stat(name)
        except FileNotFoundError:
            before = {}

        def put(data: Any) -> None:
            held = {"if_generation": before["generation"]} if before else {"if_absent": True}
            self.driver.put(name, data, code=self._code, tolerate=self._tolerate, **held)

        written = WrittenFile(put, autocommit)
        if before:
            written.write(self.cat_file(name))
        return written

    def _stat(self, name: str) -> dict[str, Any]:
        with _as_files(name):
            return _file(self.driver.stat(name))


def _is_path(name: str) -> bool:
    """Whether a file can be called so: of steps that are not empty, with one / between them."""
    return all(name.split("/"))


def _check_path(name: str) -> None:
    if not _is_path(name):
        raise InputError(
            f"{shown(name)} has an empty step, so no directory would show it as a file; write it without, or put an "
            "object of that name with Driver.put"
        )


@contextmanager
def _as_files(name: str) -> Iterator[None]:
    """Give a missing object the name that file systems have for it."""
    try:
        yield
    except ObjectNotFound as error:
        raise FileNotFoundError(name) from error


def _made(
    system: str, address: str | None, code: str | None, tolerate: int | None, config: Config | None
) -> FaultsetFileSystem:
    return FaultsetFileSystem(system, address, code, tolerate, config=config)


def _directory(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}


def _file(info: ObjectInfo | ObjectStat) -> dict[str, Any]:
    return {
        "name": info.name,
        "size": info.size,
        "type": "file",
        "generation": info.generation,
        "spec": info.spec,
        "created_ms": info.created_ms,
        "sha256": info.sha256,
    }
