"""Print a page to PDF with the Chrome or Chromium of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from flip_lab.core.errors import MissingExtraError, ViewError

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
_ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_TIMEOUT_S = 180
_DRAWING_MS = 60_000  # of the page's own clock: it stands still while the page works
_LAST_WORDS = 2000


def find_browser() -> str:
    """Find a browser that can print.

    Looked for: what the variable ``BROWSER_PATH`` names, the usual names on the search
    path, and what kaleido keeps for itself where that is installed.

    Returns:
        Path of its program.

    Raises:
        MissingExtraError: If there is none.
    """
    named = os.environ.get("BROWSER_PATH")
    candidates = [
        *([shutil.which(named)] if named else []),
        *map(shutil.which, _NAMES),
        *map(shutil.which, _ELSEWHERE),
    ]
    for found in candidates:
        if found:
            return found
    if (kept := _kaleidos_own()) is not None:
        return kept
    raise MissingExtraError(
        "A PDF is printed by Chrome or Chromium, and this machine has neither.",
        fix="Install one (Debian: apt-get install chromium), name it in BROWSER_PATH, or "
        "write the report as .html and print that from any browser.",
    )


def _kaleidos_own() -> str | None:
    """Ask choreographer, which kaleido downloads a Chrome with, whether it has one."""
    try:
        browsers = import_module("choreographer.browsers.chromium")
        found = browsers.Chromium.find_browser(skip_local=False)
    except (AttributeError, ImportError, TypeError):
        return None
    return str(found) if found and Path(str(found)).exists() else None


def print_pdf(page: str) -> bytes:
    """Print an HTML page.

    Args:
        page: The whole page; it needs nothing from the network and is given none.

    Returns:
        The PDF.

    Raises:
        MissingExtraError: If no browser is found.
        ViewError: If the browser fails, or takes longer than three minutes.
    """
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="flip-report-") as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(page, encoding="utf-8")
        said = _run(_command(browser, source, target))
        if not target.exists() or not _is_whole(content := target.read_bytes()):
            raise ViewError(
                f"{browser} did not print the report.",
                fix="Write the report as .html and print that from a browser.",
                detail=said[-_LAST_WORDS:],
            )
        return content


def _is_whole(content: bytes) -> bool:
    return content.startswith(b"%PDF") and b"%%EOF" in content[-64:]


def _command(browser: str, source: Path, target: Path) -> list[str]:
    # Chrome's sandbox refuses to start for root, as in most containers.
    as_root = sys.platform != "win32" and os.geteuid() == 0
    return [
        browser,
        "--headless=new",
        *(["--no-sandbox"] if as_root else []),
        "--disable-gpu",
        "--disable-extensions",
        "--disable-background-networking",
        "--no-first-run",
        "--no-default-browser-check",
        "--no-pdf-header-footer",
        f"--user-data-dir={source.parent / 'profile'}",
        f"--virtual-time-budget={_DRAWING_MS}",
        f"--print-to-pdf={target}",
        source.as_uri(),
    ]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # a browser that was found, no shell
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"It was stopped after {_TIMEOUT_S} s."
    except OSError as error:
        return str(error)
    return done.stderr
