"""Boards without a notebook: parts, choices and answers as plain data."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from flip_lab.boards.board import Board, LiveBoard, ticket_of, told
from flip_lab.boards.comparer.board import ComparerBoard
from flip_lab.boards.fleet.board import FleetBoard
from flip_lab.boards.launcher.board import LauncherBoard
from flip_lab.boards.launcher.source import source_of
from flip_lab.boards.partitions.board import PartitionsBoard
from flip_lab.boards.run.board import RunBoard
from flip_lab.boards.scripts import BOARDS, script
from flip_lab.core.errors import EngineStartError, InvalidValueError
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir

MakeRun = Callable[..., Run]
Boards = dict[str, Board]
SCENARIO = "digits-dirichlet"


@pytest.fixture
def lab(lab_dir: LabDir, make_run: MakeRun) -> Lab:
    """Give a lab with two runs."""
    for name in ("run-a", "run-b"):
        make_run(name)
    return Lab(lab_dir.root)


def _starts(_call: object) -> Run:
    raise EngineStartError("No room.", fix="Wait.")


@pytest.fixture
def boards(lab: Lab) -> Boards:
    """Give a board of each kind."""
    followed = RunBoard(lab.run("run-a"), interval_s=1.0)
    followed.poll()
    return {
        "run": followed,
        "comparer": ComparerBoard(lab),
        "launcher": LauncherBoard(source_of(SCENARIO), start=_starts),
        "partitions": PartitionsBoard(SCENARIO),
        "fleet": FleetBoard(lab),
    }


def test_every_board_gives_the_parts_that_its_page_asks_for(boards: Boards) -> None:
    """And all of them travel: JSON without NaN, or bytes."""
    assert boards.keys() == set(BOARDS)
    own = {"run": {"can_steer", "key"}, "launcher": {"key"}}
    for name, board in boards.items():
        parts = board.parts()
        wanted = set(_asked_for(script(name)))
        assert wanted <= parts.keys() | own.get(name, set()), name
        for part in parts.values():
            assert isinstance(part, bytes) or json.dumps(part, allow_nan=False)


def _asked_for(text: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split('model.get("')[1:]]


def test_a_board_that_is_left_alone_stays_the_very_same(boards: Boards) -> None:
    """So that nothing has to be written or sent twice; a run's parts are equal."""
    for name, board in boards.items():
        once, again = board.parts(), board.parts()
        assert once == again
        if not isinstance(board, LiveBoard):
            assert all(once[part] is again[part] for part in once), name


def test_only_a_run_lives_and_only_two_boards_do_something(boards: Boards) -> None:
    """What is asked for tells whether it would change more than the picture."""
    assert [name for name, each in boards.items() if isinstance(each, LiveBoard)] == ["run"]
    deeds = ({"command": "pause"}, {"ask": "launch"}, {"ask": "draw"}, {"cells": [0]})
    found = {name: [each.is_deed(deed) for deed in deeds] for name, each in boards.items()}
    nothing = [False] * 4
    assert found == {
        "run": [True, False, False, False],
        "launcher": [False, True, False, False],
        **dict.fromkeys(("comparer", "partitions", "fleet"), nothing),
    }


def test_an_answer_names_its_question(boards: Boards) -> None:
    """Also of one that means nothing; a part of a question that is missing is left out."""
    for board in boards.values():
        answer = board.answer({"ask": "tea", "ticket": "t-1"})
        assert (answer["ask"], answer["ticket"]) == ("tea", "t-1")
    assert ticket_of({"command": "pause"}) == {}


def test_a_refusal_is_told_and_never_raised(boards: Boards, lab: Lab) -> None:
    """Coded errors with their fix; of others the kind."""
    wrong: dict[str, dict[str, Any]] = {
        "run": {"command": "pause"},
        "comparer": {"ask": "run", "run": "nobody"},
        "fleet": {"ask": "node", "node": "p1; DROP"},
        "launcher": {"ask": "launch", "press": "p"},
    }
    codes = {name: boards[name].answer(ask)["error"]["code"] for name, ask in wrong.items()}
    assert lab.run("run-a").state is RunState.COMPLETED
    assert codes == {
        "run": "FLIP-310",
        "comparer": "FLIP-301",
        "fleet": InvalidValueError.code,
        "launcher": EngineStartError.code,
    }
    assert told(OSError("disk gone")) == {
        "code": "",
        "what": "OSError: disk gone",
        "fix": "",
    }


def test_a_choice_changes_what_hangs_on_it_and_nothing_else(boards: Boards) -> None:
    """The same choice again changes nothing."""
    comparer = boards["comparer"]
    before = comparer.parts()
    settings = {**before["settings"], "draw": "lines"}
    assert comparer.change({"settings": settings}).keys() == {"settings", "picture"}
    assert comparer.change({"settings": settings, "chosen": before["chosen"]}) == {}
    assert comparer.parts()["catalogue"] is before["catalogue"]


def test_what_cannot_be_drawn_leaves_the_picture_and_says_why(boards: Boards) -> None:
    """And the way back is open."""
    board = boards["partitions"]
    good = board.parts()["settings"]
    bad = board.change({"settings": {**good, "num_partitions": 0}})["picture"]
    assert bad["error"]["code"].startswith("FLIP-")
    again = board.change({"settings": {**good, "num_partitions": 5}})["picture"]
    assert again["error"] is None


def test_a_page_chooses_among_what_it_is_offered(boards: Boards) -> None:
    """A form's page names no file of its own; its first source stays open to it."""
    launcher = boards["launcher"]
    for what, code in (("/etc/passwd", "FLIP-101"), ("hospitals", None), (SCENARIO, None)):
        answer = launcher.answer({"ask": "choose", "what": what})
        assert answer.get("error", {}).get("code") == code
    assert launcher.parts()["form"]["what"] == SCENARIO


def test_boards_need_no_notebook() -> None:
    """The API loads them in a server without ipywidgets."""
    names = ["comparer", "fleet", "launcher", "partitions", "run"]
    load = "".join(f"import flip_lab.boards.{name}.board\n" for name in names)
    check = "assert not {'ipywidgets', 'anywidget', 'IPython'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys\n{load}{check}"], check=True)
