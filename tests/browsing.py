"""A headless browser for tests: opens a page of this machine, moves the mouse, and says what the page complained of and what it asked for."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0  # seconds
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--window-size=1100,1400", "--remote-debugging-port=0",
)  # fmt: skip


class Tab:
    """A page that is open. complaints: errors and warnings of its console. asked: addresses that it wanted."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.complaints: list[str] = []
        self.asked: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol, and its answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=PATIENCE))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._hear(message)

    def _hear(self, message: Any) -> None:
        kind, found = message["method"], message["params"]
        if kind == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(found["exceptionDetails"])[:500])
        elif kind == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(found["args"])[:500])
        elif kind == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{found['entry']['text']} {found['entry'].get('url', '')}")
        elif kind == "Network.requestWillBeSent":
            self.asked.append(found["request"]["url"])

    def evaluate(self, expression: str) -> Any:
        """A value of the page's."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits until something is true of the page."""
        last = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < last, f"never: {expression}; {self.complaints}"
            time.sleep(0.1)

    def drag(self, begin: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """From one place of the window to another, with the left button down."""
        for kind, share in [
            ("mouseMoved", 0.0),
            ("mousePressed", 0.0),
            *(("mouseMoved", i / steps) for i in range(1, steps + 1)),
            ("mouseReleased", 1.0),
        ]:
            x, y = (a + (b - a) * share for a, b in zip(begin, end, strict=True))
            held = {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" or share else {}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)


@contextmanager
def opened(page: Path, profile: Path) -> Iterator[Tab]:
    """The page in a browser of its own. Skips where there is none."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no browser: install one (apt install chromium)")
    client = pytest.importorskip("websockets.sync.client")
    process = subprocess.Popen(
        [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        port = _port(profile / "DevToolsActivePort", process)
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        with client.connect(tabs[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            tab = Tab(socket)
            tab.call("Page.navigate", url=page.as_uri())
            tab.until("document.readyState === 'complete'")
            yield tab
    finally:
        process.kill()
        process.wait()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    last = time.monotonic() + PATIENCE
    while time.monotonic() < last and process.poll() is None:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    pytest.skip("the browser doesn't start here")
