"""Scenarios, SQL, nodes, alerts, groups and the reference, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from fastapi import FastAPI

import flip_lab
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.fl.scenarios import scenario_text
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.run import Run
from flip_lab.store.journal import JournalWriter, last_sequence
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient

MakeRun = Callable[..., Run]


def test_the_gallery(client: TestClient) -> None:
    """Each scenario with what a card shows, and a picture beside it."""
    cards = client.get("/scenarios").json()["items"]
    assert [card["name"] for card in cards] == sorted(card["name"] for card in cards)
    hearts = next(card for card in cards if card["name"] == "hospitals")
    assert (hearts["num_nodes"], hearts["strategy"]) == (4, "FedAvg")
    picture = client.get(f"/{hearts['picture']}")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "script" not in picture.text


def test_a_scenario_whole(client: TestClient) -> None:
    """Its file as it is written, its fields with ranges, its picture in words."""
    told = client.get("/scenarios/hospitals").json()
    assert told["toml"] == scenario_text("hospitals")
    fields = {field["path"]: field for field in told["fields"]}
    assert (fields["seed"]["kind"], fields["seed"]["least"]) == ("integer", 0)
    assert "4 nodes" in told["words"]
    assert len(told["expectations"]) == 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_picture_is_drawn_for_a_page(client: TestClient, theme: str) -> None:
    """A drawing that says in words what it shows, in the page's colours."""
    picture = client.get(f"/scenarios/hospitals/picture.svg?theme={theme}")
    tree = ET.fromstring(picture.text)  # noqa: S314  # our own
    space = "{http://www.w3.org/2000/svg}"
    assert tree.find(f"{space}title") is not None
    words = tree.find(f"{space}desc")
    assert words is not None
    assert "920 examples" in str(words.text)
    assert len(tree.findall(f"{space}g")) == 4
    assert ("#16181D" in picture.text) is (theme == "dark")


@pytest.mark.parametrize(
    "name", ["nope", "..%2f..%2fpyproject", "%2fetc%2fpasswd", "hospitals.toml"]
)
def test_only_names_open_scenarios(client: TestClient, name: str) -> None:
    """No path of the machine is opened, neither to look nor to launch."""
    answer = client.get(f"/scenarios/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "FLIP-709")
    launch = client.post("/runs", json={"scenario": name.replace("%2f", "/")})
    assert (launch.status_code, launch.json()["code"]) == (422, "FLIP-101")


def test_a_text_is_checked(client: TestClient) -> None:
    """A scenario comes back whole; what is wrong has its code and its place."""
    text = scenario_text("hospitals")
    good = client.post(
        "/scenarios/check", json={"toml": text, "overrides": {"train.num_rounds": 3}}
    )
    assert good.json()["scenario"]["train"]["num_rounds"] == 3
    whole = client.post("/scenarios/check", json={"toml": good.json()["toml"]}).json()
    assert whole["fingerprint"] == good.json()["fingerprint"]
    for bad, code in (
        ("name = ", "FLIP-100"),
        (text.replace("num_rounds", "num_round"), "FLIP-102"),
        (text.replace("learning_rate = 0.1", "learning_rate = -1"), "FLIP-103"),
        (text.replace('"natural"', '"unnatural"'), "FLIP-101"),
        ("a = " + "[" * 5000, "FLIP-100"),
    ):
        answer = client.post("/scenarios/check", json={"toml": bad})
        assert (answer.status_code, answer.json()["code"]) == (422, code)


def ask_sql(client: TestClient, statement: str, **more: Any) -> Any:  # noqa: ANN401  # JSON
    """Ask in SQL."""
    return client.post("/sql", json={"statement": statement, **more})


def test_sql_answers(make_run: MakeRun, client: TestClient) -> None:
    """Columns with types, rows by position, the numbers that JSON lacks as texts."""
    make_run("run-1")
    answer = ask_sql(
        client,
        "SELECT run_id, $x AS a, 'nan'::DOUBLE AS b, created_at AS c, tags FROM runs",
        parameters={"x": 7},
    ).json()
    assert [column["name"] for column in answer["columns"]] == [
        *("run_id", "a", "b", "c", "tags")
    ]
    assert answer["rows"] == [["run-1", 7, "NaN", "2023-11-14T22:13:21Z", []]]
    cut = ask_sql(client, "FROM range(10)", limit=3).json()
    assert (len(cut["rows"]), cut["is_cut"]) == (3, True)
    all_of_them = ask_sql(client, "FROM range(10)", limit=10).json()
    assert (len(all_of_them["rows"]), all_of_them["is_cut"]) == (10, False)
    odd = ask_sql(
        client, "SELECT 2::HUGEINT ** 100 AS h, 'x'::BLOB AS b, uuid() AS u, [1, NULL] AS l"
    )
    assert odd.status_code == 200


@pytest.mark.parametrize(
    "statement",
    [
        "FROM read_csv('/etc/passwd')",
        "FROM read_text('/etc/passwd')",
        "FROM glob('/etc/*')",
        "FROM '/etc/passwd'",
        "FROM read_parquet('/etc/passwd')",
        "FROM read_json('/etc/passwd')",
        "COPY (SELECT 1) TO '/tmp/stolen'",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CREATE TABLE mine AS SELECT 1",
        "DELETE FROM runs",
        "DROP VIEW runs",
        "SELECT 1; SELECT 2",
        "SELECT getenv('HOME')",
        "CALL pragma_version()",
        "EXPORT DATABASE '/tmp/stolen'",
        "SELECT",
        ";",
    ],
)
def test_sql_reaches_no_file_and_changes_nothing(
    client: TestClient, statement: str
) -> None:
    """Whatever is more than a question about the lab's tables is refused."""
    answer = ask_sql(client, statement)
    assert (answer.status_code, answer.json()["code"]) == (422, "FLIP-403")
    assert "root:" not in answer.text


def test_sql_has_an_end(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that takes too long is stopped; the next one is answered."""
    slow = "SELECT count(*) FROM range(100000000000) t(a) WHERE a % 7 = 3"
    with monkeypatch.context() as patch:
        patch.setattr("flip_lab.api.routes.sql._LONGEST_S", 0.2)
        answer = ask_sql(client, slow)
    assert (answer.status_code, answer.json()["code"]) == (422, "FLIP-403")
    assert "stopped" in answer.json()["detail"]
    assert ask_sql(client, "SELECT 1").json()["rows"] == [[1]]


def test_alerts_are_newest_first(
    make_run: MakeRun, lab_dir: LabDir, client: TestClient
) -> None:
    """Failed runs and warnings, with their codes; archived runs alarm nobody."""
    make_run("run-1", state=RunState.FAILED)
    make_run("run-2", state=RunState.FAILED)
    make_run("run-3")
    writer = JournalWriter(lab_dir, "run-3", role="keeper")
    recorder = Recorder("run-3", writer, first=last_sequence(lab_dir, "run-3") + 1)
    body = {"code": "FLIP-314", "message": "A callback raised."}
    recorder.emit(EventKind.WARNING, body, server_round=2)
    recorder.close()
    assert client.patch("/runs/run-2", json={"is_archived": True}).status_code == 200
    found = client.get("/alerts").json()["items"]
    assert [(a["run_id"], a["level"], a["code"]) for a in found] == [
        ("run-3", "warning", "FLIP-314"),
        ("run-1", "error", ""),
    ]
    assert found[0]["server_round"] == 2
    first = client.get("/alerts?limit=1").json()
    second = client.get("/alerts", params={"limit": 1, "cursor": first["next_cursor"]})
    assert [first["items"][0], *second.json()["items"]] == found


def test_nodes_of_a_run(make_run: MakeRun, client: TestClient) -> None:
    """One row a node: what it did and when it was seen last."""
    make_run("run-1")
    found = client.get("/nodes?run_id=run-1").json()["items"]
    assert [(n["node_id"], n["partition_id"], n["num_rounds"]) for n in found] == [
        (100, 0, 2),
        (101, 1, 2),
        (102, 2, 2),
    ]
    assert {(n["bytes_up"], n["num_failed"], n["num_examples"]) for n in found} == {
        (40, 0, 8.0)
    }
    assert client.get("/nodes").json()["items"] == []  # nothing is under way
    assert client.get("/nodes?run_id=nope").status_code == 404


def test_groups(make_run: MakeRun, client: TestClient) -> None:
    """Experiments and sweeps; a sweep with its runs, whatever its name holds."""
    make_run("run-1", experiment="hearts", sweep="a/b c")
    make_run("run-2", experiment="hearts", sweep="a/b c")
    make_run("run-3", experiment="digits")
    experiments = client.get("/experiments").json()["items"]
    assert [(e["experiment"], e["num_runs"]) for e in experiments] == [
        ("digits", 1),
        ("hearts", 2),
    ]
    assert [s["sweep"] for s in client.get("/sweeps").json()["items"]] == ["a/b c"]
    assert client.get("/sweeps/a/b c").json()["run_ids"] == ["run-1", "run-2"]
    assert client.get("/sweeps/x").json()["code"] == "FLIP-709"


def test_places(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:  # noqa: ANN401  # a path
    """Engines first, then the federations of the nearest file."""
    (tmp_path / "flip-lab.toml").write_text(
        '[federations.hospitals]\naddress = "hub.example.org:8000"\n'
        'superexec-secret = "secret"\n'
    )
    monkeypatch.chdir(tmp_path)
    found = client.get("/federations").json()["items"]
    assert {"auto", "ray"} <= {p["name"] for p in found if p["kind"] == "engine"}
    assert found[-1] == {
        "name": "hospitals",
        "kind": "federation",
        "address": "hub.example.org:8000",
        "is_secure": False,
    }


def test_kept_files_do_nothing_in_a_page(make_run: MakeRun, client: TestClient) -> None:
    """HTML of an app is an attachment in a sandbox; an image is shown."""
    run = make_run("run-1")
    run.add_artifact("evil.html", b"<script>alert(1)</script>", media_type="text/html")
    run.add_artifact("a/plot ä.png", b"\x89PNG", media_type="image/png")
    run.add_artifact("odd", b"x", media_type="text/html\r\nX-Evil: 1")
    page = client.get("/runs/run-1/artifacts/evil.html")
    assert page.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    image = client.get("/runs/run-1/artifacts/a/plot ä.png")
    assert image.headers["content-disposition"].startswith("inline")
    assert image.content == b"\x89PNG"
    odd = client.get("/runs/run-1/artifacts/odd")
    assert odd.headers["content-type"] == "application/octet-stream"
    assert "x-evil" not in odd.headers
    known = client.get(
        "/runs/run-1/artifacts/odd", headers={"If-None-Match": odd.headers["etag"]}
    )
    assert known.status_code == 304
    names = [row["name"] for row in client.get("/runs/run-1/artifacts").json()["items"]]
    assert names == ["evil.html", "a/plot ä.png", "odd"]


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=-2", 206, b"89"),
        ("bytes=8-", 206, b"89"),
        ("bytes=8-100", 206, b"89"),
        ("bytes=10-", 416, None),
        ("bytes=5-2", 422, None),
        ("lines=1-2", 422, None),
        ("bytes=", 422, None),
    ],
)
def test_ranges(
    asked: str, status: int, content: bytes | None, make_run: MakeRun, client: TestClient
) -> None:
    """Parts of a file; what is not there is told as a problem."""
    make_run("run-1").add_artifact("digits", b"0123456789")
    answer = client.get("/runs/run-1/artifacts/digits", headers={"Range": asked})
    assert answer.status_code == status
    if content is None:
        assert answer.headers["content-type"] == "application/problem+json"
    else:
        assert answer.content == content


def test_every_operation_is_described(app: FastAPI) -> None:
    """Each says what it does and all that it may answer, problems included."""
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == flip_lab.__version__
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    assert "Attributes:" not in text
    operations = [
        (path, operation)
        for path, methods in document["paths"].items()
        for operation in methods.values()
    ]
    names = [operation["operationId"] for _, operation in operations]
    assert len(names) == len(set(names))
    for path, operation in operations:
        assert operation["description"], path
        answers = operation["responses"]
        assert path.endswith("/health") or {"422", "500"} <= answers.keys(), path
        for status, answer in answers.items():
            is_problem = "application/problem+json" in answer.get("content", ())
            assert is_problem is (status >= "400"), (path, status)


def test_a_fault_of_ours_is_a_problem_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it is our fault, and nothing of what was inside."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("flip_lab.api.routes.alerts.alert_page", broken)
    answer = client.get("/alerts")
    assert (answer.status_code, answer.json()["code"]) == (500, "FLIP-700")
    assert "secret" not in answer.text
