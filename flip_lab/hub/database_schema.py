"""The tables of a hub's database.

Times are seconds since the Unix epoch, UTC. Node ids and Flower's run ids are 64-bit and
unsigned, which SQLite has no type for: they are decimal text. A module that adds a table
declares it on ``METADATA`` and is imported by ``flip_lab.hub.database``.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table, Text
from sqlalchemy import text as sql

from flip_lab.hub.database_columns import (
    key,
    later,
    number,
    plain,
    row_id,
    text,
    time,
    truth,
)

SCHEMA_VERSION = 1
"""Kept in SQLite's ``user_version``; a database of a higher one is refused."""

METADATA = MetaData()

nodes = Table(
    "nodes",
    METADATA,
    row_id(),
    text("name"),
    text("fingerprint", unique=True),
    text("public_key"),  # PEM
    text("node_id", unique=True),  # Flower's
    text("status"),  # enrolled or revoked
    plain("tags"),  # list of text
    plain("config"),  # Flower's node_config
    time("enrolled_s"),
    text("enrolled_by"),  # who made the enrolment token
    later("revoked_s"),
    Column("revoked_by", Text),
    later("last_seen_s"),
    plain("facts"),  # what the node last said of itself
)
# A name is free again once its node was revoked; the old row stays as a record.
Index(
    "one_enrolled_node_a_name",
    nodes.c.name,
    unique=True,
    sqlite_where=sql("status = 'enrolled'"),
)

enrolments = Table(
    "enrolments",
    METADATA,
    key("id"),
    text("secret_hash"),
    text("name"),
    plain("tags"),
    plain("config"),
    time("created_s"),
    text("created_by"),
    time("expires_s"),
    later("used_s"),
    later("withdrawn_s"),
)

tokens = Table(
    "tokens",
    METADATA,
    key("id"),
    text("secret_hash"),
    text("role"),
    text("person"),
    time("created_s"),
    text("created_by"),
    later("expires_s"),
    later("last_used_s"),
    later("revoked_s"),
)

runs = Table(
    "runs",
    METADATA,
    row_id(),
    text("flower_run_id", index=True),
    text("fab_sha256", index=True),
    text("run_id"),  # ours; empty for other drivers' runs
    text("person"),
    truth("is_detached"),
    time("started_s"),
    later("ended_s"),
    Column("outcome", Text),
)

counters = Table(
    "counters",
    METADATA,
    key("name"),
    number("value"),
)
