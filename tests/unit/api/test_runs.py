"""Runs over HTTP: pages, tags of states, labels, the trash, and what is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from flip_lab.api.paging import cursor_at, place_of
from flip_lab.core.errors import CursorError
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store import query
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

MakeRun = Callable[..., Run]


@pytest.fixture
def five(make_run: MakeRun) -> list[str]:
    """Give the ids of five runs, newest first."""
    made = [
        make_run(f"run-{number}", state=state, experiment=experiment).run_id
        for number, (state, experiment) in enumerate(
            [
                (RunState.COMPLETED, "hearts"),
                (RunState.FAILED, "hearts"),
                (RunState.COMPLETED, "digits"),
                (RunState.STOPPED, "digits"),
                (RunState.COMPLETED, "digits"),
            ]
        )
    ]
    return made[::-1]


def ids(answer: Any) -> list[str]:  # noqa: ANN401  # an answer of a list
    """Give the ids of the runs in an answer."""
    assert answer.status_code == 200, answer.text
    return [item["run_id"] for item in answer.json()["items"]]


def test_pages_of_runs_add_up(five: list[str], client: TestClient) -> None:
    """Newest first, each once, however small the pages are."""
    assert ids(client.get("/runs")) == five
    found, cursor = list[str](), None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        answer = client.get("/runs", params={"limit": 2, **more})
        found += ids(answer)
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            break
    assert found == five


def test_runs_are_chosen_by_what_they_are(five: list[str], client: TestClient) -> None:
    """State, experiment, tag and words each leave out what does not fit."""
    client.patch(f"/runs/{five[0]}", json={"tags": ["good", "big"], "note": "Wärmer ist"})
    client.patch(f"/runs/{five[1]}", json={"tags": ["good"]})
    _settled(client, five[1], "tags", ["good"])

    def chosen(**params: Any) -> list[str]:  # noqa: ANN401  # any parameter
        return ids(client.get("/runs", params=params))

    assert chosen(state="failed") == [five[3]]
    assert chosen(state=["failed", "stopped"]) == [five[1], five[3]]
    assert chosen(experiment="hearts") == five[3:]
    assert chosen(tag="good") == five[:2]
    assert chosen(tag=["good", "big"]) == five[:1]
    assert chosen(q="WÄRMER run") == five[:1]
    assert chosen(q="warmer") == []
    assert chosen(sweep="none") == []


def _settled(client: TestClient, run_id: str, field: str, value: object) -> None:
    """Wait until the list, which follows a moment later, says so."""
    while True:
        rows = client.get("/runs", params={"archived": True}).json()["items"]
        if next((r[field] for r in rows if r["run_id"] == run_id), None) == value:
            return
        sleep(0.01)


def test_archived_runs_are_listed_on_demand(five: list[str], client: TestClient) -> None:
    """Put away is not gone."""
    assert client.patch(f"/runs/{five[2]}", json={"is_archived": True}).status_code == 200
    _settled(client, five[2], "is_archived", value=True)
    assert ids(client.get("/runs")) == [*five[:2], *five[3:]]
    assert ids(client.get("/runs", params={"archived": True})) == five


def test_a_cursor_counts_for_its_question_only(five: list[str], client: TestClient) -> None:
    """Made up, cut short, of another list, of another lab's question: refused, all."""
    good = client.get("/runs", params={"limit": 1}).json()["next_cursor"]
    other = client.get(f"/runs/{five[0]}/metrics", params={"limit": 1}).json()
    bad = [
        "x",
        "",
        "ä",
        "=" * 5000,
        good[:-3],
        other["next_cursor"],
        cursor_at(["runs"], ["a", 1]),
        cursor_at(["metrics"], [1]),
    ]
    for cursor in bad:
        answer = client.get("/runs", params={"limit": 1, "cursor": cursor})
        assert (cursor, answer.status_code) == (cursor, 400)
        assert answer.json()["code"] == "FLIP-704"
    elsewhere = client.get("/runs", params={"state": "failed", "cursor": good})
    assert elsewhere.status_code == 400
    behind = cursor_at(["metrics", five[0], "…"], [-1])
    assert client.get(f"/runs/{five[0]}/metrics?cursor={behind}").status_code == 400


@pytest.mark.parametrize("place", [[1], [True], ["a"], ["a", "b", "c"], []])
def test_a_cursor_has_its_parts(place: list[Any]) -> None:
    """Neither a number for a text nor one part too many gets through."""
    with pytest.raises(CursorError):
        place_of(cursor_at("q", place), "q", kinds=(str, str))
    assert place_of(cursor_at("q", ["a", "b"]), "q", kinds=(str, str)) == ["a", "b"]


def test_limits_of_lists(client: TestClient) -> None:
    """From 1 to 1000."""
    for limit, status in ((0, 422), (1, 200), (1000, 200), (1001, 422), ("x", 422)):
        assert client.get("/runs", params={"limit": limit}).status_code == status


def test_a_run_whole(five: list[str], client: TestClient, lab_dir: LabDir) -> None:
    """All columns of its row, with JSON as JSON; its beginning is enough of an id."""
    told = client.get(f"/runs/{five[0]}").json()
    row = query.sql(lab_dir, "FROM runs WHERE run_id = ?", [five[0]], as_="rows")[0]
    assert row.keys() <= told.keys()
    assert told["scenario"]["train"] == json.loads(row["scenario"])["train"]
    assert told["metrics"] == {"eval_accuracy": 0.5, "train_loss": 0.5}
    assert (told["forks"], told["checkpoints"]) == ([], [])
    assert told["created_at"].endswith("Z")
    assert client.get("/runs/-4").json()["run_id"] == "run-4"


def test_a_part_of_an_id_changes_nothing(make_run: MakeRun, client: TestClient) -> None:
    """Which run it is would depend on which others there are."""
    make_run("run-4")
    assert client.get("/runs/4").status_code == 200
    answers = [
        client.delete("/runs/4"),
        client.patch("/runs/4", json={"note": "x"}),
        *(client.post(f"/runs/4/{deed}", json={}) for deed in ("fork", "resume")),
        client.post("/runs/4/commands", json={"command": "stop"}),
    ]
    assert [(a.status_code, a.json()["code"]) for a in answers] == [(404, "FLIP-301")] * 5
    assert client.get("/runs/run-4").json()["note"] == ""


def test_a_state_that_is_known_is_not_sent_again(
    five: list[str], client: TestClient
) -> None:
    """304 for its tag, also a weak one or one of several; whole once it changed."""
    path = f"/runs/{five[0]}"
    tag = client.get(path).headers["etag"]
    for told in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = client.get(path, headers={"If-None-Match": told})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    assert client.patch(path, json={"note": "new"}).status_code == 200
    changed = client.get(path, headers={"If-None-Match": tag})
    assert (changed.status_code, changed.json()["note"]) == (200, "new")
    _settled(client, five[0], "note", "new")
    for where in ("/runs", "/scenarios", f"{path}/events", f"{path}/log", "/alerts"):
        tag = client.get(where).headers["etag"]
        again = client.get(where, headers={"If-None-Match": tag})
        assert (where, again.status_code) == (where, 304)


def test_nobody_undoes_what_they_did_not_see(five: list[str], client: TestClient) -> None:
    """A change or a deletion that names an old tag is refused; nothing is done."""
    path = f"/runs/{five[0]}"
    seen = client.get(path).headers["etag"]
    first = client.patch(path, json={"note": "mine"}, headers={"If-Match": seen})
    assert first.status_code == 200
    late = client.patch(path, json={"note": "yours"}, headers={"If-Match": seen})
    assert (late.status_code, late.json()["code"]) == (412, "FLIP-705")
    gone = client.delete(path, headers={"If-Match": seen})
    assert gone.status_code == 412
    nonsense = client.patch(path, json={"note": "x"}, headers={"If-Match": "nonsense"})
    assert (nonsense.status_code, nonsense.json()["code"]) == (422, "FLIP-703")
    assert client.get(path).json()["note"] == "mine"
    tag = first.headers["etag"]
    assert client.delete(path, headers={"If-Match": f'"x", {tag}'}).status_code == 204


def test_what_people_say_of_a_run(
    five: list[str], client: TestClient, lab_dir: LabDir
) -> None:
    """What is left out stays; what is so already is not said again; all in their name."""
    path = f"/runs/{five[0]}"
    assert client.patch(path, json={"tags": ["b", "a", "b"]}).json()["tags"] == ["a", "b"]
    assert client.patch(path, json={"note": "n"}).json()["tags"] == ["a", "b"]
    assert client.patch(path, json={"tags": ["a"], "note": "n"}).json()["tags"] == ["a"]
    assert client.patch(path, json={}).json()["note"] == "n"
    assert client.patch(path, json={"tags": []}).json()["tags"] == []
    rows = query.sql(lab_dir, "SELECT author, action FROM audit", as_="rows")
    assert [row["action"] for row in rows] == ["tag", "note", "untag", "untag"]
    assert {row["author"] for row in rows} == {"ada"}
    for bad in ({"tags": [""]}, {"tags": ["a\nb"]}, {"colour": 1}, {"note": 1}):
        assert client.patch(path, json=bad).status_code == 422


def test_the_trash(five: list[str], client: TestClient, lab_dir: LabDir) -> None:
    """A deleted run is nowhere at once; the lab can bring it back."""
    assert client.delete(f"/runs/{five[1]}").status_code == 204
    assert ids(client.get("/runs")) == [five[0], *five[2:]]
    answer = client.get(f"/runs/{five[1]}")
    assert (answer.status_code, answer.json()["code"]) == (404, "FLIP-301")
    assert client.delete(f"/runs/{five[1]}").status_code == 404
    Lab(lab_dir.root).undelete(five[1])
    assert client.get(f"/runs/{five[1]}").status_code == 200


PATHS = [
    *("", "/events", "/metrics", "/rounds", "/clients", "/client-metrics", "/settings"),
    *("/log", "/artifacts", "/artifacts/model", "/report", "/commands"),
]


@pytest.mark.parametrize("path", PATHS)
def test_unknown_runs_are_not_found(path: str, client: TestClient) -> None:
    """Whatever is asked of them; no path leaves the lab."""
    for run_id in ("nope", "..", "%2e%2e", "%00", "..%2f..%2fetc", "a" * 3000):
        answer = client.get(f"/runs/{run_id}{path}")
        if answer.status_code == 200:  # ".." is another path than it seems
            assert answer.request.url.path.count("/") < 5
            continue
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


def test_facts_are_the_tables_rows(five: list[str], client: TestClient) -> None:
    """Names and values are those of the tables; filters leave out what does not fit."""
    path = f"/runs/{five[0]}"
    metrics = client.get(f"{path}/metrics").json()["items"]
    assert [(m["server_round"], m["name"], m["value"]) for m in metrics] == [
        (1, "train_loss", 0.5),
        (1, "eval_accuracy", 0.5),
        (2, "train_loss", 0.5),
        (2, "eval_accuracy", 0.5),
    ]
    some = client.get(f"{path}/metrics?name=train_loss&server_round=2").json()["items"]
    assert [(m["server_round"], m["name"]) for m in some] == [(2, "train_loss")]
    clients = client.get(f"{path}/clients?partition_id=1&server_round=2").json()["items"]
    assert [(c["node_id"], c["metrics"]) for c in clients] == [(101, {"train_loss": 2.1})]
    numbers = client.get(f"{path}/client-metrics?limit=1000").json()["items"]
    assert len(numbers) == 6
    rounds = client.get(f"{path}/rounds").json()["items"]
    assert [r["num_clients"] for r in rounds] == [3, 3]
    assert client.get(f"{path}/metrics?phase=lunch").status_code == 422


def test_events_go_on_where_they_stopped(five: list[str], client: TestClient) -> None:
    """Pieces add up to the whole, also when most kinds are left out."""
    path = f"/runs/{five[0]}/events"
    whole = client.get(path).json()
    assert [e["sequence"] for e in whole["items"]] == list(range(len(whole["items"])))
    assert whole["is_more"] is False
    found, after = list[dict[str, Any]](), -1
    for _ in range(100):
        piece = client.get(path, params={"after": after, "limit": 3}).json()
        found += piece["items"]
        after = piece["reached"]
        if not piece["is_more"]:
            break
    assert found == whole["items"]
    states = client.get(path, params={"kind": "state"}).json()
    assert [e["body"]["state"] for e in states["items"]][-1] == "completed"
    assert states["reached"] == whole["items"][-1]["sequence"]
    last = client.get(path, params={"after": after}).json()
    assert (last["items"], last["reached"]) == ([], after)


def test_what_an_ended_run_refuses(five: list[str], client: TestClient) -> None:
    """Commands to it are conflicts; to stop it again is fine."""
    path = f"/runs/{five[0]}/commands"
    for wish in (
        {"command": "pause"},
        {"command": "step", "num_rounds": 2},
        {"command": "set", "values": {"learning_rate": 0.1}},
        {"command": "set_policy", "changes": {"deadline_s": 2, "quorum": None}},
        {"command": "exclude", "nodes": [1]},
        {"command": "stop_when", "condition": "train_loss < 1"},
        {"command": "break_when", "condition": "always"},
    ):
        answer = client.post(path, json=wish)
        assert (wish, answer.status_code) == (wish, 409)
        assert answer.json()["code"] == "FLIP-310"
    assert client.post(path, json={"command": "stop"}).json()["is_taken"] is True
    assert client.post(f"/runs/{five[0]}/resume", json={}).json()["code"] == "FLIP-302"
    assert client.post(f"/runs/{five[0]}/fork", json={}).json()["code"] == "FLIP-308"


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"command": "fly"},
        {"command": "pause", "why": "x"},
        {"command": "step", "num_rounds": 0},
        {"command": "set"},
        {"command": "set", "values": {}},
        {"command": "set_policy"},
        {"command": "set_policy", "changes": {"deadline_s": 0}},
        {"command": "set_policy", "changes": {"patience": 1}},
        {"command": "exclude", "nodes": []},
        {"command": "exclude", "nodes": [-1]},
        {"command": "break_when", "function": "Z2FybGljAA=="},
        {"command": "break_when", "condition": "always", "function": "Z2FybGljAA=="},
        {"command": "stop_when", "patience": 0},
    ],
)
def test_what_is_no_command(
    wish: dict[str, Any], five: list[str], client: TestClient
) -> None:
    """It is refused before any run hears of it; nobody sends code."""
    answer = client.post(f"/runs/{five[0]}/commands", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (422, "FLIP-703")
