"""How each table is made from the rows of the journals, as SQL.

The SELECTs read ``event_row``, ``metric_row`` and ``client_row``: the columns of
``flip_lab.store.frames.TABLES`` and the run's id. Those hold the facts in force;
``event_any``, ``metric_any`` and ``client_any`` hold superseded ones too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

MOMENT = "make_timestamptz(TRY_CAST(seconds * 1e6 AS BIGINT))"
"""Body of the macro ``moment(seconds)``; NaN, which no clock can show, becomes NULL."""

SOURCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "runs": ("event",),
        "rounds": ("event", "client"),
        "metrics": ("metric",),
        "clients": ("client",),
        "client_metrics": ("client",),
        "events": ("event", "metric", "client"),
        "artifacts": ("event",),
    }
)
"""The parts of a journal line that each table is made from."""

RUN_JSON: Mapping[str, Any] = MappingProxyType(
    {
        "run_id": "VARCHAR",
        "name": "VARCHAR",
        "kind": "VARCHAR",
        "created_s": "DOUBLE",
        "seed": "BIGINT",
        "num_rounds": "INTEGER",
        "num_nodes": "INTEGER",
        "engine": "VARCHAR",
        "federation": "VARCHAR",
        "workers": "INTEGER",
        "parent_run_id": "VARCHAR",
        "forked_at_round": "INTEGER",
        "scenario": "JSON",
        "scenario_fingerprint": "VARCHAR",
        "overrides": "JSON",
        "lineage": {
            "git_commit": "VARCHAR",
            "git_dirty": "BOOLEAN",
            "app_sha256": "VARCHAR",
        },
    }
)
"""What is read of a ``run.json``; DuckDB makes a value of another type NULL."""

_RUNS = """
    WITH launched AS (
        SELECT unnest(from_json($launched, $run_json)) AS run
    ), told AS (
        SELECT run_id,
            arg_max(body, sequence) FILTER (kind = 'state') AS last,
            arg_max(time_s, sequence) FILTER (kind = 'state') AS last_s,
            min(time_s) FILTER (kind = 'state'
                AND (body->>'state') IN ('starting', 'running')) AS started_s,
            max((body->>'num_rounds')::INTEGER) FILTER (kind = 'round_started') AS asked,
            max(server_round) FILTER (kind = 'round_ended') AS done,
            arg_max(body->>'data_sha256', sequence)
                FILTER (kind = 'lineage') AS data_sha256,
            arg_max(body->>'partition_sha256', sequence)
                FILTER (kind = 'lineage') AS partition_sha256,
            arg_max(body->>'sha256', sequence)
                FILTER (kind = 'artifact' AND (body->>'name') = 'model') AS model_sha256
        FROM event_row GROUP BY run_id
    )
    SELECT run.run_id, run.name, run.kind, run.engine, run.federation, run.seed,
        coalesce(run.num_rounds, asked) AS num_rounds, coalesce(done, 0) AS rounds_done,
        run.num_nodes, run.workers, run.parent_run_id, run.forked_at_round,
        run.scenario, run.scenario_fingerprint, run.overrides,
        run.lineage.git_commit, run.lineage.git_dirty, run.lineage.app_sha256,
        data_sha256, partition_sha256, model_sha256,
        coalesce(last->>'state', 'pending') AS state,
        moment(run.created_s) AS created_at, moment(started_s) AS started_at,
        CASE WHEN (last->>'state') IN $final THEN moment(last_s) END AS ended_at,
        CASE WHEN (last->>'state') = 'failed' THEN last->>'code' END AS error_code,
        CASE WHEN (last->>'state') = 'failed' THEN last->>'what' END AS error
    FROM launched LEFT JOIN told ON run.run_id = told.run_id
"""

_ROUNDS = """
    WITH began AS (
        SELECT run_id, server_round,
            min(time_s) FILTER (kind = 'round_started') AS started_s,
            max(time_s) FILTER (kind = 'round_ended') AS ended_s,
            max((body->>'duration_s')::DOUBLE)
                FILTER (kind = 'round_ended') AS duration_s
        FROM event_row WHERE kind IN ('round_started', 'round_ended')
        GROUP BY run_id, server_round HAVING started_s IS NOT NULL
    ), replied AS (
        SELECT run_id, server_round, count(DISTINCT node_id) AS num_clients,
            count(DISTINCT node_id) FILTER (error_code <> 0) AS num_failed,
            sum(bytes_down) AS bytes_down, sum(bytes_up) AS bytes_up
        FROM client_row GROUP BY run_id, server_round
    )
    SELECT run_id, server_round, moment(started_s) AS started_at,
        moment(ended_s) AS ended_at, duration_s,
        coalesce(num_clients, 0) AS num_clients, coalesce(num_failed, 0) AS num_failed,
        coalesce(bytes_down, 0) AS bytes_down, coalesce(bytes_up, 0) AS bytes_up
    FROM began LEFT JOIN replied USING (run_id, server_round)
"""

_METRICS = """
    SELECT run_id, sequence, moment(time_s) AS time_at, server_round,
        phase, scope, name, value
    FROM metric_row
"""

_CLIENTS = """
    SELECT run_id, sequence, moment(time_s) AS time_at, server_round,
        phase, node_id, partition_id, num_examples, moment(started_s) AS started_at,
        duration_s, bytes_down, bytes_up, metrics, error_code, error,
        coalesce(digest, '') AS digest
    FROM client_row
"""

_CLIENT_METRICS = """
    SELECT run_id, server_round, phase, node_id, partition_id, num_examples,
        unnest(map_keys(metrics)) AS name, unnest(map_values(metrics)) AS value
    FROM client_row
"""

_EVENTS = """
    SELECT run_id, sequence, moment(time_s) AS time_at, server_round, kind, body
    FROM event_any
    UNION ALL
    SELECT run_id, sequence, moment(time_s), server_round, 'metric',
        json_object('phase', phase, 'scope', scope, 'name', name, 'value', value)
    FROM metric_any
    UNION ALL
    SELECT run_id, sequence, moment(time_s), server_round, 'client',
        json_object('phase', phase, 'node_id', node_id, 'partition_id', partition_id,
            'num_examples', num_examples, 'started_s', started_s,
            'duration_s', duration_s, 'bytes_down', bytes_down, 'bytes_up', bytes_up,
            'metrics', metrics, 'error_code', error_code, 'error', error,
            'digest', coalesce(digest, ''))
    FROM client_any
"""

_ARTIFACTS = """
    SELECT run_id, sequence, server_round, body->>'name' AS name,
        body->>'sha256' AS sha256, (body->>'size_bytes')::BIGINT AS size_bytes,
        body->>'media_type' AS media_type
    FROM event_row WHERE kind = 'artifact'
"""

SELECTS: Mapping[str, str] = MappingProxyType(
    {
        "runs": _RUNS,
        "rounds": _ROUNDS,
        "metrics": _METRICS,
        "clients": _CLIENTS,
        "client_metrics": _CLIENT_METRICS,
        "events": _EVENTS,
        "artifacts": _ARTIFACTS,
    }
)
"""A SELECT for each table, with its columns by name; ``runs`` takes parameters."""
