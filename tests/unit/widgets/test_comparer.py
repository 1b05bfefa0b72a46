"""The comparer over a real store: what it reads, what it answers, what it shows without."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

import pytest

from flip_lab import Lab
from flip_lab.boards.comparer.catalogue import read_catalogue
from flip_lab.boards.comparer.history import client_history, run_history
from flip_lab.boards.scripts import style
from flip_lab.core.errors import AnalysisError, InvalidValueError, RunNotFoundError
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir
from flip_lab.views.theme import PALETTES
from flip_lab.widgets import Comparer

MakeRun = Callable[..., Run]

LOSS = "train/federated/train_loss"


@pytest.fixture
def lab(lab_dir: LabDir, make_run: MakeRun) -> Lab:
    """Give a lab of three runs: two learning rates, one of them failed."""
    rates = {"run-a": 0.1, "run-b": 0.1, "run-c": 0.01}
    for seed, (run_id, rate) in enumerate(rates.items()):
        state = RunState.FAILED if run_id == "run-c" else RunState.COMPLETED
        changes = {"train.learning_rate": rate}
        make_run(run_id, changes=changes, seed=seed, state=state)
    return Lab(lab_dir.root)


class Asked:
    """A comparer, and what it sends to the browser."""

    def __init__(self, comparer: Comparer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Listen to a comparer."""
        self.comparer = comparer
        self.sent: list[dict[str, Any]] = []
        monkeypatch.setattr(comparer, "send", self.sent.append)

    def ask(self, **question: Any) -> dict[str, Any]:  # noqa: ANN401  # any JSON
        """Ask as the browser does, and give the answer."""
        self.comparer._hear(self.comparer, {**question, "ticket": 7}, [])
        answer = json.loads(json.dumps(self.sent[-1], allow_nan=False))
        assert answer.pop("ticket") == 7
        assert answer.pop("ask", None) == question.get("ask")
        return answer


def test_the_catalogue_lists_runs_and_the_keys_in_which_they_differ(lab: Lab) -> None:
    """Newest first; what all agree in is not offered; the metric of most runs leads."""
    payload = read_catalogue(lab).payload()
    assert payload["ids"] == ["run-c", "run-b", "run-a"]
    keys = {key["name"]: key for key in payload["keys"]}
    assert {"state", "seed", "train.learning_rate"} <= set(keys)
    assert "strategy.name" not in keys
    assert keys["train.learning_rate"]["of"] == [0, 1, 1]
    assert keys["train.learning_rate"]["values"] == ["0.01", "0.1"]
    labels = [metric["label"] for metric in payload["metrics"]]
    assert labels == ["eval_accuracy", "train_loss"]
    json.dumps(payload, allow_nan=False)


def test_it_draws_what_is_asked_for_in_python(lab: Lab) -> None:
    """Every control of the widget is a parameter."""
    shown = Comparer(
        lab, ["run-a", "run-c"], metric="train_loss", by="train.learning_rate", smoothing=2
    )
    assert shown.run_ids == ["run-c", "run-a"]
    assert shown.choice.metrics == (LOSS,)
    picture = cast("dict[str, Any]", shown.picture)
    assert [group["label"] for group in picture["groups"]] == ["0.01", "0.1"]
    assert repr(shown) == repr(
        Comparer(
            lab,
            ["run-c", "a"],
            metric="train_loss",
            by=["train.learning_rate"],
            smoothing=2,
        )
    )
    shown.close()


def test_it_draws_anew_when_the_browser_chooses(lab: Lab) -> None:
    """What the browser sets is drawn; what it sets wrongly is said in its place."""
    shown = Comparer(lab)
    shown.set_state({"chosen": [0], "settings": {**shown.settings, "draw": "lines"}})
    picture = cast("dict[str, Any]", shown.picture)
    assert picture["num_runs"] == 1
    assert picture["draw"] == "lines"
    shown.set_state({"settings": {**shown.settings, "by": ["no.such.key"]}})
    assert "no.such.key" in cast("dict[str, Any]", shown.picture)["error"]
    shown.close()


def test_refreshing_finds_new_runs_and_keeps_ticks(lab: Lab, make_run: MakeRun) -> None:
    """Positions move when a newer run comes; the ticks stay with their runs."""
    shown = Comparer(lab, "run-a")
    make_run("run-d", seed=9)
    shown.refresh()
    assert shown.run_ids == ["run-a"]
    assert cast("dict[str, Any]", shown.catalogue)["ids"][0] == "run-d"
    shown.close()


def test_an_empty_lab_fills(lab_dir: LabDir, make_run: MakeRun) -> None:
    """A comparer that is made before the first run shows it after a refresh."""
    shown = Comparer(Lab(lab_dir.root))
    assert "no runs here yet" in repr(shown)
    make_run("run-a")
    shown.refresh()
    assert shown.run_ids == ["run-a"]
    assert shown.choice.metrics == ("evaluate/federated/eval_accuracy",)
    shown.close()


def test_a_run_tells_its_story(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """State, settings that set it apart, and its clients in the last round or another."""
    asked = Asked(Comparer(lab), monkeypatch)
    told = asked.ask(ask="run", run="run-c")
    assert (told["state"], told["seed"], told["rounds_done"]) == ("failed", 2, 2)
    states = [each["state"] for each in told["states"]]
    assert states[-2:] == ["running", "failed"]
    rate = next(s for s in told["settings"] if s["name"] == "train.learning_rate")
    assert rate == {"name": "train.learning_rate", "value": "0.01", "same": 0, "others": 2}
    assert (told["round"], told["last_round"]) == (2, 2)
    assert [row["id"] for row in told["clients"]["rows"]] == ["p0", "p1", "p2"]
    assert told["clients"]["columns"] == [
        {"key": "train/train_loss", "label": "train_loss"}
    ]
    assert told["clients"]["rows"][1]["values"] == [2.1]
    before = asked.ask(ask="round", run="run-c", round=1)
    assert before["clients"]["rows"][1]["values"] == [1.1]
    assert asked.ask(ask="round", run="run-c", round=99)["clients"]["rows"] == []
    assert asked.ask(ask="round", run="run-c", round=None)["clients"]["rows"] == []
    asked.comparer.close()


def test_a_client_is_told_beside_its_cohort(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row a round, with the quantiles of all clients of the round."""
    asked = Asked(Comparer(lab), monkeypatch)
    told = asked.ask(ask="client", run="run-a", client="p1", metric="train/train_loss")
    assert told["round"] == [1, 2]
    assert told["y"] == [1.1, 2.1]
    assert told["middle"] == [1.1, 2.1]
    assert told["low"] == pytest.approx([1.02, 2.02])
    assert told["clients"] == [3, 3]
    absent = asked.ask(ask="client", run="run-a", client="p77", metric="train/train_loss")
    assert absent["y"] == [None, None]
    assert absent["odd"] == {}
    asked.comparer.close()


@pytest.mark.parametrize(
    ("question", "code"),
    [
        ({"ask": "run", "run": "no-such-run"}, RunNotFoundError.code),
        ({"ask": "client", "run": "run-a", "client": "p1; DROP"}, InvalidValueError.code),
        ({"ask": "client", "run": "run-a", "client": ""}, InvalidValueError.code),
    ],
)
def test_questions_that_cannot_be_answered_get_an_error(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, question: dict[str, Any], code: str
) -> None:
    """The browser shows code and fix; nothing breaks."""
    asked = Asked(Comparer(lab), monkeypatch)
    assert asked.ask(**question)["error"]["code"] == code
    asked.comparer.close()


def test_wishes_are_answered_also_when_nothing_changes(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser waits for the answer before it asks for the next picture."""
    asked = Asked(Comparer(lab), monkeypatch)
    for wish in ("draw", "refresh", "what is this"):
        assert asked.ask(ask=wish) == {}
    asked.comparer._hear(asked.comparer, "no question", [])
    asked.comparer.close()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"metric": "eval_acuracy"}, AnalysisError),
        ({"by": "strategy.nam"}, AnalysisError),
        ({"runs": "no-such-run"}, RunNotFoundError),
        ({"smoothing": 99}, InvalidValueError),
        ({"x": "hours"}, InvalidValueError),
    ],
)
def test_what_a_caller_gets_wrong_is_refused(
    lab: Lab, given: dict[str, Any], error: type[Exception]
) -> None:
    """In Python the error is raised; the browser cannot choose such things."""
    with pytest.raises(error):
        Comparer(lab, **given)


def test_a_key_in_which_all_agree_is_one_group(lab: Lab) -> None:
    """It is no mistake to ask for it."""
    shown = Comparer(lab, by="strategy.name")
    assert len(cast("dict[str, Any]", shown.picture)["groups"]) == 1
    shown.close()


def test_runs_without_clients_and_metrics_of_nobody(
    lab_dir: LabDir, make_run: MakeRun
) -> None:
    """A run that has not begun has a story, too."""
    make_run("run-a", rounds=0)
    lab = Lab(lab_dir.root)
    told = run_history(lab, read_catalogue(lab), "run-a", among=["run-a"])
    assert told["last_round"] is None
    assert told["clients"]["rows"] == []
    nothing = client_history(lab, "run-a", "p0", phase="train", name="train_loss")
    assert nothing["round"] == nothing["y"] == []


def test_pages_without_widgets_get_a_table_and_a_text(lab: Lab) -> None:
    """What is saved with the notebook says the same as the widget."""
    shown = Comparer(lab, by="train.learning_rate")
    bundle = shown._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle[0]
    assert bundle[0]["text/plain"] == repr(shown)
    assert '<section class="flip-board flip-comparer flip-card">' in bundle[0]["text/html"]
    assert "<script" not in bundle[0]["text/html"]
    shown.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_colours_are_those_of_the_figures(theme: str) -> None:
    """A group has one colour in the widget, in figures and in reports."""
    told = dict(re.findall(r"--flip-series-(\d): ([^;]+);", style("comparer")))
    for at, colour in enumerate(PALETTES["light" if theme == "light" else "dark"].series):
        both = re.findall(r"#\w{6}", told[str(at)])
        assert both[0 if theme == "light" else -1].upper() == colour
