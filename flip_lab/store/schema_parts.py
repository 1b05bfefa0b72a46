"""What a table is made of, as data, and the columns that many tables share."""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = 1
"""Version of the columns that are sealed; a lab of a higher one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its name in SQL.
        sql_type: DuckDB type.
        meaning: What a value says, in one sentence.
        unit: Unit of a number, such as ``"s"``; empty when it has none.
        nullable: Whether a value may be missing.
        since: Version of the schema that brought it; older segments lack it.
        before: What its value is in older segments, as SQL.
    """

    name: str
    sql_type: str
    meaning: str
    unit: str = ""
    nullable: bool = False
    since: int = 1
    before: str = "NULL"


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


def text(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """Describe a column of text."""
    return Column(name=name, sql_type="VARCHAR", meaning=meaning, nullable=nullable)


def count(
    name: str, meaning: str, *, sql_type: str = "INTEGER", nullable: bool = False
) -> Column:
    """Describe a column of whole numbers."""
    return Column(name=name, sql_type=sql_type, meaning=meaning, nullable=nullable)


def moment(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """Describe a column of moments, UTC."""
    return Column(
        name=name, sql_type="TIMESTAMPTZ", unit="UTC", meaning=meaning, nullable=nullable
    )


def size(name: str, meaning: str) -> Column:
    """Describe a column of lengths in bytes."""
    return Column(name=name, sql_type="BIGINT", unit="bytes", meaning=meaning)


def real(name: str, meaning: str, *, unit: str = "", nullable: bool = False) -> Column:
    """Describe a column of floating-point numbers."""
    return Column(
        name=name, sql_type="DOUBLE", unit=unit, meaning=meaning, nullable=nullable
    )


def flag(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """Describe a column of true and false."""
    return Column(name=name, sql_type="BOOLEAN", meaning=meaning, nullable=nullable)


def json(name: str, meaning: str, *, nullable: bool = False) -> Column:
    """Describe a column of JSON."""
    return Column(name=name, sql_type="JSON", meaning=meaning, nullable=nullable)


RUN = text("run_id", "The run.")
SEQUENCE = count(
    "sequence", "Position of the event in its run, from 0 without a gap.", sql_type="BIGINT"
)
TIME = moment("time_at", "When it happened, on the run process's clock.")
ROUND = count("server_round", "Round, from 1; 0 is everything before the first round.")
PHASE = text("phase", "What the round did: train, evaluate or query.")
SCOPE = text(
    "scope",
    "federated: aggregated from the clients; central: measured by the server; server: "
    "logged by its own code.",
)
NODE = count("node_id", "The node's id; differs between engines.", sql_type="UBIGINT")
PARTITION = count("partition_id", "The node's slice of the data, from 0; -1 if unknown.")
EXAMPLES = real("num_examples", "Weight of the reply; 0 when it carried none.")
