"""A database that is kept from one query to the next says what a new one would."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import duckdb
import pytest

from flip_lab.core.events import EventKind, MetricSeries, RunEvent
from flip_lab.store import kept, rows
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.compaction import compact, reopen
from flip_lab.store.database import open_database
from flip_lab.store.journal import RESUMER, JournalWriter, journals, last_sequence
from flip_lab.store.layout import LabDir, write_json_atomic
from flip_lab.store.query import connect, sql, table
from flip_lab.store.schema import TABLES

T0 = 1_700_000_000.0
Metrics = Callable[[int, int], list[RunEvent]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the databases that are opened."""
    found: list[int] = []

    def counting() -> duckdb.DuckDBPyConnection:
        found.append(1)
        return open_database()

    monkeypatch.setattr(kept, "open_database", counting)
    return found


def add(lab: LabDir, run_id: str, count: int) -> None:
    """Add metrics to a run."""
    series = MetricSeries(
        phase="train",
        scope="central",
        server_rounds=[*range(count)],
        names=["loss"] * count,
        values=[float("nan"), *(0.5,) * (count - 1)],
    )
    with closing(JournalWriter(lab, run_id)) as writer:
        writer.append_metrics(series, time_s=T0)


def number_of_metrics(lab: LabDir) -> int:
    """Ask for all metrics."""
    [row] = sql(lab, "SELECT count(*) AS n FROM metrics", as_="rows")
    return row["n"]


def test_only_new_lines_are_read(lab: LabDir, opened: list[int], metrics: Metrics) -> None:
    """A journal that grows makes no new database; every row is there once."""
    assert number_of_metrics(lab) == 0
    with closing(JournalWriter(lab, "run")) as writer:
        for first in range(0, 40, 4):
            writer.append(metrics(first, 4))
            assert number_of_metrics(lab) == first + 4
    assert len(opened) == 2  # without the run, and with it


def test_a_line_counts_when_it_is_whole(
    lab: LabDir, opened: list[int], metrics: Metrics
) -> None:
    """A reader that looks in mid-write waits for the rest, and reads it once."""
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 3))
        writer.append(metrics(3, 3))
    [path] = journals(lab, "run")
    content = path.read_bytes()
    end = content.index(b"\n") + 1
    path.write_bytes(content[: end - 1])
    assert number_of_metrics(lab) == 3  # only its newline is missing
    for size in (end, end + 40, len(content) - 2, len(content) - 1, len(content)):
        path.write_bytes(content[:size])
        assert number_of_metrics(lab) == (3 if size < len(content) - 1 else 6)
    assert len(opened) == 1


def test_long_lines_are_read_in_parts(
    lab: LabDir, monkeypatch: pytest.MonkeyPatch, metrics: Metrics
) -> None:
    """A journal longer than what is read at once, with lines longer than that."""
    monkeypatch.setattr(rows, "_AT_ONCE_BYTES", 300)
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 50))
        for first in range(50, 60):
            writer.append(metrics(first, 1))
    assert number_of_metrics(lab) == 60


def test_a_rotten_line_hides_nothing_else(lab: LabDir, metrics: Metrics) -> None:
    """Bytes that decayed cost their line; the others are read."""
    with closing(JournalWriter(lab, "run")) as writer:
        for first in range(0, 6, 2):
            writer.append(metrics(first, 2))
    [path] = journals(lab, "run")
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"metric":{', b'"metric":\xff\xfe', 1)
    path.write_bytes(b"\n".join(lines))
    assert number_of_metrics(lab) == 4


def test_other_questions_share_a_database(lab: LabDir, opened: list[int]) -> None:
    """A table that was not asked for yet is added; then both are there."""
    add(lab, "run", 3)
    for _ in range(3):
        assert number_of_metrics(lab) == 3
        assert sql(lab, "SELECT * FROM events").shape[0] == 3
    assert len(opened) == 2


def test_few_databases_are_kept(lab: LabDir, opened: list[int]) -> None:
    """One that was not used for long makes room for others."""
    names = [f"r{number}" for number in range(6)]
    for name in names:
        add(lab, name, 1)
    for name in [*names, names[-1], names[0]]:
        assert len(table(lab, "metrics", run_ids=[name])) == 1
    assert len(opened) == 7


def test_a_lab_that_goes_is_forgotten(lab: LabDir) -> None:
    """Nothing of it is told once its files are gone, nor of another in its place."""
    add(lab, "run", 3)
    assert number_of_metrics(lab) == 3
    shutil.rmtree(lab.live)
    assert number_of_metrics(lab) == 0
    add(lab, "run", 2)
    assert number_of_metrics(lab) == 2


def test_a_journal_that_was_repaired_is_read_anew(lab: LabDir, metrics: Metrics) -> None:
    """One that was cut, or put in place of another, voids what was read of it."""
    with closing(JournalWriter(lab, "run")) as writer:
        writer.append(metrics(0, 3))
        writer.append(metrics(3, 3))
    [path] = journals(lab, "run")
    content = path.read_bytes()
    assert number_of_metrics(lab) == 6
    os.truncate(path, content.index(b"\n") + 1)
    assert number_of_metrics(lab) == 3
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    draft.replace(path)
    assert number_of_metrics(lab) == 6
    draft.write_bytes(content.replace(b"train_loss", b"eval_loss_"))
    draft.replace(path)
    assert sql(lab, "SELECT DISTINCT name FROM metrics")["name"].tolist() == ["eval_loss_"]


def test_threads_may_ask_at_once(lab: LabDir, metrics: Metrics) -> None:
    """Each sees a moment that was, not a mixture."""
    with closing(JournalWriter(lab, "run")) as writer, ThreadPoolExecutor(4) as pool:
        asked = []
        for first in range(0, 80, 2):
            writer.append(metrics(first, 2))
            asked.append(pool.submit(number_of_metrics, lab))
        found = [each.result() for each in asked]
    assert all(number % 2 == 0 for number in found)
    assert max(found) == number_of_metrics(lab) == 80


def test_a_forked_child_asks_for_itself(lab: LabDir) -> None:
    """The parent's database is left alone: its threads are not in the child."""
    add(lab, "run", 3)
    assert number_of_metrics(lab) == 3
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(number_of_metrics(lab) != 3)
        finally:  # a copy of a test process must never go on with the tests
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert number_of_metrics(lab) == 3


@pytest.mark.parametrize("seed", range(3))
def test_what_is_kept_says_what_a_new_one_would(lab: LabDir, seed: int) -> None:
    """Whatever happens to a lab in between: lines, runs, seals, tags, resumptions."""
    chance = random.Random(seed)  # noqa: S311  # a story, no secret
    spec = {"name": "n", "seed": 1, "created_s": T0}
    for step in range(12):
        run_id = f"r{chance.randrange(3)}"
        match chance.choice(
            ["add", "add", "add", "launch", "seal", "resume", "tag", "look"]
        ):
            case "add":
                reopen(lab, run_id)
                add(lab, run_id, chance.randrange(1, 4))
            case "launch":
                new = {**spec, "run_id": run_id, "seed": step}
                write_json_atomic(lab.run_dir(run_id) / "run.json", new)
            case "seal":
                compact(lab, [run_id], grace_s=0.0)
            case "resume":
                reopen(lab, run_id)
                again(lab, run_id)
            case "tag":
                append_audit(lab, "tag", run_ids=[run_id], body={"tags": [str(step)]})
            case _:
                pass
        with closing(kept.reading(lab, tables=TABLES, run_ids=None)) as connection:
            seen = contents(connection)
        with closing(connect(lab)) as connection:
            assert seen == contents(connection)


def contents(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Give all tables as text, in which NaN is equal to itself."""
    relations = {name: connection.sql(f"FROM {name} ORDER BY ALL") for name in TABLES}
    return {
        name: str(relation.to_arrow_table().to_pylist())
        for name, relation in relations.items()
    }


def again(lab: LabDir, run_id: str) -> None:
    """Resume a run after its second fact."""
    event = RunEvent(
        run_id=run_id,
        sequence=last_sequence(lab, run_id) + 1,
        time_s=T0,
        server_round=0,
        kind=EventKind.STATE,
        body={"state": "pending", "resumed_after": 1},
    )
    with closing(JournalWriter(lab, run_id, role=RESUMER)) as writer:
        writer.append([event])
