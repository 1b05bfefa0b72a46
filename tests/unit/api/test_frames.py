"""Whole frames over the API: as a lab gives them, and no dearer than a question may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from flip_lab.api.routes import frames
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

ARROW = {"Accept": "application/vnd.apache.arrow.stream"}


@pytest.fixture
def lab(lab_dir: LabDir, make_run: Callable[..., Run]) -> Lab:
    """Give a lab with two runs."""
    for seed, run_id in enumerate(("one", "two")):
        make_run(run_id, seed=seed)
    return Lab(lab_dir.root)


QUESTIONS: list[tuple[dict[str, Any], Callable[[Lab], Any]]] = [
    ({"of": "runs"}, lambda lab: lab.runs(as_="arrow")),
    (
        {"of": "runs", "where": "seed = ?", "parameters": [1], "limit": 5},
        lambda lab: lab.runs("seed = ?", parameters=[1], limit=5, as_="arrow"),
    ),
    (
        {"of": "runs", "where": {"seed": [0, 1]}, "state": "completed"},
        lambda lab: lab.runs({"seed": [0, 1]}, state="completed", as_="arrow"),
    ),
    (
        {"of": "metrics", "names": "eval_accuracy", "runs": ["two"], "keys": ["seed"]},
        lambda lab: lab.metrics("eval_accuracy", runs=["two"], keys=["seed"], as_="arrow"),
    ),
    ({"of": "metrics"}, lambda lab: lab.metrics(as_="arrow")),
    (
        {"of": "clients", "server_round": [1], "partition_id": 2},
        lambda lab: lab.clients(server_round=1, partition_id=2, as_="arrow"),
    ),
    (
        {"of": "client_metrics", "phase": "train"},
        lambda lab: lab.client_metrics(phase="train", as_="arrow"),
    ),
    ({"of": "table", "name": "rounds"}, lambda lab: lab.table("rounds", as_="arrow")),
    (
        {
            "of": "sql",
            "statement": "SELECT $a AS a, sum(num_examples) s FROM clients",
            "parameters": {"a": "ä"},
        },
        lambda lab: lab.sql(
            "SELECT $a AS a, sum(num_examples) s FROM clients", {"a": "ä"}, as_="arrow"
        ),
    ),
]


@pytest.mark.parametrize(
    ("asked", "local"), QUESTIONS, ids=[str(asked)[:50] for asked, _ in QUESTIONS]
)
def test_a_frame_is_what_a_lab_gives(
    lab: Lab,
    ask: Callable[..., TestClient],
    asked: dict[str, Any],
    local: Callable[[Lab], Any],
) -> None:
    """As Arrow to the type; as JSON the same columns and as many rows."""
    client = ask("guest")
    answer = client.post("frames", json=asked, headers=ARROW)
    assert answer.status_code == 200, answer.text
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table.equals(local(lab))
    told = client.post("frames", json=asked).json()
    assert [each["name"] for each in told["columns"]] == table.column_names
    assert [each["type"] for each in told["columns"]] == [*map(str, table.schema.types)]
    assert len(told["rows"]) == table.num_rows


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"of": "runs", "where": "nonsense = 1"}, "FLIP-403"),
        (
            {"of": "runs", "where": "1 = 1) UNION SELECT * FROM read_text('/etc/passwd'"},
            "FLIP-403",
        ),
        ({"of": "runs", "where": {"no.such": 1}}, "FLIP-403"),
        ({"of": "runs", "parameters": [1]}, "FLIP-403"),
        ({"of": "metrics", "runs": ["nobody"]}, "FLIP-301"),
        ({"of": "metrics", "keys": ["no.such"]}, "FLIP-403"),
        ({"of": "table", "name": "secrets"}, "FLIP-403"),
        ({"of": "sql", "statement": "DROP TABLE runs"}, "FLIP-403"),
        ({"of": "sql", "statement": "SELECT * FROM read_csv('/etc/passwd')"}, "FLIP-403"),
        ({"of": "sql", "statement": "COPY runs TO '/tmp/x'"}, "FLIP-403"),
        ({"of": "clients", "names": "m"}, "FLIP-703"),
        ({"of": "everything"}, "FLIP-703"),
        ({}, "FLIP-703"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(
    lab: Lab, client: TestClient, asked: dict[str, Any], code: str
) -> None:
    """With the code of what is wrong, and never with a fault of ours."""
    del lab
    answer = client.post("frames", json=asked)
    assert (answer.status_code in {404, 422}, answer.json()["code"]) == (True, code)


def test_a_frame_has_its_limits(
    lab: Lab, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that would cost too much is refused, not cut."""
    del lab
    monkeypatch.setattr(frames, "_MOST_ROWS", 3)
    for asked in ({"of": "clients"}, {"of": "sql", "statement": "FROM range(4)"}):
        answer = client.post("frames", json=asked)
        assert "more than 3 rows" in answer.json()["detail"]
    assert client.post("frames", json={"of": "runs"}).status_code == 200
    monkeypatch.setattr(frames, "_LONGEST_S", 0.05)
    slow = "SELECT count(*) FROM range(1000000) a, range(1000000) b"
    answer = client.post("frames", json={"of": "sql", "statement": slow})
    assert answer.json()["code"] == "FLIP-403"


def test_strangers_get_no_frame(ask: Callable[..., TestClient]) -> None:
    """Nor does the question tell them anything."""
    assert ask(None).post("frames", json={"of": "runs"}).status_code == 401
