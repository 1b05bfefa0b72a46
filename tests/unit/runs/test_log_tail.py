"""The end of a log is read from its end, however long the log is."""

from __future__ import annotations

from pathlib import Path

import pytest

from flip_lab.runs.run_facts import _last_lines


@pytest.mark.parametrize("count", [0, 1, 3, 200, 5_000])
@pytest.mark.parametrize("lines", [0, 1, 199, 4_000])
def test_the_last_lines_are_those_of_the_whole_file(
    tmp_path: Path, lines: int, count: int
) -> None:
    """Also where a line or a letter of several bytes lies across two blocks."""
    file = tmp_path / "output.log"
    text = "".join(f"{at} {'é' * (at % 90)}\n" for at in range(lines))
    file.write_text(text, encoding="utf-8")
    expected = text.splitlines()[-count:] if count else []
    assert _last_lines(file, count) == expected
