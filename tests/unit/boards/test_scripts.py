"""What a page loads for a board: small, whole, and about boards only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flip_lab.boards.scripts import BOARDS, STATIC, script, style

SVG = "http://www.w3.org/2000/svg"


@pytest.mark.parametrize("board", BOARDS)
def test_a_board_is_small_and_needs_no_network(board: str) -> None:
    """It travels with each widget: under 75 KB with its style, and no other host."""
    text = script(board) + style(board)
    assert len(text.encode()) < 75_000
    assert "http" not in text.replace(SVG, "")
    assert not re.search(r"innerHTML|@import|url\((?!#)|^import ", text, re.MULTILINE)
    assert script(board).count("export default") == 1


def test_all_of_them_leave_room_for_the_extension() -> None:
    """The page of JupyterLab loads at most 250 KB of scripts."""
    assert sum(len(script(board).encode()) for board in BOARDS) < 180_000


@pytest.mark.parametrize("board", BOARDS)
def test_a_style_is_about_boards_only(board: str) -> None:
    """In JupyterLab it stands beside everything else: each rule names a board."""
    flat, depth = "", 0
    for sign in style(board):
        flat += sign if depth == 0 else ""
        depth += {"{": 1, "}": -1}.get(sign, 0)
    assert depth == 0
    outer = [each.strip(" }\n") for each in flat.split("{")]
    assert all("flip-" in each for each in outer if each)


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.js")), ids=lambda file: file.name)
def test_no_text_goes_over_the_end_of_a_line(file: Path) -> None:
    """So that lines can be stripped; ends of remarks and regular expressions aside."""
    for line in file.read_text(encoding="utf-8").splitlines():
        code = re.sub(r"(^|\s)//.*$|\"[^\"]*\"", "", line)
        assert code.count("`") % 2 == 0, line


def test_every_file_belongs_to_a_board() -> None:
    """Nothing is shipped that no page loads; what pages share is written once."""
    shipped = "".join(map(script, BOARDS)) + "".join(map(style, BOARDS))
    for file in STATIC.iterdir():
        last = file.read_text(encoding="utf-8").rstrip().splitlines()[-2].strip()
        assert last in shipped, file.name
