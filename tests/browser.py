"""A headless Chromium that tests can drive: real keys, real colours, no library (the protocol's pipe)."""

import itertools
import json
import os
import select
import shutil
import subprocess
from contextlib import contextmanager

PATIENCE = 60  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium():
    """Returns the path of a Chromium, None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One page of a running browser."""

    def __init__(self, to_browser, from_browser):
        self._out, self._in = to_browser, from_browser
        self._ids, self._rest, self._session = itertools.count(1), b"", None
        self.problems = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Calls a method of the protocol and returns its result; what goes wrong on the page meanwhile is kept."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            got = self._next()
            if got.get("id") == number:
                assert "error" not in got, got
                return got["result"]
            self._note(got)

    def open(self, path):
        """Loads a file and waits for it."""
        self.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        while True:
            got = self._next()
            if got.get("method") == "Page.loadEventFired":
                return
            self._note(got)

    def value(self, script):
        """Returns what a script evaluates to."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def press(self, key, code=0):
        """Presses a key and lets it go."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            more = text if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def _next(self):
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], PATIENCE)[0], "the browser does not answer"
            read = os.read(self._in, 1 << 16)
            assert read, "the browser has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        method, params = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"]["exception"].get("description"))
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(params["entry"]["text"])
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.problems.append(params["request"]["url"])


@contextmanager
def browser(folder):
    """Starts a browser with its profile in a folder and yields a page."""
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe --no-first-run"
    command = f'exec "$0" {flags} --user-data-dir="$1" 3<&{to_read} 4>&{back_write}'
    running = subprocess.Popen(
        ["bash", "-c", command, chromium(), str(folder)],
        pass_fds=(to_read, back_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(back_write)
    try:
        yield Page(to_write, back_read)
    finally:
        os.close(to_write)
        os.close(back_read)
        running.terminate()
        running.wait()
