"""Printing: a browser is found or named as missing, and what it says is passed on."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flip_lab.core.errors import MissingExtraError, ViewError
from flip_lab.runs import report_pdf
from flip_lab.runs.report_pdf import find_browser, print_pdf


def program(path: Path, script: str) -> Path:
    """Write a shell script that plays the browser."""
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def plays_browser(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Let a script be the browser that is found."""
    monkeypatch.setenv("BROWSER_PATH", str(program(folder / "browser", script)))


TARGET = (
    'for word in "$@"; do case "$word" in --print-to-pdf=*) out="${word#*=}";; '
    'file://*) page="${word#file://}";; esac; done'
)


def test_a_named_browser_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BROWSER_PATH is the word of the user."""
    plays_browser(monkeypatch, tmp_path, "exit 0")
    assert find_browser() == str(tmp_path / "browser")


def test_a_browser_on_the_search_path_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A variable that names nothing that runs is no obstacle."""
    program(tmp_path / "google-chrome", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "gone"))
    assert find_browser() == str(tmp_path / "google-chrome")


def test_no_browser_is_an_error_with_three_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Install one, name one, or print the HTML by hand."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setattr(report_pdf, "_ELSEWHERE", ())
    monkeypatch.setattr(report_pdf, "_kaleidos_own", lambda: None)
    with pytest.raises(MissingExtraError, match=r"apt-get.*BROWSER_PATH.*\.html"):
        find_browser()


def test_the_page_is_printed_by_the_browser(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It gets the page as a file and its answer is the PDF; nothing is left behind."""
    plays_browser(
        monkeypatch, tmp_path, f'{TARGET}; printf "%%PDF " > "$out"; cat "$page" >> "$out"'
    )
    assert print_pdf("<p>é %%EOF") == "%PDF <p>é %%EOF".encode()


@pytest.mark.parametrize(
    "script",
    [
        "echo no display >&2; exit 1",
        f'{TARGET}; printf "%%PDF cut" > "$out"; echo no display >&2',
    ],
)
def test_a_browser_that_fails_is_quoted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    """No file, or half of one: the error holds the browser's last words."""
    plays_browser(monkeypatch, tmp_path, script)
    with pytest.raises(ViewError, match="did not print") as caught:
        print_pdf("<p>")
    assert "no display" in caught.value.detail


def test_a_browser_that_hangs_is_stopped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The time limit is said."""
    plays_browser(monkeypatch, tmp_path, "exec sleep 60")
    monkeypatch.setattr(report_pdf, "_TIMEOUT_S", 0.2)
    with pytest.raises(ViewError) as caught:
        print_pdf("<p>")
    assert "stopped after" in caught.value.detail
