"""The launcher without a browser: what it answers, launches and shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from comm import get_comm_manager

import flip_lab
from flip_lab import Lab, Launcher
from flip_lab.boards.launcher import board as module
from flip_lab.core.errors import EngineStartError, InvalidValueError, UnknownNameError
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir
from flip_lab.widgets.line import TARGET
from flip_lab.widgets.monitor import RunMonitor

MakeRun = Callable[..., Run]
NAME = "digits-dirichlet"
APP = Path(__file__).parents[2] / "integration" / "apps" / "stateful"


class Desk:
    """A lab that launches what has run already."""

    def __init__(self, make_run: MakeRun) -> None:
        """Begin without a run."""
        self._make = make_run
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def launch(self, what: str, **arguments: Any) -> Run:  # noqa: ANN401  # any argument
        """Keep what is asked for, and give a run."""
        self.asked.append((what, arguments))
        return self._make(f"run-{len(self.asked)}")


@pytest.fixture
def desk(make_run: MakeRun) -> Desk:
    """Give a lab in which nothing is started."""
    return Desk(make_run)


def ask(launcher: Launcher, **wish: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
    """Ask as the browser does; give the answer as it travels."""
    told = json.dumps(launcher.form.answer({**wish, "ticket": 7}), allow_nan=False)
    answer = json.loads(told)
    assert answer.pop("ticket") == 7
    assert answer.pop("ask", None) == wish.get("ask")
    return answer


def verdict(launcher: Launcher) -> dict[str, Any]:
    """Give what Python says of the form, as it travels."""
    return json.loads(json.dumps(launcher.form.verdict, allow_nan=False))


def test_it_begins_with_the_first_scenario_as_it_is(desk: Desk) -> None:
    """Nothing differs, nothing is wrong, nothing was started."""
    launcher = Launcher(desk)
    assert launcher.python == f'lab.launch("{flip_lab.scenario_names()[0]}")'
    assert launcher.run is None
    assert launcher.runs == []
    assert launcher.children == (launcher.form,)
    told = verdict(launcher)
    assert (told["changes"], told["problems"], told["edits"]) == ([], {}, {})
    assert not desk.asked
    launcher.close()


def test_typing_is_answered_with_a_small_verdict(desk: Desk) -> None:
    """The description of the fields does not travel again unless a name changes."""
    launcher = Launcher(desk, NAME)
    before = launcher.form.form
    assert ask(launcher, ask="change", edits={"train.batch_size": "0"}, by="view") == {}
    told = verdict(launcher)
    assert told["problems"]["train.batch_size"]["fix"] == "Set it to a whole number ≥ 1."
    assert told["changes"] == ["train.batch_size"]
    assert told["by"] == "view"
    assert launcher.form.form == before
    assert len(json.dumps(told)) < 4_000
    ask(launcher, ask="change", edits={"strategy.name": "FedProx"})
    assert launcher.form.form != before
    assert len(json.dumps(launcher.form.form)) < 16_000
    launcher.close()


def test_the_button_launches_what_stands_in_the_form(desk: Desk) -> None:
    """Once for a press; the monitor of the newest run stands below."""
    launcher = Launcher(desk, NAME)
    edits = {"train.learning_rate": "0.1", "on": "processes", "tags": "a, b"}
    assert ask(launcher, ask="launch", edits=edits, press="p1") == {"run": "run-1"}
    assert ask(launcher, ask="launch", edits=edits, press="p1") == {}
    wanted = {
        "on": "processes",
        "overrides": {"train.learning_rate": 0.1},
        "tags": ["a", "b"],
    }
    assert desk.asked == [(NAME, wanted)]
    assert launcher.run is not None
    assert launcher.run.run_id == "run-1"
    form, monitor = launcher.children
    assert form is launcher.form
    assert isinstance(monitor, RunMonitor)
    assert ask(launcher, ask="launch", edits=edits, press="p2") == {"run": "run-2"}
    assert launcher.form.launched == ["run-2", "run-1"]
    assert [run.run_id for run in launcher.runs] == ["run-1", "run-2"]
    assert launcher.form.shown == "run-2"
    launcher.close()


def test_a_press_on_the_line_is_the_cell_s_that_made_the_form(desk: Desk) -> None:
    """The subshell that brought the press may be gone when its monitor still sends."""
    where = ContextVar("where", default="nowhere")
    where.set("in the cell")
    launcher = Launcher(desk, NAME)
    where.set("in a subshell")
    seen: list[str] = []
    launcher.observe(lambda _change: seen.append(where.get()), "children")
    sent: list[dict[str, Any]] = []
    heard: list[Callable[[dict[str, Any]], None]] = []
    line = SimpleNamespace(on_msg=heard.append, send=sent.append)
    opened: Callable[..., None] = get_comm_manager().targets[TARGET]
    opened(line, {"content": {"data": {"key": launcher.form.key}}})
    asked = {"ask": "launch", "ticket": 7}
    heard[0]({"content": {"data": {**asked, "edits": {}, "press": "a-1"}}})
    assert launcher.run is not None
    assert sent == [{"ready": True}, {**asked, "run": launcher.run.run_id}]
    assert seen == ["in the cell"]
    launcher.close()


def test_an_earlier_run_can_be_shown_again(desk: Desk) -> None:
    """Its monitor takes the place of the other one; an unknown id changes nothing."""
    launcher = Launcher(desk, NAME)
    launcher.launch()
    launcher.launch()
    ask(launcher, ask="show", run="run-1")
    assert "run-1" in repr(launcher.children[1])
    shown = launcher.children[1]
    ask(launcher, ask="show", run="run-9")
    assert launcher.children[1] is shown
    assert launcher.form.shown == "run-1"
    launcher.close()


def test_nothing_is_launched_while_a_value_is_wrong(desk: Desk) -> None:
    """Neither by the button nor from Python."""
    launcher = Launcher(desk, NAME)
    edits = {"train.learning_rate": "-1"}
    assert ask(launcher, ask="launch", edits=edits, press="p1") == {"refused": True}
    with pytest.raises(InvalidValueError, match=r"train\.learning_rate is -1\.0"):
        launcher.launch()
    assert not desk.asked
    launcher.close()


def test_a_launch_that_fails_is_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page never waits for ever, whatever the lab raises."""
    launcher = Launcher(desk, NAME)
    raised: list[Exception] = [
        EngineStartError("No memory.", fix="Free some."),
        OSError("disk full"),
    ]

    def launch(*_what: str, **_arguments: object) -> Run:
        raise raised.pop(0)

    monkeypatch.setattr(desk, "launch", launch)
    answer = ask(launcher, ask="launch", edits={}, press="p1")
    assert answer["error"] == {
        "code": "FLIP-501",
        "what": "No memory.",
        "fix": "Free some.",
    }
    answer = ask(launcher, ask="launch", edits={}, press="p2")
    assert answer["error"]["what"] == "OSError: disk full"
    assert launcher.run is None
    launcher.close()


def test_another_scenario_is_chosen_by_message(desk: Desk) -> None:
    """What says where stays; a name that is none leaves the form as it was."""
    launcher = Launcher(desk, NAME)
    edits = {"train.learning_rate": "0.1", "on": "ray"}
    assert ask(launcher, ask="choose", what="hospitals", edits=edits) == {}
    assert launcher.python == 'lab.launch("hospitals", on="ray")'
    answer = ask(launcher, ask="choose", what="hospital", edits={})
    assert answer["error"]["code"] == "FLIP-101"
    assert launcher.form.draft.source.what == "hospitals"
    launcher.close()


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"ask": "tea"},
        {"ask": "change"},
        {"ask": "change", "edits": [1]},
        {"ask": "change", "edits": {"train.batch_size": 3, "seed": None, "x": ["y"]}},
    ],
)
def test_odd_messages_do_no_harm(desk: Desk, wish: dict[str, Any]) -> None:
    """Whatever comes from a page, the form stands."""
    launcher = Launcher(desk, NAME)
    assert ask(launcher, **wish) == {}
    assert launcher.python == f'lab.launch("{NAME}")'
    launcher.close()


def test_an_app_directory_is_launched_like_a_scenario(desk: Desk) -> None:
    """Its configuration makes the fields."""
    launcher = Launcher(desk, APP)
    launcher.change({"config.learning-rate": 0.2, "num_nodes": 3})
    launcher.launch()
    overrides = {"learning-rate": 0.2}
    assert desk.asked == [(str(APP), {"num_nodes": 3, "overrides": overrides})]
    launcher.close()


def test_the_same_form_always_reads_the_same(desk: Desk) -> None:
    """As text, and as a page without scripts; what is typed is escaped."""
    texts: list[str] = []
    for _ in range(2):
        launcher = Launcher(desk, NAME)
        launcher.change({"train.learning_rate": 0.1, "note": "<b>x</b>", "on": "rey"})
        bundle = launcher._repr_mimebundle_()
        assert bundle["text/plain"] == repr(launcher)
        texts += [repr(launcher), bundle["text/html"]]
        launcher.close()
    assert texts[:2] == texts[2:]
    text, card = texts[:2]
    assert text.splitlines()[:4] == [
        "Launch digits-dirichlet: Ten unequal nodes read digits: label skew",
        "  train.learning_rate  0.3 → 0.1",
        "  on                   auto → rey",
        "  note                 empty → <b>x</b>",
    ]
    assert "! [FLIP-502] There is no engine or federation 'rey'." in text
    assert "<script" not in card
    assert "<b>" not in card
    assert "&lt;b&gt;x&lt;/b&gt;" in card


def test_the_monitor_is_part_of_the_page_that_is_kept(desk: Desk) -> None:
    """A notebook that is exported shows how far the run was."""
    launcher = Launcher(desk, NAME)
    launcher.launch()
    bundle = launcher._repr_mimebundle_()
    assert "flip-monitor" in bundle["text/html"]
    assert "run-1" in bundle["text/plain"]
    launcher.close()


def test_a_real_lab_will_do(lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the form needs of a lab is what a lab has."""
    from flip_lab.runs import lab as launching

    monkeypatch.setattr(launching, "launch_prepared", lambda *_args: "run-x")
    monkeypatch.setattr(launching, "Run", lambda _dir, run_id: cast("Run", run_id))
    lab = Lab(lab_dir.root)
    launcher = Launcher(lab, NAME)
    call = launcher.form.draft.call
    assert lab.launch(call.what, **call.in_order()) == "run-x"
    launcher.close()


def test_without_scenarios_a_file_is_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only an installation that lost its scenarios gets here."""
    monkeypatch.setattr(module, "scenario_names", list)
    with pytest.raises(UnknownNameError, match="no scenario here"):
        Launcher(desk)
