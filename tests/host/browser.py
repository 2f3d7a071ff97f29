"""A page in headless Chromium, by the protocol of its developer tools: what it asks for, says and shows."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager

from host.conftest import CHROMIUM
from websockets.sync.client import connect

SECONDS = 60.0


@contextmanager
def browser(profile):
    """The address of a browser's developer tools, for as long as the block lasts."""
    program = next(found for name in CHROMIUM if (found := shutil.which(name)))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0"]
    command = [program, *flags, "--remote-allow-origins=*", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file, ends = profile / "DevToolsActivePort", time.monotonic() + SECONDS
        while not port_file.exists() or len(port_file.read_text().split()) < 2:
            assert process.poll() is None, f"the browser ended with {process.returncode}"
            assert time.monotonic() < ends, "the browser did not come up"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port_file.read_text().split()[0]}"
    finally:
        process.terminate()
        process.wait(SECONDS)


@contextmanager
def tab(address):
    """A new tab, as a :class:`Page`."""
    ask = urllib.request.Request(f"{address}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(ask, timeout=SECONDS) as answer:
        tools = json.load(answer)["webSocketDebuggerUrl"]
    with connect(tools, max_size=None, open_timeout=SECONDS) as socket:
        yield Page(socket)


class Page:
    """One tab, which notes every request, and everything that is logged or thrown."""

    def __init__(self, socket):
        self._socket = socket
        self._asked = 0
        self._events = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        self._asked += 1
        self._socket.send(json.dumps({"id": self._asked, "method": method, "params": parameters}))
        while True:
            told = json.loads(self._socket.recv(SECONDS))
            if told.get("id") == self._asked:
                assert "error" not in told, told
                return told["result"]
            self._events.append(told)

    def open(self, address):
        self.send("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._events.append(json.loads(self._socket.recv(SECONDS)))

    def run(self, script):
        """The value of an expression in the page."""
        told = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def prefer(self, scheme):
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def size(self, width, height):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def point(self, x, y, kind="mouseMoved", **more):
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x, y):
        self.point(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.point(x, y, kind, button="left", clickCount=1)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def of(self, method):
        """What was told of a kind of event."""
        self.run("0")  # what came before is here now
        return [event["params"] for event in self._events if event["method"] == method]

    def requests(self):
        return [event["request"]["url"] for event in self.of("Network.requestWillBeSent")]

    def complaints(self):
        """Errors, and all that was logged."""
        logged = [event["entry"]["text"] for event in self.of("Log.entryAdded")]
        return logged + self.of("Runtime.consoleAPICalled") + self.of("Runtime.exceptionThrown")
