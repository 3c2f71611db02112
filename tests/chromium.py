"""A browser that a test drives: chromium's DevTools protocol."""

import base64
import json
import subprocess
import time
import urllib.request
from contextlib import contextmanager


class Page:
    """One page of a running browser."""

    def __init__(self, address):
        import websocket

        self._socket, self._number = websocket.create_connection(address, timeout=120), 0

    def _call(self, method, **params):
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv())).get("id") != self._number:
            pass
        return answer["result"]

    def open(self, url):
        self._call("Page.navigate", url=url)

    def evaluate(self, expression):
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text_with(self, *wanted):
        """Wait until the visible text holds each of `wanted`, five minutes at most; return it."""
        for _ in range(600):
            text = self.evaluate("document.body ? document.body.innerText : ''") or ""
            missing = [words for words in wanted if words not in text]
            if not missing:
                return text
            time.sleep(0.5)
        raise AssertionError(f"the page does not show {missing}, but:\n{text}")

    def resize(self, width, height, phone=False, scale=1):
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        self._call("Emulation.setDeviceMetricsOverride", **size, mobile=phone)

    def mouse(self, kind, x, y):
        """Send a mouseMoved, mousePressed or mouseReleased at a point of the window."""
        button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def press(self, *keys):
        """Press keys, such as ``k`` or ``ArrowDown``, one after the other."""
        for key in keys:
            text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            self._call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            self._call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def downloads_to(self, folder):
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def wait_for(self, expression):
        """Return whether `expression` becomes true within a minute."""
        for _ in range(600):
            if self.evaluate(expression):
                return True
            time.sleep(0.1)
        return False

    def screenshot(self, path, whole=False):
        """Take a picture of the window, or of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **_clip(self, whole))
        path.write_bytes(base64.b64decode(picture["data"]))


def _clip(page, whole):
    if not whole:
        return {}
    width, height = page.evaluate("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
    return {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}


@contextmanager
def browser(folder):
    """Give a page of a fresh browser, whose profile is in `folder`."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1500,900"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command += ["--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        note = folder / "DevToolsActivePort"
        for _ in range(600):
            if note.is_file() and len(note.read_text().split()) == 2:
                break
            time.sleep(0.1)
        port = note.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=60) as answer:
            (page,) = [tab for tab in json.load(answer) if tab["type"] == "page"]
        yield Page(page["webSocketDebuggerUrl"])
    finally:
        process.terminate()
        process.wait()
