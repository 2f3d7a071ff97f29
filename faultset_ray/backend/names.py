"""Addresses of hosts, looked up in threads that nobody has to wait for.

``getaddrinfo`` can't be given up: where no name server answers, it comes back after half a minute. asyncio looks
names up in a pool of few threads, which it joins at its end; so one slow name would hold up all the others.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from concurrent.futures import Future
from typing import Final

LOOKUPS_MAX: Final = 128
"""How many names are looked up at once."""


class Names:
    """Looks names up, each in a daemon thread of its own, which ends when the name servers have answered.

    A name that is being looked up already is not looked up again: who asks waits for that answer. Names that took
    longer than somebody was ready to wait get half of the threads at most, so that others always find some.
    """

    def __init__(self, lookups_max: int = LOOKUPS_MAX) -> None:
        self._lookups_max = lookups_max
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[list[str]]] = {}
        self._slow: set[str] = set()

    async def addresses(self, host: str) -> list[str]:
        """Return the numeric addresses of a host, in the order of ``getaddrinfo``; a numeric one is its own.

        Who does not want to wait any longer cancels this.

        Raises
        ------
        OSError
            The host has none, or so many names are being looked up that there is no room for this one.
        """
        if _is_numeric(host):
            return [host]
        try:
            return await asyncio.wrap_future(self._ask(host))
        finally:
            with self._lock:
                if host in self._under_way:
                    self._slow.add(host)
                else:
                    self._slow.discard(host)

    def _ask(self, host: str) -> Future[list[str]]:
        """What a thread will know; it can't be cancelled, since others may wait for it too."""
        with self._lock:
            if host in self._under_way:
                return self._under_way[host]
            if host in self._slow:
                used, room = len(self._slow & self._under_way.keys()), self._lookups_max // 2
            else:
                used, room = len(self._under_way), self._lookups_max
            if used >= room:
                raise OSError(f"{host} is not looked up: {used} names of {room} at most are looked up just now")
            future: Future[list[str]] = Future()
            future.set_running_or_notify_cancel()
            thread = threading.Thread(target=self._look_up, args=(host, future), name=f"lookup-{host}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(f"{host} is not looked up: {error}") from error
            self._under_way[host] = future
        return future

    def _look_up(self, host: str, future: Future[list[str]]) -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name server could know
            self._answer(host)
            future.set_exception(error if isinstance(error, OSError) else OSError(f"{host} is no host name: {error}"))
        else:
            self._answer(host)
            future.set_result([str(address[0]) for *_, address in found])

    def _answer(self, host: str) -> None:
        with self._lock:
            del self._under_way[host]


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
