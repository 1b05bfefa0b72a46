"""The tables of a hub's database.

Times are seconds since the Unix epoch, UTC. Node ids and Flower's run ids are 64-bit and
unsigned, which SQLite has no type for: they are decimal text. A module that adds a table
declares it on ``METADATA`` and is imported by ``flip_lab.hub.database``.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)

SCHEMA_VERSION = 1
"""Kept in SQLite's ``user_version``; a database of a higher one is refused."""

METADATA = MetaData()

nodes = Table(
    "nodes",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("public_key", Text, nullable=False),  # PEM
    Column("node_id", Text, nullable=False, unique=True),  # Flower's
    Column("status", Text, nullable=False),  # enrolled or revoked
    Column("tags", JSON, nullable=False),  # list of text
    Column("config", JSON, nullable=False),  # Flower's node_config
    Column("enrolled_s", Float, nullable=False),
    Column("enrolled_by", Text, nullable=False),  # who made the enrolment token
    Column("revoked_s", Float),
    Column("revoked_by", Text),
    Column("last_seen_s", Float),
    Column("facts", JSON, nullable=False),  # what the node last said of itself
)
# A name is free again once its node was revoked; the old row stays as a record.
Index(
    "one_enrolled_node_a_name",
    nodes.c.name,
    unique=True,
    sqlite_where=text("status = 'enrolled'"),
)

enrolments = Table(
    "enrolments",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("config", JSON, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_s", Float, nullable=False),
    Column("used_s", Float),
    Column("withdrawn_s", Float),
)

tokens = Table(
    "tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("secret_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("created_s", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_s", Float),
    Column("last_used_s", Float),
    Column("revoked_s", Float),
)

runs = Table(
    "runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("flower_run_id", Text, nullable=False, index=True),
    Column("fab_sha256", Text, nullable=False, index=True),
    Column("run_id", Text, nullable=False),  # ours; empty for other drivers' runs
    Column("person", Text, nullable=False),
    Column("is_detached", Boolean, nullable=False),
    Column("started_s", Float, nullable=False),
    Column("ended_s", Float),
    Column("outcome", Text),
)

counters = Table(
    "counters",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
)
