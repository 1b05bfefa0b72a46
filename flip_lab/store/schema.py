"""The tables that the store offers, as data: the SQL and the reference page follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name in SQL.
        sql_type: DuckDB type.
        meaning: What a value says, in one sentence.
        unit: Unit of a number, such as ``"s"``; empty when it has none.
        nullable: Whether a value may be missing.
    """

    name: str
    sql_type: str
    meaning: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table.

    Attributes:
        name: Its name in SQL.
        meaning: What one row is, in one sentence.
        order_by: Columns that put the rows in order; run first, then time.
        columns: Its columns, in order.
    """

    name: str
    meaning: str
    order_by: tuple[str, ...]
    columns: tuple[Column, ...]

    def create_sql(self) -> str:
        """Give the statement that makes the table, without rows."""
        columns = ", ".join(f"{column.name} {column.sql_type}" for column in self.columns)
        return f"CREATE TABLE {self.name} ({columns})"


def _text(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name=name, sql_type="VARCHAR", meaning=meaning, nullable=nullable)


def _count(
    name: str, meaning: str, *, sql_type: str = "INTEGER", nullable: bool = False
) -> Column:
    return Column(name=name, sql_type=sql_type, meaning=meaning, nullable=nullable)


def _time(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(
        name=name, sql_type="TIMESTAMPTZ", unit="UTC", meaning=meaning, nullable=nullable
    )


def _bytes(name: str, meaning: str) -> Column:
    return Column(name=name, sql_type="BIGINT", unit="bytes", meaning=meaning)


def _real(name: str, meaning: str, *, unit: str = "", nullable: bool = False) -> Column:
    return Column(
        name=name, sql_type="DOUBLE", unit=unit, meaning=meaning, nullable=nullable
    )


def _json(name: str, meaning: str, *, nullable: bool = False) -> Column:
    return Column(name=name, sql_type="JSON", meaning=meaning, nullable=nullable)


_RUN = _text("run_id", "The run.")
_SEQUENCE = _count(
    "sequence", "Position of the event in its run, from 0 without a gap.", sql_type="BIGINT"
)
_TIME = _time("time_at", "When it happened, on the run process's clock.")
_ROUND = _count("server_round", "Round, from 1; 0 is everything before the first round.")
_PHASE = _text("phase", "What the round did: train, evaluate or query.")
_NODE = _count("node_id", "The node's id; differs between engines.", sql_type="UBIGINT")
_PARTITION = _count("partition_id", "The node's slice of the data, from 0; -1 if unknown.")
_EXAMPLES = _real("num_examples", "Weight of the reply; 0 when it carried none.")

_RUNS = Table(
    name="runs",
    meaning="One run: what was asked, where it stands, what it is made of.",
    order_by=("run_id",),
    columns=(
        _RUN,
        _text("name", "The name it was launched under."),
        _text("kind", "What was launched: scenario, app or notebook."),
        _text(
            "state",
            "pending, starting, running, paused, completed, failed or stopped.",
        ),
        _text("engine", "Where it ran: in_process, ray or deployment."),
        _text("federation", "The configured federation it ran on.", nullable=True),
        _count("seed", "Every random draw derives from it.", sql_type="BIGINT"),
        _count(
            "num_rounds", "Rounds asked for; missing until an app has said.", nullable=True
        ),
        _count("rounds_done", "The last round that ended; 0 when none did."),
        _count("num_nodes", "Nodes simulated, or waited for."),
        _count("workers", "Processes that trained side by side."),
        _time("created_at", "When it was launched."),
        _time("started_at", "When its process began.", nullable=True),
        _time("ended_at", "When it completed, failed or was stopped.", nullable=True),
        _json("scenario", "The scenario, whole; missing for apps.", nullable=True),
        _text(
            "scenario_fingerprint", "Hash of the scenario: equal when it is.", nullable=True
        ),
        _json("overrides", "What the launch changed in the run configuration."),
        _text("git_commit", "Commit that was checked out at launch.", nullable=True),
        Column(
            name="git_dirty",
            sql_type="BOOLEAN",
            nullable=True,
            meaning="Whether files differed from that commit.",
        ),
        _text("data_sha256", "Hash of the data.", nullable=True),
        _text("partition_sha256", "Hash of who holds which examples.", nullable=True),
        _text("app_sha256", "Hash of the Flower App's files.", nullable=True),
        _text("parent_run_id", "The run that it was forked from.", nullable=True),
        _count("forked_at_round", "The parent's round it goes on from.", nullable=True),
        _text("model_sha256", "Hash of the final model's file.", nullable=True),
        _text("error_code", "Code of the error that ended a failed run.", nullable=True),
        _text("error", "What went wrong in a failed run.", nullable=True),
    ),
)

_ROUNDS = Table(
    name="rounds",
    meaning="One round that began.",
    order_by=("run_id", "server_round"),
    columns=(
        _RUN,
        _ROUND,
        _time("started_at", "When the round began."),
        _time("ended_at", "When it ended; missing while it runs.", nullable=True),
        _real(
            "duration_s",
            "How long it took; missing while it runs.",
            unit="s",
            nullable=True,
        ),
        _count(
            "num_clients", "Nodes that replied or failed, each once.", sql_type="BIGINT"
        ),
        _count("num_failed", "Those that failed in any phase.", sql_type="BIGINT"),
        _bytes("bytes_down", "Sent to clients, all phases."),
        _bytes("bytes_up", "Received from clients, all phases."),
    ),
)

_METRICS = Table(
    name="metrics",
    meaning="One number about the whole federation.",
    order_by=("run_id", "sequence"),
    columns=(
        _RUN,
        _SEQUENCE,
        _TIME,
        _ROUND,
        _PHASE,
        _text(
            "scope",
            "federated: aggregated from the clients; central: measured by the server.",
        ),
        _text("name", "The metric, such as train_loss or eval_accuracy."),
        _real("value", "Its value; NaN and the infinities are kept."),
    ),
)

_CLIENTS = Table(
    name="clients",
    meaning="What one client did in one phase of one round.",
    order_by=("run_id", "sequence"),
    columns=(
        _RUN,
        _SEQUENCE,
        _TIME,
        _ROUND,
        _PHASE,
        _NODE,
        _PARTITION,
        _EXAMPLES,
        _time("started_at", "When the client began; missing if not finite.", nullable=True),
        _real("duration_s", "How long it took.", unit="s"),
        _bytes("bytes_down", "Sent to the client."),
        _bytes("bytes_up", "Received from it."),
        Column(
            name="metrics",
            sql_type="MAP(VARCHAR, DOUBLE)",
            meaning="The numbers it reported, by name.",
        ),
        _count("error_code", "Flower's error code; 0 when it replied well."),
        _text("error", "What it raised, with the traceback's tail; empty when well."),
        _text("digest", "128-bit hash of its reply; empty where none was taken."),
    ),
)

_CLIENT_METRICS = Table(
    name="client_metrics",
    meaning="One number that one client reported: clients.metrics in long form.",
    order_by=("run_id", "server_round", "phase", "partition_id", "node_id", "name"),
    columns=(
        _RUN,
        _ROUND,
        _PHASE,
        _NODE,
        _PARTITION,
        _EXAMPLES,
        _text("name", "The metric."),
        _real("value", "Its value; NaN and the infinities are kept."),
    ),
)

_EVENTS = Table(
    name="events",
    meaning="One fact of a run, superseded or not; other tables are readings of these.",
    order_by=("run_id", "sequence"),
    columns=(
        _RUN,
        _SEQUENCE,
        _TIME,
        _ROUND,
        _text(
            "kind",
            "state, round_started, round_ended, dispatched, client, metric, artifact, "
            "checkpoint, lineage, control or warning.",
        ),
        _json("body", "The content; its keys depend on the kind."),
    ),
)

_ARTIFACTS = Table(
    name="artifacts",
    meaning="One file that a run kept.",
    order_by=("run_id", "sequence"),
    columns=(
        _RUN,
        _SEQUENCE,
        _ROUND,
        _text("name", "What the run calls it; model is the final model."),
        _text("sha256", "Hash of its content, by which the lab keeps it."),
        _bytes("size_bytes", "Its length."),
        _text("media_type", "What kind of file it is.", nullable=True),
    ),
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        table.name: table
        for table in (
            _RUNS,
            _ROUNDS,
            _METRICS,
            _CLIENTS,
            _CLIENT_METRICS,
            _EVENTS,
            _ARTIFACTS,
        )
    }
)
"""Every table by name."""


def reference_page() -> str:
    """Give the reference of all tables as Markdown; ``docs/reference/tables.md`` is it."""
    head = (
        "# Tables\n\n<!-- Made from flip_lab/store/schema.py; edit that. -->\n\n"
        "What SQL over a lab can ask for. Times are UTC, durations are seconds. Where a\n"
        "resumed run made facts anew, the tables show the new ones only; `events` has "
        "both.\n"
    )
    return "\n".join([head, *map(_section, TABLES.values())])


def _section(table: Table) -> str:
    rows = [
        f"| `{column.name}` | {column.sql_type} | {column.unit or '–'} "
        f"| {'yes' if column.nullable else 'no'} | {column.meaning} |"
        for column in table.columns
    ]
    order = ", ".join(f"`{name}`" for name in table.order_by)
    head = f"## {table.name}\n\n{table.meaning} In order of {order}.\n\n"
    rule = "| column | type | unit | may be missing | meaning |\n|---|---|---|---|---|\n"
    return head + rule + "\n".join(rows) + "\n"
