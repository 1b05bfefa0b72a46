"""A DuckDB database in memory, with the settings that all our readers need."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb


def open_database(*, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open an empty database in memory.

    Args:
        spill: Where it may put what does not fit into memory; None: nowhere. By default
            DuckDB takes the working directory.
    """
    # A simulation may run beside us.
    threads = max(1, min(4, (os.cpu_count() or 1) // 2))
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "temp_directory": str(spill or ""),
    }
    connection = duckdb.connect(config=config)
    connection.execute("SET enable_progress_bar = false")  # it prints to stdout
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection
