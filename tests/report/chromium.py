"""A headless Chromium, spoken to through a pipe (Chrome DevTools Protocol): no package beside the browser is needed."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--mute-audio",
    "--remote-debugging-pipe",
)
LAUNCH = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3])
os.dup2(read, 3), os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from file 3 and answers in file 4."""

SECONDS = 60.0


def browser() -> str | None:
    """`PLAIT_BROWSER`, or a Chromium on the PATH."""
    return os.environ.get("PLAIT_BROWSER") or next(filter(None, map(shutil.which, PROGRAMS)), None)


class Chromium:
    """One browser with one page; `asked` are the addresses that were requested, `said` the errors and warnings of its console."""

    def __init__(self, program: str, profile: Path) -> None:
        (read, far_write), (far_read, write) = os.pipe(), os.pipe()
        words = [sys.executable, "-c", LAUNCH, str(far_read), str(far_write), program, *QUIET]
        self.process = subprocess.Popen(
            [*words, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(far_read, far_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(far_read)
        os.close(far_write)
        self.read, self.write, self.rest, self.number = read, write, b"", 0
        self.asked: list[str] = []
        self.said: list[str] = []
        self.events: list[str] = []
        self.session: str | None = None
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        self("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def next(self) -> dict[str, Any]:
        """The next message; events are noted."""
        until = time.monotonic() + SECONDS
        while b"\0" not in self.rest:
            left = until - time.monotonic()
            assert left > 0, "the browser does not answer"
            assert select.select([self.read], [], [], left)[0], "the browser does not answer"
            part = os.read(self.read, 2**20)
            assert part, "the browser is gone"
            self.rest += part
        raw, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(raw)
        params, name = message.get("params", {}), message.get("method", "")
        self.events.append(name)
        if name == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.asked.append(params["request"]["url"])
        if name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.said.append(str(params["args"]))
        if name == "Runtime.exceptionThrown":
            self.said.append(str(params["exceptionDetails"]))
        if name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.said.append(params["entry"]["text"])
        return message

    def open(self, page: Path, *, width: int, dark: bool = False) -> None:
        """A page at a width, in the light or the dark, loaded."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self("Page.navigate", url=page.as_uri())
        while "Page.loadEventFired" not in self.events:
            self.next()

    def ask(self, script: str) -> Any:
        """What a script in the page gives back."""
        answer = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(self("Page.printToPDF", preferCSSPageSize=True)["data"])

    def close(self) -> None:
        """End the browser."""
        self.process.kill()
        self.process.wait()
        os.close(self.read)
        os.close(self.write)
