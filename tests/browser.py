"""Opening a page in a real browser."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser on this machine")


def open_in_browser(text: str, folder: Path) -> subprocess.CompletedProcess:
    """Return the page as the browser understands it (stdout) and its complaints (stderr); writes into `folder`."""
    (folder / "page.html").write_text(text, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += ["--disable-quic", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}"]
    command += ["--dump-dom", (folder / "page.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def shown_without_complaint(text: str, folder: Path) -> str:
    """Return the page as the browser understands it, and assert that it complains of nothing."""
    done = open_in_browser(text, folder)
    assert "CONSOLE" not in done.stderr
    return done.stdout
