"""The comparer's pictures: what is drawn says what was recorded, and fits a screen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.analysis import Smoothing, bands, smooth
from flip_lab.boards.comparer.catalogue import Catalogue, Metric
from flip_lab.boards.comparer.choice import Choice
from flip_lab.boards.comparer.faces import card_html, text_of
from flip_lab.boards.comparer.groups import MOST_GROUPS
from flip_lab.boards.comparer.payload import Picture
from flip_lab.boards.comparer.picture import Facts, draw_picture
from flip_lab.boards.comparer.thinning import kept
from flip_lab.core.errors import AnalysisError, InvalidValueError

ACCURACY = "evaluate/federated/eval_accuracy"
NAN = float("nan")
RUN_COLUMNS = ["run_id", "name", "state", "seed", "created_at"]


class Told:
    """Runs as a test wants them, without a store."""

    def __init__(self) -> None:
        """Begin without runs."""
        self.runs: list[dict[str, Any]] = []
        self.settings: list[dict[str, Any]] = []
        self.points: list[dict[str, Any]] = []
        self.rounds: list[dict[str, Any]] = []

    def run(
        self,
        run_id: str,
        values: Sequence[float] | Mapping[int, float],
        *,
        seed: int = 0,
        seconds: float = 30.0,
        **settings: str | float,
    ) -> None:
        """Add a run: its values by round, from 1, and its parameters; ``__`` is a dot."""
        self.runs.append(
            {
                "run_id": run_id,
                "name": "hearts",
                "state": "completed",
                "seed": seed,
                "created_at": pd.Timestamp("2026-11-21T19:45:12Z"),
            }
        )
        for name, value in settings.items():
            number = value if isinstance(value, float) else None
            told = {"name": name.replace("__", "."), "value": str(value), "number": number}
            self.settings.append({"run_id": run_id, **told})
        told_values = values if isinstance(values, Mapping) else dict(enumerate(values, 1))
        for server_round, value in told_values.items():
            key = {"run_id": run_id, "server_round": server_round}
            self.points.append({**key, "value": value})
            spent = {"duration_s": seconds, "bytes_down": 2**20, "bytes_up": 2**20}
            self.rounds.append({**key, **spent})

    def catalogue(self) -> Catalogue:
        """Give what the store would."""
        columns = ["run_id", "name", "value", "number"]
        metric = Metric(
            name="eval_accuracy",
            phase="evaluate",
            scope="federated",
            num_runs=len(self.runs),
        )
        return Catalogue(
            runs=pd.DataFrame(self.runs, columns=RUN_COLUMNS),
            parameters=pd.DataFrame(self.settings, columns=columns),
            metrics=(metric,) if self.points else (),
        )

    def facts(self) -> Facts:
        """Give what the store would."""
        rounds = [row for row in self.rounds if row["server_round"] > 0]
        points = pd.DataFrame(self.points, columns=["run_id", "server_round", "value"])
        return Facts(points={ACCURACY: points}, rounds=pd.DataFrame(rounds))

    def picture(self, **choice: Any) -> Picture:  # noqa: ANN401  # any part of a choice
        """Draw all runs."""
        catalogue = self.catalogue()
        wanted = Choice(**{"metrics": (ACCURACY,), **choice})
        return draw_picture(catalogue, catalogue.run_ids, wanted, self.facts())


@pytest.fixture
def told() -> Told:
    """Give a lab's facts, still empty."""
    return Told()


def lines_of(picture: Picture) -> list[dict[str, Any]]:
    """Give the curves of the only panel."""
    (panel,) = picture["panels"]
    return cast("list[dict[str, Any]]", panel["lines"])


def test_groups_have_the_mean_and_the_band_of_their_runs(told: Told) -> None:
    """The picture says what the analysis says, round by round."""
    for seed in range(4):
        told.run(f"a{seed}", [0.1 * seed, 0.2, 0.4], seed=seed, strategy__name="FedAvg")
        told.run(f"p{seed}", [0.3, 0.1 * seed, 0.5], seed=seed, strategy__name="FedProx")
    picture = told.picture(by=("strategy.name",))
    assert [group["label"] for group in picture["groups"]] == ["FedAvg", "FedProx"]
    assert picture["groups"][0]["runs"] == [0, 2, 4, 6]
    points = told.facts().points[ACCURACY]
    mine = points[points["run_id"].str.startswith("a")].assign(group="FedAvg")
    expected = bands(mine)
    line = lines_of(picture)[0]
    assert line["x"] == [1, 2, 3]
    assert line["y"] == pytest.approx(expected["centre"].tolist(), rel=1e-4)
    assert line["low"] == pytest.approx(expected["low"].tolist(), rel=1e-4, abs=1e-9)
    assert line["seeds"] == [4, 4, 4]
    assert picture["notes"] == []
    assert picture["differing"] == ["seed", "strategy.name"]


def test_a_run_without_the_key_is_in_a_group_of_its_own(told: Told) -> None:
    """Missing is missing: no value is made up, and the group comes last."""
    told.run("a", [0.1, 0.2], train__learning_rate=0.1)
    told.run("b", [0.3, 0.4])
    told.run("c", [0.5, 0.6], train__learning_rate=0.01)
    picture = told.picture(by=("train.learning_rate",))
    assert [group["label"] for group in picture["groups"]] == ["0.01", "0.1", "not set"]
    payload = told.catalogue().payload()
    assert payload["keys"] == [
        {"name": "train.learning_rate", "values": ["0.1", "0.01"], "of": [0, -1, 1]}
    ]


def test_diverged_values_are_gaps_with_a_mark(told: Told) -> None:
    """NaN and the infinities are no numbers on an axis, and are not left out in silence."""
    told.run("a", [0.1, NAN, math.inf, -math.inf, 0.5])
    told.run("b", [0.1, 0.2, 0.3, 0.4, 0.5], seed=1)
    picture = told.picture(draw="lines")
    line = lines_of(picture)[0]
    assert line["y"] == [0.1, None, None, None, 0.5]
    assert line["odd"] == {"1": "NaN", "2": "∞", "3": "-∞"}
    assert "1 run with NaN or infinite eval_accuracy: marked ×." in picture["notes"]
    (mean,) = lines_of(told.picture())
    assert mean["lost"] == [0, 1, 1, 1, 0]
    assert mean["seeds"] == [2, 1, 1, 1, 2]
    json.dumps(picture, allow_nan=False)


def test_a_group_that_diverged_as_a_whole_is_marked(told: Told) -> None:
    """No mean of nothing."""
    told.run("a", [0.1, NAN])
    told.run("b", [0.3, NAN], seed=1)
    (line,) = lines_of(told.picture())
    assert line["y"] == [0.2, None]
    assert line["odd"] == {"1": "no finite value"}


def test_missing_rounds_are_gaps_without_a_mark(told: Told) -> None:
    """Nobody knows what was between two points that are far apart."""
    told.run("a", {1: 0.1, 2: 0.2, 3: 0.3, 7: 0.7, 8: 0.8})
    told.run("b", {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4, 5: 0.5}, seed=1)
    line = lines_of(told.picture(draw="lines"))[0]
    assert line["x"] == [1, 2, 3, 5, 7, 8]
    assert line["y"] == [0.1, 0.2, 0.3, None, 0.7, 0.8]
    assert "odd" not in line


def test_smoothing_is_the_analysis_one_and_the_axis_says_so(told: Told) -> None:
    """A reader sees that a curve was smoothed, and how."""
    told.run("a", [0.1, 0.9, 0.1, 0.9])
    picture = told.picture(draw="lines", span=3)
    expected = smooth(told.facts().points[ACCURACY], Smoothing(span=3))
    assert lines_of(picture)[0]["y"] == pytest.approx(expected["value"].tolist(), rel=1e-4)
    title = "eval_accuracy, moving average (EMA) over 3 points"
    assert picture["panels"][0]["y_title"] == title
    assert title in text_of(picture)


def test_seconds_are_summed_up_and_scaled(told: Told) -> None:
    """A group's point lies at the mean of what its runs had spent by then."""
    told.run("a", {0: 0.1, 1: 0.2, 2: 0.3}, seconds=200.0)
    told.run("b", {0: 0.1, 1: 0.2, 2: 0.3}, seed=1, seconds=100.0)
    picture = told.picture(x="seconds")
    (line,) = lines_of(picture)
    assert line["x"] == [0, 2.5, 5]
    assert line["round"] == [0, 1, 2]
    assert picture["x_title"] == "time spent in rounds (min), mean of the group"
    single = told.picture(x="bytes", draw="lines")
    assert lines_of(single)[0]["x"] == [0, 2, 4]
    assert single["x_title"] == "sent and received (MiB)"


def test_single_runs_without_a_key_are_told_apart_while_they_are_few(told: Told) -> None:
    """Each has its colour and its name; of many, none has."""
    told.run("261121-194512-q7xd", [0.1, 0.2])
    told.run("261121-194513-m2k9", [0.3, 0.4])
    few = told.picture(draw="lines")
    assert [group["label"] for group in few["groups"]] == ["hearts q7xd", "hearts m2k9"]
    for number in range(MOST_GROUPS):
        told.run(f"run-{number}", [0.1, 0.2])
    many = told.picture(draw="lines")
    assert [group["label"] for group in many["groups"]] == ["all runs"]
    assert len(lines_of(many)) == MOST_GROUPS + 2


def test_notes_say_what_the_eye_cannot_see(told: Told) -> None:
    """Seeds that repeat, groups of one, runs without the metric."""
    told.run("a", [0.1, 0.2], strategy__name="FedAvg")
    told.run("b", [0.1, 0.2], strategy__name="FedAvg")
    told.run("c", [0.1, 0.2], strategy__name="FedProx")
    told.run("d", [], strategy__name="FedProx", seed=1)
    notes = told.picture(by=("strategy.name",))["notes"]
    assert notes == [
        (
            "1 run with the seed of another one of the group; bands take all runs as "
            "independent."
        ),
        "1 run never recorded eval_accuracy.",
    ]


def test_too_many_groups_are_counted(told: Told) -> None:
    """What is not drawn is said."""
    for number in range(MOST_GROUPS + 6):
        told.run(f"run-{number}", [0.1, 0.2], train__learning_rate=float(number))
    picture = told.picture(by=("train.learning_rate",))
    assert len(picture["groups"]) == len(lines_of(picture)) == MOST_GROUPS
    assert (
        f"The first {MOST_GROUPS} groups are drawn, 6 more are not" in picture["notes"][0]
    )


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda _: None, "There are no runs here yet."),
        (lambda told: told.run("a", []), "No run has recorded a metric yet."),
    ],
)
def test_nothing_to_see_is_said_in_words(
    told: Told, prepare: Callable[[Told], None], words: str
) -> None:
    """An empty lab is no error."""
    prepare(told)
    picture = told.picture()
    assert picture["error"].startswith(words)
    assert words in text_of(picture)
    assert words in card_html(picture)
    json.dumps(told.catalogue().payload())


def test_runs_without_a_metric_still_tell_what_differs(told: Told) -> None:
    """The table below needs no curve."""
    told.run("a", [], strategy__name="FedAvg")
    told.run("b", [], strategy__name="FedProx")
    assert told.picture()["differing"] == ["strategy.name"]


def test_an_unknown_key_names_the_nearest(told: Told) -> None:
    """A typing error costs seconds."""
    told.run("a", [0.1], strategy__name="FedAvg")
    with pytest.raises(AnalysisError, match=r"Did you mean 'strategy\.name'"):
        told.picture(by=("strategy.nam",))


@pytest.mark.parametrize(
    "wrong", [{"x": "hours"}, {"draw": "bars"}, {"span": 0}, {"by": ("a", "b", "c")}]
)
def test_a_choice_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """The error says what would do."""
    with pytest.raises(InvalidValueError):
        Choice(**wrong)


def test_a_choice_travels_to_the_browser_and_back() -> None:
    """What the browser was told is what it tells."""
    choice = Choice(metrics=(ACCURACY,), x="bytes", by=("a", "b"), span=7, is_log=True)
    assert Choice.from_json(json.loads(json.dumps(choice.to_json()))) == choice


def big_lab(num_runs: int, num_rounds: int) -> Told:
    """Give a lab with runs that differ in three keys."""
    told = Told()
    random = np.random.default_rng(7)
    for number in range(num_runs):
        values = (
            1 - np.exp(-np.arange(num_rounds) / 40) + random.normal(0, 0.02, num_rounds)
        )
        told.run(
            f"261121-{number:06d}-{number:04x}",
            values.tolist(),
            seed=number % 10,
            strategy__name=("FedAvg", "FedProx", "FedAdam")[number % 3],
            train__learning_rate=float(10.0 ** -(number % 4)),
            comment=f"run number {number}",
        )
    return told


@pytest.mark.parametrize(
    "choice", [{"draw": "lines"}, {"draw": "lines", "x": "seconds"}, {}]
)
def test_a_thousand_runs_fit_into_a_message(choice: dict[str, Any]) -> None:
    """With its catalogue the largest picture stays below 1 MB."""
    told = big_lab(1000, 100)
    picture = told.picture(by=("strategy.name",), **choice)
    size = len(json.dumps([picture, told.catalogue().payload()], ensure_ascii=False))
    assert size <= 1_000_000, size
    if choice:
        assert len(lines_of(picture)) == 1000


@given(
    st.lists(st.floats(width=32, allow_subnormal=False), min_size=1, max_size=300),
    st.integers(8, 60),
)
def test_thinning_keeps_ends_extremes_and_gaps(values: list[float], at_most: int) -> None:
    """Whatever the curve, what stands out stays in sight."""
    curve = np.array(values, dtype=np.float64)
    places = kept(curve, at_most)
    assert len(places) <= max(at_most, 1)
    assert (np.diff(places) > 0).all()
    assert places[0] == 0
    assert places[-1] == curve.size - 1
    finite = np.isfinite(curve)
    if finite.any():
        assert curve[finite].min() in curve[places]
        assert curve[finite].max() in curve[places]
    assert finite.all() == np.isfinite(curve[places]).all()


def test_the_same_facts_give_the_same_faces(told: Told) -> None:
    """Text and card depend on the facts, not on the order in which they were read."""
    for seed in range(3):
        told.run(f"a{seed}", [0.1, 0.2 + seed / 100], seed=seed, strategy__name="FedAvg")
        told.run(f"b{seed}", [0.2, 0.3 + seed / 50], seed=seed, strategy__name="<b>X</b>")
    first = told.picture(by=("strategy.name",))
    told.points.reverse()
    again = told.picture(by=("strategy.name",))
    assert first == again
    text = text_of(first)
    assert text.splitlines()[0] == "6 runs compared by strategy.name"
    assert "FedAvg" in text
    assert "3 runs" in text
    card = card_html(first, css="p {}")
    assert card.startswith("<style>p {}</style>")
    assert "<b>X</b>" not in card
    assert "&lt;b&gt;X&lt;/b&gt;" in card
