"""Runs and their facts, found by what they were asked to do and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import InvalidValueError, QueryError, RunNotFoundError
from flip_lab.core.state import RunState
from flip_lab.runs.conditions import quoted
from flip_lab.runs.facts import FactFilter, facts_question
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.runs.search import RunFilter, run_condition
from flip_lab.store.layout import LabDir

MakeRun = Callable[..., Run]


@pytest.fixture
def lab(lab_dir: LabDir, make_run: MakeRun) -> Lab:
    """Give a lab with four runs: two strategies, two experiments, one that failed."""
    prox = {"strategy.name": "FedProx", "train.learning_rate": 0.5}
    make_run("a1", seed=1, experiment="x")
    make_run("a2", seed=2, experiment="x", sweep="s", changes={"train.batch_size": 8})
    make_run("b1", seed=1, experiment="y", sweep="s", changes=prox)
    make_run("b2", seed=2, experiment="y", changes=prox, state=RunState.FAILED)
    return Lab(lab_dir.root)


def found(lab: Lab, *args: Any, **kwargs: Any) -> list[str]:  # noqa: ANN401  # of lab.runs
    """Give the ids of the runs that are listed, in their order."""
    return list(lab.runs(*args, **kwargs).run_id)


def test_all_runs_are_listed_newest_first(lab: Lab) -> None:
    """As many as asked for."""
    assert found(lab) == ["b2", "b1", "a2", "a1"]
    assert found(lab, limit=2) == ["b2", "b1"]
    assert found(lab, limit=0) == []
    for limit in (-1, 1.5, "1; DROP TABLE runs"):
        with pytest.raises(InvalidValueError):
            lab.runs(limit=limit)  # pyright: ignore[reportArgumentType]  # users err


def test_runs_are_found_by_their_group(lab: Lab) -> None:
    """One name, or several of which any will do."""
    assert found(lab, experiment="x") == ["a2", "a1"]
    assert found(lab, experiment=["x", "y"], sweep="s") == ["b1", "a2"]
    assert found(lab, experiment="nothing") == []
    assert found(lab, state=RunState.FAILED) == ["b2"]
    assert found(lab, state=["failed", "stopped"]) == ["b2"]
    assert found(lab, experiment=[]) == []


def test_runs_are_found_in_sql(lab: Lab) -> None:
    """With a mark for each value; a comment at its end swallows nothing of ours."""
    assert found(lab, "seed = ? AND experiment = ?", parameters=[2, "y"]) == ["b2"]
    assert found(lab, "seed = 1 OR true -- all", limit=1) == ["b2"]
    assert found(lab, "seed = 1 OR true", experiment="x") == ["a2", "a1"]


def test_runs_are_found_by_columns_and_parameters(lab: Lab) -> None:
    """By name, whichever it is; any of several values; None where there is none."""
    assert found(lab, {"strategy.name": "FedProx"}) == ["b2", "b1"]
    assert found(lab, {"strategy.name": ["FedProx", "FedAvg"], "seed": 1}) == ["b1", "a1"]
    assert found(lab, {"train.learning_rate": 0.5}) == ["b2", "b1"]
    assert found(lab, {"train.batch_size": np.arange(7, 10)}) == ["a2"]
    assert found(lab, {"sweep": None}) == ["b2", "a1"]
    assert found(lab, {"sweep": ["s", None]}) == ["b2", "b1", "a2", "a1"]
    assert found(lab, {"strategy.name": []}) == []
    assert found(lab, {"strategy.name": "'; DROP TABLE runs; --"}) == []


def test_a_parameter_that_is_missing_can_be_asked_for(lab: Lab, make_run: MakeRun) -> None:
    """Runs of another kind have other parameters."""
    config = {"flag": True, "lr": 1e-3}
    make_run("c1", kind="app", run_config=config, scenario=None)
    assert found(lab, {"app.flag": True}) == ["c1"]
    assert found(lab, {"app.flag": None}) == ["b2", "b1", "a2", "a1"]
    assert found(lab, {"app.flag": [None, True]}, limit=2) == ["c1", "b2"]
    assert found(lab, {"app.lr": 1e-3}) == ["c1"]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"strategy.nam": "FedAvg"}, "strategy.name"),
        ({"sead": 1}, "seed"),
        ("sead = 1", "sead"),
        ("seed = 1; DROP TABLE runs", "seed"),
        (3, "3"),
        ("run_id IN (DELETE FROM runs RETURNING run_id)", "DELETE"),
    ],
)
def test_a_wrong_condition_names_what_is_wrong(lab: Lab, where: Any, says: str) -> None:  # noqa: ANN401  # users err
    """With the nearest name that would have worked."""
    with pytest.raises(QueryError, match=says):
        lab.runs(where)


def test_parameters_belong_to_sql(lab: Lab) -> None:
    """Beside names they would go unheard."""
    with pytest.raises(QueryError, match="no condition"):
        lab.runs({"seed": 1}, parameters=[2])


def test_metrics_carry_their_keys(lab: Lab) -> None:
    """Columns of runs or parameters, as numbers where they are numbers."""
    frame = lab.metrics("eval_accuracy", phase="evaluate")
    assert list(frame["strategy.name"].unique()) == ["FedAvg", "FedProx"]
    assert list(frame.seed) == [1, 1, 2, 2, 1, 1, 2, 2]
    assert list(frame.server_round) == [1, 2] * 4
    keys = ["train.batch_size", "train.learning_rate", "experiment"]
    frame = lab.metrics("eval_accuracy", runs=["a2", "b1"], keys=keys)
    assert str(frame["train.batch_size"].dtype) == "int64"
    assert str(frame["train.learning_rate"].dtype) == "float64"
    assert list(frame.experiment) == ["x", "x", "y", "y"]
    assert frame["train.batch_size"][0] == 8


def test_a_key_that_some_runs_lack_is_missing_there(lab: Lab, make_run: MakeRun) -> None:
    """A lab without a strategy anywhere has the usual keys nevertheless."""
    make_run("c1", kind="app", run_config={"flag": True}, scenario=None)
    frame = lab.metrics("eval_accuracy", keys=["app.flag", "strategy.name"])
    assert list(frame["app.flag"].dropna()) == [True, True]
    assert set(frame.run_id[frame["strategy.name"].isna()]) == {"c1"}


def test_the_usual_keys_need_no_strategy(lab_dir: LabDir, make_run: MakeRun) -> None:
    """Apps have none."""
    make_run("c1", kind="app", scenario=None)
    frame = Lab(lab_dir.root).metrics()
    assert frame["strategy.name"].isna().all()
    assert len(frame) == 4


@pytest.mark.parametrize("keys", [["strategy.nam"], ["name"], ['"; DROP TABLE runs; --']])
def test_a_key_that_means_nothing_is_refused(lab: Lab, keys: Sequence[str]) -> None:
    """So is one that the table has a column of."""
    with pytest.raises(QueryError):
        lab.metrics(keys=keys)


def test_facts_of_clients_are_found(lab: Lab) -> None:
    """By runs, rounds, partitions and names; DuckDB does the choosing."""
    one = lab.client_metrics(
        "train_loss", runs=lab.run("a1"), server_round=2, partition_id=[0, 2]
    )
    assert list(one.value) == [2.0, 2.2]
    assert list(one.partition_id) == [0, 2]
    assert len(lab.client_metrics(server_round=range(1, 3))) == 4 * 2 * 3
    assert len(lab.client_metrics(server_round=range(2, 2))) == 0
    assert len(lab.client_metrics(server_round=range(1, 4, 2))) == 4 * 3
    assert len(lab.client_metrics("nothing")) == 0
    some = lab.clients(where={"seed": 1}, partition_id=1, keys=["seed"])
    assert set(some.run_id) == {"a1", "b1"}
    assert set(some.seed) == {1}
    assert len(lab.clients(runs=lab.runs(experiment="y"), phase="train")) == 12


def test_runs_and_a_condition_both_count(lab: Lab) -> None:
    """What was named must also be what was asked for."""
    assert set(lab.metrics(runs=["a1", "b1"], where="experiment = 'x'").run_id) == {"a1"}
    assert lab.metrics(runs=[]).empty
    with pytest.raises(RunNotFoundError):
        lab.metrics(runs="nobody")


def test_answers_come_in_three_forms(lab: Lab) -> None:
    """A relation can be asked further, long after."""
    assert lab.runs(as_="arrow").column("run_id").to_pylist() == ["b2", "b1", "a2", "a1"]
    relation = lab.metrics("eval_accuracy", as_="relation")
    assert relation.filter("seed = 2").count("*").fetchall() == [(4,)]
    relation = lab.sql("SELECT run_id FROM runs WHERE seed = ?", [1], as_="relation")
    assert sorted(relation.fetchall()) == [("a1",), ("b1",)]
    with pytest.raises(QueryError):
        lab.sql("DROP TABLE runs", as_="relation")
    with pytest.raises(QueryError):
        lab.sql("SELECT nothing FROM runs", as_="relation")
    with lab.connect() as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(4,)]


def test_groups_are_compared_over_seeds(lab: Lab) -> None:
    """Failed runs are left out with the reason."""
    comparison = lab.compare(by="strategy.name")
    assert len(comparison.groups) == 2
    assert set(comparison.runs.run_id) == {"a1", "a2", "b1"}
    assert list(comparison.left_out.run_id) == ["b2"]
    assert len(lab.compare(["a1", "a2"], by="seed").groups) == 2
    assert len(lab.compare(where="experiment = 'x'", by=[]).groups) == 1


@given(name=st.text(max_size=10))
def test_any_name_can_be_quoted(name: str) -> None:
    """It stays one name, whatever is in it."""
    text = quoted(name)
    assert text[0] == text[-1] == '"'
    assert text[1:-1].replace('""', "") == name.replace('"', "")
    assert text[1:-1].count('"') == 2 * name.count('"')


def test_a_statement_has_a_mark_for_each_value() -> None:
    """In the order of the values."""
    runs = RunFilter(
        where={"seed": [1, 2], "tags": ["a"]}, experiment="x", state=["failed"], tag="t"
    )
    condition = run_condition(runs, lambda *_: [])
    assert condition.text.count("?") == len(condition.values) == 6
    facts = FactFilter(name=["a", "b"], server_round=range(1, 3), partition_id=7)
    question = facts_question("client_metrics", runs, facts, lambda *_: [], keys=["seed"])
    assert question.text.count("?") == len(question.values) == 11


def test_a_list_of_runs_needs_no_other_table() -> None:
    """Twenty curves are asked for without looking at a thousand runs."""
    runs = RunFilter(run_ids=["a", "b"])
    question = facts_question("metrics", runs, FactFilter(), lambda *_: [])
    assert "FROM runs" not in question.text
    assert question.values == ("a", "b")


def test_runs_are_reported_on(lab: Lab, tmp_path: Path) -> None:
    """One run, or their comparison, as one file."""
    one = lab.report(tmp_path / "one.html", "a1", theme="light")
    assert "a1" in one.read_text(encoding="utf-8")
    several = lab.report(tmp_path / "all.html", where="seed = 1", by="strategy.name")
    assert "FedProx" in several.read_text(encoding="utf-8")
    with pytest.raises(RunNotFoundError):
        lab.report(tmp_path / "none.html", where="false")
