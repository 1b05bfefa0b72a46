"""A lab with a long history: a thousand runs of a hundred rounds with a hundred clients.

The last runs are recorded, one fact after the other, and sealed as labs do it. The others
are the same facts, made in DuckDB and given to the function that merges segments, so that
they lie as if they had been sealed and merged while the runs came: a run's journal is
2.5 MB, so four ended runs are sealed at once, and eight segments become one of the next
level.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.recorder import Recorder
from flip_lab.store.audit_writer import append_audit
from flip_lab.store.compaction import compact
from flip_lab.store.journal import JournalWriter
from flip_lab.store.layout import LabDir, write_json_atomic
from flip_lab.store.manifest import Segment, compacting, publish, read_manifest
from flip_lab.store.rows import SEALED
from flip_lab.store.sealing import merge
from flip_lab.store.selects import KEPT, MOMENT, SELECTS
from flip_lab.store.snapshot import Snapshot
from flip_lab.store.tables import make_facts

_BATCH = 4  # runs that are sealed at once
_FAN = 8  # segments that become one
_T0 = 1_790_000_000.0
METRICS = (
    ("train", "federated", "train_loss"),
    ("evaluate", "federated", "eval_loss"),
    ("evaluate", "federated", "eval_accuracy"),
    ("evaluate", "central", "eval_accuracy"),
)
"""What each round says of the whole federation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How much there is.

    Attributes:
        runs: Number of runs.
        rounds: Rounds of each run.
        clients: Clients of each round.
    """

    runs: int = 1000
    rounds: int = 100
    clients: int = 100

    @property
    def facts_per_round(self) -> int:
        """Facts of a round: its beginning, cohort and end, its clients and metrics."""
        return 3 + self.clients + len(METRICS)

    def run_id(self, number: int) -> str:
        """Name a run as launches do: what it is, and letters."""
        return f"fedavg-{number:04}-{np.random.default_rng(number).bytes(3).hex()}"

    def spec(self, number: int) -> dict[str, Any]:
        """Say what was launched."""
        names = ("FedAvg", "FedProx", "FedAdam", "FedMedian")
        return {
            "run_id": self.run_id(number),
            "name": "digits-dirichlet",
            "kind": "scenario",
            "experiment": f"experiment-{number // 50}",
            "created_s": _T0 + 1000.0 * number,
            "seed": number % 5,
            "num_rounds": self.rounds,
            "num_nodes": self.clients,
            "engine": "processes",
            "workers": 2,
            "overrides": {},
            "scenario": {
                "name": "digits-dirichlet",
                "strategy": {"name": names[number // 5 % 4], "proximal_mu": 0.1},
                "train": {
                    "num_rounds": self.rounds,
                    "learning_rate": 0.05,
                    "batch_size": 32,
                },
                "partition": {"scheme": "dirichlet", "alpha": 0.3},
            },
            "lineage": {"git_commit": f"{number:040x}", "git_dirty": False},
        }


def make(path: Path, history: History) -> Lab:
    """Make the lab, or give the one that is there.

    Args:
        path: The lab's directory.
        history: How much shall be in it.
    """
    lab = Lab(path)
    place = LabDir(lab.path)
    if len(read_manifest(place).closed_runs) == history.runs:
        return lab
    for number in range(history.runs):
        _launch(place, history, number)
    with compacting(place):
        for level, numbers in _old(history):
            segment = _segment(place, history, numbers, level)
            manifest = read_manifest(place)
            publish(place, manifest.next([*manifest.segments, segment], []))
    begin = history.runs - history.runs % (_BATCH * _FAN)
    for first in range(begin, history.runs, _BATCH):
        some = range(first, min(first + _BATCH, history.runs))
        for number in some:
            _record(place, history, number)
        compact(place, [history.run_id(number) for number in some], grace_s=0.0)
    return lab


def _launch(lab: LabDir, history: History, number: int) -> None:
    run_dir = lab.run_dir(history.run_id(number))
    write_json_atomic(run_dir / "run.json", history.spec(number))
    (run_dir / "ended").touch()
    append_audit(lab, "launch", run_ids=[run_dir.name], body={"tags": []})


def _old(history: History) -> Iterator[tuple[int, range]]:
    """Say which runs lie together, and how often they were merged, the oldest first."""
    first = 0
    sizes = [(level, _BATCH * _FAN**level) for level in (3, 2, 1)]
    for level, size in sizes:
        while history.runs - first >= size:
            yield level, range(first, first + size)
            first += size


def _segment(lab: LabDir, history: History, numbers: range, level: int) -> Segment:
    """Make facts of some runs, and let them be merged into a segment."""
    run_ids = tuple(sorted(map(history.run_id, numbers)))
    blank = Segment(name=".made", level=level - 1, run_ids=run_ids, files={})
    folder = lab.segments / blank.name
    folder.mkdir(parents=True, exist_ok=True)
    snapshot = Snapshot.take(lab, run_ids)
    with closing(duckdb.connect()) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA inside")
        connection.execute(f"CREATE MACRO inside.moment(seconds) AS {MOMENT}")
        make_facts(connection, Snapshot.take(lab, run_ids))
        connection.execute("CREATE TABLE run (number INTEGER, run_id VARCHAR)")
        connection.executemany(
            "INSERT INTO run VALUES (?, ?)", [(n, history.run_id(n)) for n in numbers]
        )
        for part in ("event", "metric", "client"):
            connection.execute(
                f"CREATE TABLE inside.open_{part} AS {_facts(part, history)}"
            )
        for name in SEALED:
            select = SELECTS[name] if name in KEPT else f"FROM inside.open_{name}"
            columns = ", ".join(
                f"CAST({each.name} AS {each.sql_type}) AS {each.name}"
                for each in SEALED[name]
            )
            connection.execute(
                f"COPY (SELECT {columns} FROM ({select})) "  # noqa: S608  # our own names
                f"TO '{folder}/{name}.parquet' (FORMAT parquet)"
            )
    segment = merge(snapshot, [blank], run_ids)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    return segment


def _facts(part: str, history: History) -> str:
    """Give the SQL that makes facts as a run of ``_record`` has them."""
    rounds, clients, per_round = history.rounds, history.clients, history.facts_per_round
    numbers = "range(1, {}) AS turn(server_round)"
    turns = numbers.format(rounds + 1)
    begin = f"3 + (server_round - 1) * {per_round}"
    when = f"{_T0} + 1000 * number + 5 * server_round"
    if part == "event":
        end = 3 + rounds * per_round
        return f"""
            SELECT run_id, sequence, {_T0} + 1000 * number + sequence / 100 AS time_s,
                0 AS server_round, 'state' AS kind, json_object('state', state) AS body,
                false AS superseded
            FROM run, (VALUES (0, 'pending'), (1, 'starting'), (2, 'running'),
                ({end}, 'completed')) AS step(sequence, state)
            UNION ALL
            SELECT run_id, {begin} + place, {when} + place / 100, server_round, kind,
                CASE kind WHEN 'round_started' THEN json_object('num_rounds', {rounds})
                    WHEN 'round_ended' THEN json_object('duration_s', 4.5 + random())
                    ELSE json_object('phase', 'train',
                        'node_ids', list_transform(range({clients}), lambda n: hash(n)),
                        'partition_ids', range({clients})) END, false
            FROM run, {turns}, (VALUES (0, 'round_started'), (1, 'dispatched'),
                ({per_round - 1}, 'round_ended')) AS step(place, kind)
        """  # noqa: S608  # our own names and numbers
    if part == "metric":
        kinds = ", ".join(
            f"({place}, '{phase}', '{scope}', '{name}')"
            for place, (phase, scope, name) in enumerate(METRICS, 2 + clients)
        )
        return f"""
            SELECT run_id, {begin} + place AS sequence, {when} + 4 AS time_s, server_round,
                phase, scope, name,
                (CASE WHEN name = 'eval_accuracy'
                    THEN 0.95 - 0.85 * exp(-server_round / 25) + 0.01 * (random() - 0.5)
                    ELSE 2.3 * exp(-server_round / 25) + 0.05 * random()
                    END)::FLOAT::DOUBLE AS value, false AS superseded
            FROM run, {turns}, (VALUES {kinds}) AS kind(place, phase, scope, name)
        """  # noqa: S608  # as above
    return f"""
        SELECT run_id, {begin} + 2 + partition_id AS sequence,
            {when} + partition_id / 25 AS time_s, server_round, 'train' AS phase,
            hash(partition_id) AS node_id, partition_id,
            20 + hash(partition_id) % 100 AS num_examples,
            {when} + partition_id / 25 - 0.03 AS started_s,
            0.02 + 0.01 * random() AS duration_s, 160_000 AS bytes_down,
            160_040 AS bytes_up,
            MAP {{'train_loss': (2.3 * exp(-server_round / 25) * (0.5 + random()))
                ::FLOAT::DOUBLE}} AS metrics,
            0 AS error_code, '' AS error, md5(random()::VARCHAR) AS digest,
            false AS superseded
        FROM run, {turns}, range({clients}) AS client(partition_id)
    """  # noqa: S608  # as above


def _record(lab: LabDir, history: History, number: int) -> None:
    """Record a run as a run process does, fact by fact."""
    run_id = history.run_id(number)
    generator = np.random.default_rng(number)
    recorder = Recorder(run_id, JournalWriter(lab, run_id))
    with closing(recorder):
        for state in ("starting", "running"):
            recorder.enter(RunState(state))
        for server_round in range(1, history.rounds + 1):
            record_round(recorder, server_round, history.clients, generator)
        recorder.enter(RunState.COMPLETED)


def record_round(
    recorder: Recorder, server_round: int, clients: int, generator: np.random.Generator
) -> None:
    """Record what one round of training says.

    Args:
        recorder: Of the run.
        server_round: Which round.
        clients: How many clients reply.
        generator: Where the numbers come from.
    """

    def emit(kind: EventKind, body: dict[str, Json]) -> None:
        recorder.emit(kind, body, server_round=server_round)

    nodes = [hash((7, partition)) % 2**63 for partition in range(clients)]
    losses = generator.random(clients).astype(np.float32).tolist()
    emit(EventKind.ROUND_STARTED, {"num_rounds": 100})
    emit(
        EventKind.DISPATCHED,
        {"phase": "train", "node_ids": [*nodes], "partition_ids": [*range(clients)]},
    )
    for partition, (node_id, loss) in enumerate(zip(nodes, losses, strict=True)):
        fact = ClientFact(
            phase="train",
            node_id=node_id,
            partition_id=partition,
            num_examples=20.0 + node_id % 100,
            started_s=time.time(),  # noqa: TID251  # nobody reads it
            duration_s=0.02,
            bytes_down=160_000,
            bytes_up=160_040,
            metrics={"train_loss": loss},
            digest=f"{node_id * 2**60 + partition:032x}"[:32],
        )
        emit(EventKind.CLIENT, fact.body())
    for phase, scope, name in METRICS:
        body: dict[str, Json] = {
            "phase": phase,
            "scope": scope,
            "name": name,
            "value": losses[0],
        }
        emit(EventKind.METRIC, body)
    emit(EventKind.ROUND_ENDED, {"duration_s": 4.5})
