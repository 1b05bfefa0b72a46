"""SQL over a lab says exactly what the journals hold, and can do no harm."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pandas as pd
import pyarrow as pa
import pytest

from flip_lab.core.errors import QueryError, StoreError
from flip_lab.core.events import ClientFact, EventKind, RunEvent
from flip_lab.store import snapshot
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.compaction import compact, reopen
from flip_lab.store.events import read_events
from flip_lab.store.frames import encode
from flip_lab.store.journal import RESUMER, JournalWriter, journals
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic
from flip_lab.store.manifest import read_manifest
from flip_lab.store.query import connect, sql, table
from flip_lab.store.registered import REGISTER
from flip_lab.store.schema import TABLES

T0 = 1_700_000_000.0
BIG = 2**64 - 1
ODD = 'a "b"\n\x00\'é😀'


def at(seconds: float) -> datetime:
    """Give the moment so many seconds after the first event."""
    return datetime.fromtimestamp(T0 + seconds, UTC)


FACT = ClientFact(
    phase="train",
    node_id=BIG,
    partition_id=0,
    num_examples=10.0,
    started_s=T0 + 2,
    duration_s=0.25,
    bytes_down=100,
    bytes_up=2**40,
    metrics={"train_loss": math.nan, ODD: -math.inf},
)
FAILURE = replace(
    FACT,
    node_id=7,
    partition_id=-1,
    num_examples=0.0,
    started_s=math.nan,
    duration_s=math.inf,
    metrics={},
    error_code=503,
    error="boom\n" + ODD,
)
EVALUATION = replace(FACT, phase="evaluate", bytes_up=8, metrics={"train_loss": 0.5})

STORY: list[tuple[int, EventKind, dict[str, Any]]] = [
    (0, EventKind.STATE, {"state": "starting"}),
    (0, EventKind.LINEAGE, {"data_sha256": "dd", "partition_sha256": "pp"}),
    (0, EventKind.STATE, {"state": "running"}),
    (1, EventKind.ROUND_STARTED, {"num_rounds": 2}),
    (1, EventKind.CLIENT, FACT.body()),
    (1, EventKind.CLIENT, FAILURE.body()),
    (1, EventKind.CLIENT, EVALUATION.body()),
    (
        1,
        EventKind.METRIC,
        {"phase": "train", "scope": "federated", "name": ODD, "value": math.nan},
    ),
    (1, EventKind.ROUND_ENDED, {"duration_s": 5.5}),
    (2, EventKind.ROUND_STARTED, {"num_rounds": 2}),
    (
        2,
        EventKind.METRIC,
        {"phase": "evaluate", "scope": "central", "name": "x", "value": -math.inf},
    ),
    (
        2,
        EventKind.ARTIFACT,
        {"name": "model", "sha256": "mm", "size_bytes": 2**41, "media_type": "m"},
    ),
    (
        2,
        EventKind.ARTIFACT,
        {"name": "log", "sha256": "ll", "size_bytes": 1, "media_type": "t"},
    ),
    (
        2,
        EventKind.LOGGED,
        {
            "phase": "train",
            "node_id": 2**64 - 1,
            "partition_id": 2,
            "name": ODD,
            "type": "histogram",
            "value": {"edges": [0.0, 1.0], "counts": [3], "num_not_finite": 1},
        },
    ),
    (
        2,
        EventKind.LOGGED,
        {
            "phase": "evaluate",
            "node_id": None,
            "partition_id": None,
            "name": "picture",
            "type": "image",
            "value": {"width": 2, "height": 3, "size_bytes": 70},
            "sha256": "ss",
        },
    ),
    (2, EventKind.RESOURCE, {"cpu_percent": 150.5, "rss_mib": 812}),
    (2, EventKind.SETTINGS, {"train": {"lr": 0.1, ODD: "x"}, "excluded": [3]}),
    (2, EventKind.CONTROL, {"id": "c", "command": "pause", "author": ODD}),
    (
        2,
        EventKind.STATE,
        {
            "state": "failed",
            "code": "FLIP-304",
            "what": "It broke.",
            "fix": "f",
            "detail": "",
        },
    ),
]
RUN = {
    "run_id": "a",
    "name": "Größe",
    "kind": "scenario",
    "sweep": "grid",
    "created_s": T0 - 1,
    "seed": 2**32 - 1,
    "num_rounds": 2,
    "num_nodes": 3,
    "engine": "ray",
    "federation": None,
    "workers": 4,
    "scenario": {"name": ODD},
    "scenario_fingerprint": "ff",
    "overrides": {"lr": 0.1},
    "lineage": {"git_commit": "cc", "git_dirty": False, "app_sha256": None, "flwr": "1"},
}


def keep(
    lab: LabDir, run_id: str, story: list[tuple[int, EventKind, dict[str, Any]]]
) -> None:
    """Write a run's journal, in two batches, one second for each event."""
    events = [
        RunEvent(
            run_id=run_id,
            sequence=sequence,
            time_s=T0 + sequence,
            server_round=server_round,
            kind=kind,
            body=body,
        )
        for sequence, (server_round, kind, body) in enumerate(story)
    ]
    with closing(JournalWriter(lab, run_id)) as writer:
        writer.append(events[:5])
        writer.append(events[5:])


VERSION = {
    "model": ODD,
    "version": 1,
    "sha256": "0" * 64,
    "size_bytes": 8,
    "lineage": {"artifact": "model", "metrics": {}, "num_parameters": 2},
    "tags": [],
    "note": "",
}


@pytest.fixture(params=["journal", "sealed", "reopened"])
def told(lab: LabDir, request: pytest.FixtureRequest) -> LabDir:
    """Give a lab with one run that failed, and one that has only been launched.

    However facts are kept, and whatever is moved: the tables say the same.
    """
    keep(lab, "a", STORY)
    write_json_atomic(lab.run_dir("a") / "run.json", RUN)
    pending = RUN | {"run_id": "b", "num_rounds": None, "scenario": None, "lineage": {}}
    write_json_atomic(lab.run_dir("b") / "run.json", pending)
    append_audit(lab, "tag", run_ids=["a"], body={"tags": ["odd", ODD]})
    append_audit(lab, REGISTER, run_ids=["a"], body=VERSION)
    if request.param != "journal":
        assert compact(lab, ["a"], grace_s=0.0).num_sealed == 1
        assert not lab.live_dir("a").exists()
    if request.param == "reopened":
        reopen(lab, "a")
    return lab


def plain(value: object) -> object:
    """Make NaN comparable."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def rows(lab: LabDir, name: str) -> list[dict[str, Any]]:
    """Give a table as comparable rows."""
    return [
        {key: plain(value) for key, value in row.items()}
        for row in table(lab, name, as_="rows")
    ]


def test_runs_tell_where_each_run_stands(told: LabDir) -> None:
    """One run failed and kept a model; the other waits."""
    failed, pending = rows(told, "runs")
    assert failed == {
        "run_id": "a",
        "name": "Größe",
        "kind": "scenario",
        "state": "failed",
        "engine": "ray",
        "federation": None,
        "seed": 2**32 - 1,
        "num_rounds": 2,
        "rounds_done": 1,
        "num_nodes": 3,
        "workers": 4,
        "created_at": at(-1),
        "started_at": at(0),
        "ended_at": at(len(STORY) - 1),
        "scenario": '{"name":"a \\"b\\"\\n\\u0000\'é😀"}',
        "scenario_fingerprint": "ff",
        "experiment": "Größe",
        "sweep": "grid",
        "tags": sorted(["odd", ODD]),
        "note": "",
        "is_archived": False,
        "overrides": '{"lr":0.1}',
        "git_commit": "cc",
        "git_dirty": False,
        "data_sha256": "dd",
        "partition_sha256": "pp",
        "app_sha256": None,
        "parent_run_id": None,
        "forked_at_round": None,
        "model_sha256": "mm",
        "error_code": "FLIP-304",
        "error": "It broke.",
    }
    assert pending["state"] == "pending"
    assert pending["rounds_done"] == 0
    assert [k for k, v in pending.items() if v is None] == [
        "federation",
        "num_rounds",
        "started_at",
        "ended_at",
        "scenario",
        "git_commit",
        "git_dirty",
        "data_sha256",
        "partition_sha256",
        "app_sha256",
        "parent_run_id",
        "forked_at_round",
        "model_sha256",
        "error_code",
        "error",
    ]


def test_an_apps_rounds_are_known_once_it_has_begun(lab: LabDir) -> None:
    """What the launcher did not know the first round tells; the run is still running."""
    write_json_atomic(lab.run_dir("a") / "run.json", RUN | {"num_rounds": None})
    keep(lab, "a", STORY[:9])
    [run] = rows(lab, "runs")
    assert (run["num_rounds"], run["rounds_done"], run["state"]) == (2, 1, "running")
    assert (run["ended_at"], run["error"], run["model_sha256"]) == (None, None, None)


def test_rounds_add_up_their_clients(told: LabDir) -> None:
    """A node counts once in a round, and fails if it failed in any phase."""
    first, second = rows(told, "rounds")
    assert first == {
        "run_id": "a",
        "server_round": 1,
        "started_at": at(3),
        "ended_at": at(8),
        "duration_s": 5.5,
        "num_clients": 2,
        "num_failed": 1,
        "bytes_down": 300,
        "bytes_up": 2 * 2**40 + 8,
    }
    assert second == {
        "run_id": "a",
        "server_round": 2,
        "started_at": at(9),
        "ended_at": None,
        "duration_s": None,
        "num_clients": 0,
        "num_failed": 0,
        "bytes_down": 0,
        "bytes_up": 0,
    }


def test_metrics_keep_every_number(told: LabDir) -> None:
    """NaN and the infinities of diverged runs are values."""
    assert [tuple(row.values()) for row in rows(told, "metrics")] == [
        ("a", 7, at(7), 1, "train", "federated", ODD, "NaN"),
        ("a", 10, at(10), 2, "evaluate", "central", "x", -math.inf),
    ]


def test_clients_keep_every_fact(told: LabDir) -> None:
    """The largest node id, odd names and numbers that JSON lacks come through."""
    good, failed, evaluated = rows(told, "clients")
    assert good == {
        "run_id": "a",
        "sequence": 4,
        "time_at": at(4),
        "server_round": 1,
        "phase": "train",
        "node_id": BIG,
        "partition_id": 0,
        "num_examples": 10.0,
        "started_at": at(2),
        "duration_s": 0.25,
        "bytes_down": 100,
        "bytes_up": 2**40,
        "metrics": {"train_loss": "NaN", ODD: -math.inf},
        "error_code": 0,
        "error": "",
        "digest": "",
    }
    assert failed["started_at"] is None
    assert failed["duration_s"] == math.inf
    assert failed["metrics"] == {}
    assert (failed["error_code"], failed["error"]) == (503, "boom\n" + ODD)
    assert (evaluated["phase"], evaluated["bytes_up"]) == ("evaluate", 8)


def test_client_metrics_are_the_long_form(told: LabDir) -> None:
    """One row for each number of each client; a client without numbers has none."""
    assert [tuple(row.values()) for row in rows(told, "client_metrics")] == [
        ("a", 1, "evaluate", BIG, 0, 10.0, "train_loss", 0.5),
        ("a", 1, "train", BIG, 0, 10.0, ODD, -math.inf),
        ("a", 1, "train", BIG, 0, 10.0, "train_loss", "NaN"),
    ]


def test_events_are_the_whole_stream(told: LabDir) -> None:
    """Every event is there once, and SQL can take its body apart."""
    events = rows(told, "events")
    assert [event["sequence"] for event in events] == list(range(len(STORY)))
    assert [event["kind"] for event in events] == [kind.value for _, kind, _ in STORY]
    query = """
        SELECT (body->>'value')::DOUBLE AS value, (body->>'node_id')::UBIGINT AS node_id,
            (body->'metrics'->>'train_loss')::DOUBLE AS loss, body->>'state' AS state
        FROM events WHERE sequence IN (4, 7, 10, ?) ORDER BY sequence
    """
    last = [len(STORY) - 1]
    client, nan, infinite, state = sql(told, query, last, as_="rows")
    assert client["node_id"] == BIG
    assert math.isnan(client["loss"])
    assert math.isnan(nan["value"])
    assert infinite["value"] == -math.inf
    assert state["state"] == "failed"


def test_artifacts_list_what_was_kept(told: LabDir) -> None:
    """Each kept file has its hash and size."""
    assert [tuple(row.values()) for row in rows(told, "artifacts")] == [
        ("a", 11, 2, "model", "mm", 2**41, "m"),
        ("a", 12, 2, "log", "ll", 1, "t"),
    ]


def test_only_nullable_columns_miss_values(told: LabDir) -> None:
    """The schema tells the truth about what may be missing."""
    for name, described in TABLES.items():
        found = table(told, name, as_="arrow")
        assert found.num_rows > 0
        for column in described.columns:
            assert column.nullable or found[column.name].null_count == 0, (
                name,
                column.name,
            )


@pytest.mark.parametrize("is_empty", [True, False])
def test_columns_are_the_schemas(told: LabDir, tmp_path: Path, *, is_empty: bool) -> None:
    """Names, order and types are as described, in an empty lab as well."""
    lab = open_lab(tmp_path / "empty") if is_empty else told
    with closing(connect(lab)) as connection:
        for name, described in TABLES.items():
            rows = connection.execute(f"DESCRIBE {name}").fetchall()
            columns = [(column, found) for column, found, *_ in rows]
            assert columns == [
                (column.name, column.sql_type.replace("TZ", " WITH TIME ZONE"))
                for column in described.columns
            ]
            assert is_empty == (not connection.table(name).to_arrow_table().num_rows)


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_lab_has_empty_frames(lab: LabDir, name: str) -> None:
    """Before the first run every table is there, with its columns and without rows."""
    frame = table(lab, name)
    assert frame.empty
    assert list(frame.columns) == [column.name for column in TABLES[name].columns]
    kinds = {
        str(dtype)
        for column, dtype in frame.dtypes.items()
        if column not in {"metrics", "tags"}
    }
    assert "object" not in kinds


def test_frames_have_sensible_types(told: LabDir) -> None:
    """No column is a heap of objects where pandas has a type for it."""
    objects = {
        (name, column)
        for name in TABLES
        for column, dtype in table(told, name).dtypes.items()
        if str(dtype) == "object"
    }
    lists = {("runs", "tags"), ("models", "tags")}
    assert objects == {("clients", "metrics"), *lists}
    clients = table(told, "clients")
    assert str(clients["time_at"].dtype) == "datetime64[us, UTC]"
    assert clients["node_id"].tolist() == [BIG, 7, BIG]
    assert clients["metrics"][1] == {}
    runs = table(told, "runs")
    assert str(runs["num_rounds"].dtype) == "Int32"
    assert str(runs["git_dirty"].dtype) == "boolean"
    assert pd.isna(runs["federation"]).all()


def test_sums_of_integers_are_integers(told: LabDir) -> None:
    """DuckDB's 128-bit sums do not come out as objects; beyond 64 bits they are floats."""
    query = (
        "SELECT sum(bytes_up) AS bytes_up, sum(node_id) AS ids, avg(bytes_up) FROM clients"
    )
    frame = sql(told, query)
    assert frame["bytes_up"].tolist() == [2 * 2**40 + 8]
    assert frame["bytes_up"].dtype == "int64"
    assert frame["ids"].tolist() == [float(2 * BIG + 7)]
    assert isinstance(sql(told, query, as_="rows")[0]["bytes_up"], int)


def test_parameters_are_values(told: LabDir) -> None:
    """Values go beside the text, by position or by name."""
    query = "SELECT value FROM metrics WHERE name = "
    assert sql(told, query + "?", [ODD])["value"].isna().tolist() == [True]
    assert sql(told, query + "$name", {"name": "x"})["value"].tolist() == [-math.inf]
    assert sql(told, query + "?", ["x'; DROP TABLE metrics; --"]).empty


@pytest.mark.parametrize(
    "query",
    [
        "FROM METRICS",
        'SELECT * FROM main."Metrics"',
        "WITH m AS (FROM metrics) SELECT * FROM m",
        "SELECT * FROM query_table('metrics')",
        "PIVOT metrics ON phase USING max(value) GROUP BY sequence",
    ],
)
def test_a_table_is_filled_however_it_is_named(told: LabDir, query: str) -> None:
    """Only the tables that a query names are filled: it must never miss one."""
    assert len(sql(told, query)) == 2


def test_reading_statements_answer(told: LabDir) -> None:
    """What looks at tables without a SELECT works as well."""
    assert sql(told, "SHOW TABLES")["name"].tolist() == sorted(TABLES)
    assert len(sql(told, "DESCRIBE clients")) == 16
    assert len(sql(told, "SUMMARIZE metrics")) == 8
    assert len(sql(told, "EXPLAIN SELECT * FROM runs")) == 1
    assert isinstance(sql(told, "SELECT 1 AS one", as_="arrow"), pa.Table)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM metrics",
        "WITH gone AS (DELETE FROM metrics RETURNING *) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM metrics",
        "CREATE TABLE mine AS SELECT 1",
        "DROP TABLE runs",
        "ATTACH '{path}/other.duckdb'",
        "COPY metrics TO '{path}/metrics.csv'",
        "EXPORT DATABASE '{path}/export'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 64",
        "RESET lock_configuration",
        "PRAGMA threads = 64",
        "CALL pragma_version()",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_json('{path}/live/a/*.jsonl')",
        "SELECT 1; DELETE FROM metrics",
        "",
    ],
)
def test_a_query_can_only_read_the_tables(told: LabDir, statement: str) -> None:
    """Writing, other files, extensions and settings are refused with a reason."""
    before = sorted(told.root.rglob("*"))
    with pytest.raises(QueryError, match="Fix: "):
        sql(told, statement.format(path=told.root))
    assert sorted(told.root.rglob("*")) == before


@pytest.mark.parametrize(
    "statement",
    [
        "COPY runs TO '{path}/runs.csv'",
        "ATTACH '{path}/other.duckdb'",
        "SELECT * FROM read_text('/etc/passwd')",
        "SET enable_external_access = true",
        "SET threads = 64",
    ],
)
def test_a_connection_reaches_no_file(told: LabDir, statement: str) -> None:
    """A connection of the user's own is as harmless."""
    with closing(connect(told)) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchall() == [
            (len(STORY),)
        ]
        with pytest.raises(duckdb.Error):
            connection.execute(statement.format(path=told.root))
        secret = pd.DataFrame({"x": [1]})
        with pytest.raises(duckdb.CatalogException):
            connection.execute("SELECT * FROM secret")
        assert len(secret) == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "SELECT * FROM metric",
            ["metric", "Did you mean 'metrics'?", "client_metrics, clients"],
        ),
        ("SELECT vlaue FROM metrics", ["vlaue", "Did you mean 'value'?", "server_round"]),
        ("SELECT m.valu FROM metrics m", ["valu", "Did you mean 'value'?"]),
        ("SELECT run_id,\n  frm\nFROM runs", ["\nfrm"]),
        ("SELEC 1", ["LINE 1: SELEC 1", "^^^^^", "the lab's tables are runs, rounds"]),
        ("SELECT 'x'::INTEGER", ["LINE 1", "'x'"]),
        ("SELECT * FROM metrics WHERE name = ?", ["parameters"]),
        ("SELECT 1; SELECT 2", ["2 statements"]),
        ("DROP TABLE runs", ["DROP", "Write a SELECT"]),
        ("FROM read_text('/etc/passwd')", ["merge the frames"]),
    ],
)
def test_a_wrong_query_is_explained(told: LabDir, query: str, words: list[str]) -> None:
    """The error shows the offending part and what would be right."""
    with pytest.raises(QueryError) as caught:
        sql(told, query)
    assert [word for word in words if word not in str(caught.value)] == []


def test_unknown_names_are_explained(lab: LabDir) -> None:
    """The nearest valid name is offered."""
    with pytest.raises(QueryError, match=r"no table 'metric'.*Did you mean 'metrics'\?"):
        table(lab, "metric")
    for ask in (sql, table):
        with pytest.raises(QueryError, match=r"as_ is 'panda'.*Did you mean 'pandas'\?"):
            ask(lab, "runs", as_="panda")  # pyright: ignore -- wrong on purpose


def test_some_runs_can_be_read_alone(told: LabDir) -> None:
    """``run_ids`` limits every table; an unknown run has no rows."""
    keep(told, "c", STORY[:4])
    assert set(table(told, "events")["run_id"]) == {"a", "c"}
    assert set(table(told, "events", run_ids=["c", "zzz"])["run_id"]) == {"c"}
    assert table(told, "runs", run_ids=iter(["b"]))["run_id"].tolist() == ["b"]
    assert table(told, "runs", run_ids=[]).empty
    with closing(connect(told, run_ids=["c"])) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchall() == [(4,)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b'{"run_id": "other"}', b"\xff\x00"]
)
def test_an_unreadable_run_does_not_hide_the_others(told: LabDir, content: bytes) -> None:
    """A damaged ``run.json`` costs its own row only, until it is sealed; events stay."""
    (told.run_dir("a") / "run.json").write_bytes(content)
    told.run_dir("empty").mkdir()
    (told.runs / "stray.txt").write_text("x")
    is_sealed = "a" in read_manifest(told).closed_runs
    assert table(told, "runs")["run_id"].tolist() == (["a", "b"] if is_sealed else ["b"])
    assert len(table(told, "events")) == len(STORY)


def test_a_value_of_another_type_is_missing(told: LabDir) -> None:
    """A ``run.json`` that somebody edited cannot spoil the table."""
    write_json_atomic(
        told.run_dir("b") / "run.json", {"run_id": "b", "seed": "many", "workers": 2}
    )
    run = rows(told, "runs")[1]
    assert (run["seed"], run["workers"], run["state"]) == (None, 2, "pending")


def test_a_torn_line_hides_nothing_else(
    told: LabDir, metrics: Callable[[int, int], list[RunEvent]]
) -> None:
    """Garbage in the middle and at the end of a journal is passed over."""
    whole = encode(metrics(0, 2))
    journal = told.live_dir("run") / "run-host-1-aa.jsonl"
    journal.parent.mkdir()
    journal.write_bytes(
        whole[:-30] + b"\n" + whole + b"\n\x00\x00\n" + encode(metrics(2, 1))[:9]
    )
    assert table(told, "metrics", run_ids=["run"])["sequence"].tolist() == [0, 1]


def test_a_lab_may_have_any_name(tmp_path: Path) -> None:
    """Letters that mean something in patterns or SQL are only letters in a path."""
    lab = open_lab(tmp_path / "it's [1] *? {x} lab")
    keep(lab, "r[a]*", STORY)
    keep(lab, "ra-other", STORY[:3])
    assert len(table(lab, "events", run_ids=["r[a]*"])) == len(STORY)
    assert len(table(lab, "events")) == len(STORY) + 3
    beside = open_lab(tmp_path / "*")
    keep(beside, "run", STORY[:2])
    shutil.copytree(beside.root, tmp_path / "a copy that the pattern * would find")
    assert len(table(beside, "events")) == 2


def test_a_run_that_vanishes_while_we_read_is_left_out(
    told: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were listed and then removed do not fail the query."""
    asked: list[str] = []
    real = snapshot.journals

    def vanishing(lab: LabDir, run_id: str) -> list[Path]:
        asked.append(run_id)
        gone = lab.live_dir(run_id) / "run-host-1-gone.jsonl"
        return [*real(lab, run_id), *([gone] if len(asked) == 1 else [])]

    monkeypatch.setattr(snapshot, "journals", vanishing)
    assert len(table(told, "events")) == len(STORY)
    assert asked == (["a"] * 2 if told.live_dir("a").exists() else [])


def test_journals_that_stay_unreadable_are_reported(
    told: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying again has an end, and the error names the lab."""
    told.live_dir("c").mkdir(parents=True)
    missing = told.live / "missing.jsonl"
    monkeypatch.setattr(snapshot, "journals", lambda *_: [missing])
    with pytest.raises(StoreError, match=r"cannot be read.*Fix: Check"):
        table(told, "events")


def test_what_a_resumed_run_made_anew_counts_once(told: LabDir) -> None:
    """Every table shows the new facts only; ``events`` has the old ones too."""
    again = [
        (0, EventKind.STATE, {"state": "pending", "resumed_after": 2}),
        (0, EventKind.STATE, {"state": "starting"}),
        (1, EventKind.ROUND_STARTED, {"num_rounds": 2}),
        (1, EventKind.CLIENT, replace(FACT, bytes_up=9, digest="dd").body()),
        (1, EventKind.ROUND_ENDED, {"duration_s": 1.5}),
        (1, EventKind.STATE, {"state": "completed"}),
    ]
    first = len(STORY)
    events = [
        RunEvent(
            run_id="a",
            sequence=sequence,
            time_s=T0 + sequence,
            server_round=server_round,
            kind=kind,
            body=body,
        )
        for sequence, (server_round, kind, body) in enumerate(again, first)
    ]
    reopen(told, "a")
    with closing(JournalWriter(told, "a", role=RESUMER)) as writer:
        writer.append(events[:1])
    with closing(JournalWriter(told, "a")) as writer:
        writer.append(events[1:])
    [run, _] = rows(told, "runs")
    assert (run["state"], run["rounds_done"], run["model_sha256"]) == ("completed", 1, None)
    assert run["started_at"] == at(0)
    [only] = rows(told, "rounds")
    assert (only["bytes_up"], only["duration_s"], only["num_clients"]) == (9, 1.5, 1)
    [client] = rows(told, "clients")
    assert (client["sequence"], client["digest"]) == (first + 3, "dd")
    assert len(rows(told, "client_metrics")) == 2
    assert rows(told, "metrics") == rows(told, "artifacts") == []
    assert [row["sequence"] for row in rows(told, "events")] == [*range(first + 6)]
    before = {name: rows(told, name) for name in TABLES}
    assert compact(told, ["a"]).num_sealed == 1
    assert {name: rows(told, name) for name in TABLES} == before


def test_a_journal_from_before_there_were_digests_is_read(lab: LabDir) -> None:
    """The column is missing in its lines; the fact is there, without a digest."""
    keep(lab, "a", STORY)
    [path] = journals(lab, "a")
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line.get("client", {}).pop("digest", None)
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert [row["digest"] for row in rows(lab, "clients")] == ["", "", ""]
    found = [event for event in read_events(lab, "a") if event.kind is EventKind.CLIENT]
    assert [event.body["digest"] for event in found] == ["", "", ""]
