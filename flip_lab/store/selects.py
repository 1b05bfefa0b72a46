"""How each table is made from rows of facts, as SQL.

``open_event``, ``open_metric`` and ``open_client`` are the facts of runs that go on or are
not sealed yet: the columns of ``flip_lab.store.frames.TABLES``, the run's id, and whether
a later fact superseded them. ``every_…`` are those of all runs. Tables of ``KEPT`` are made
once, when a run is sealed: their SELECTs read open facts only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from flip_lab.store.selects_steering import COMMANDS, SETTINGS

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
        "logged": ("event",),
        "parameters": (),
        "settings": ("event",),
        "commands": ("event",),
        "run_metrics": ("metric",),
        "resources": ("event",),
        "spans": ("event", "client"),
        "experiments": ("event",),
        "sweeps": ("event",),
        "models": (),
        "audit": (),
    }
)
"""The parts of a journal line that each table is made from."""

KEPT = ("runs", "parameters", "rounds", "run_metrics", "client_metrics")
"""Tables that are sealed ready-made; the others are views of sealed facts."""

SPEC: Mapping[str, Any] = MappingProxyType(
    {
        "run_id": "VARCHAR",
        "name": "VARCHAR",
        "kind": "VARCHAR",
        "experiment": "VARCHAR",
        "sweep": "VARCHAR",
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

PARAMETER: Mapping[str, Any] = MappingProxyType(
    {"run_id": "VARCHAR", "name": "VARCHAR", "value": "VARCHAR", "number": "DOUBLE"}
)
"""One setting of a run that is not sealed yet."""

LABEL: Mapping[str, Any] = MappingProxyType(
    {
        "run_id": "VARCHAR",
        "tags": ["VARCHAR"],
        "note": "VARCHAR",
        "is_archived": "BOOLEAN",
    }
)
"""What the lab's log says of a run."""

RECORD: Mapping[str, Any] = MappingProxyType(
    {
        "sequence": "BIGINT",
        "time_s": "DOUBLE",
        "author": "VARCHAR",
        "action": "VARCHAR",
        "run_id": "VARCHAR",
        "body": "JSON",
        "chain": "VARCHAR",
    }
)
"""One line of the lab's log."""

MODEL: Mapping[str, Any] = MappingProxyType(
    {
        "name": "VARCHAR",
        "version": "INTEGER",
        "stage": "VARCHAR",
        "sha256": "VARCHAR",
        "size_bytes": "BIGINT",
        "lineage": {
            "run_id": "VARCHAR",
            "artifact": "VARCHAR",
            "server_round": "INTEGER",
            "metrics": "JSON",
            "scenario": "VARCHAR",
            "scenario_fingerprint": "VARCHAR",
            "input_schema": "JSON",
            "num_parameters": "BIGINT",
        },
        "tags": ["VARCHAR"],
        "note": "VARCHAR",
        "registered_s": "DOUBLE",
        "registered_by": "VARCHAR",
        "staged_s": "DOUBLE",
        "staged_by": "VARCHAR",
    }
)
"""One version of a model, as the lab's log tells it."""

_RUNS = """
    WITH told AS (
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
        FROM inside.open_event WHERE NOT superseded GROUP BY run_id
    )
    SELECT run.run_id, run.name, run.kind, run.engine, run.federation, run.seed,
        coalesce(run.experiment, run.name) AS experiment, run.sweep,
        coalesce(run.num_rounds, asked) AS num_rounds, coalesce(done, 0) AS rounds_done,
        run.num_nodes, run.workers, run.parent_run_id, run.forked_at_round,
        run.scenario, run.scenario_fingerprint, run.overrides,
        run.lineage.git_commit, run.lineage.git_dirty, run.lineage.app_sha256,
        data_sha256, partition_sha256, model_sha256,
        coalesce(last->>'state', 'pending') AS state,
        inside.moment(run.created_s) AS created_at,
        inside.moment(started_s) AS started_at,
        CASE WHEN (last->>'state') IN ('completed', 'failed', 'stopped')
            THEN inside.moment(last_s) END AS ended_at,
        CASE WHEN (last->>'state') = 'failed' THEN last->>'code' END AS error_code,
        CASE WHEN (last->>'state') = 'failed' THEN last->>'what' END AS error
    FROM inside.spec AS run LEFT JOIN told ON run.run_id = told.run_id
"""

_PARAMETERS = "SELECT run_id, name, value, number FROM inside.parameter"

_ROUNDS = """
    WITH began AS (
        SELECT run_id, server_round,
            min(time_s) FILTER (kind = 'round_started') AS started_s,
            max(time_s) FILTER (kind = 'round_ended') AS ended_s,
            max((body->>'duration_s')::DOUBLE)
                FILTER (kind = 'round_ended') AS duration_s
        FROM inside.open_event
        WHERE kind IN ('round_started', 'round_ended') AND NOT superseded
        GROUP BY run_id, server_round HAVING started_s IS NOT NULL
    ), replied AS (
        SELECT run_id, server_round, count(DISTINCT node_id) AS num_clients,
            count(DISTINCT node_id) FILTER (error_code <> 0) AS num_failed,
            sum(bytes_down) AS bytes_down, sum(bytes_up) AS bytes_up
        FROM inside.open_client WHERE NOT superseded GROUP BY run_id, server_round
    )
    SELECT run_id, server_round, inside.moment(started_s) AS started_at,
        inside.moment(ended_s) AS ended_at, duration_s,
        coalesce(num_clients, 0) AS num_clients, coalesce(num_failed, 0) AS num_failed,
        coalesce(bytes_down, 0) AS bytes_down, coalesce(bytes_up, 0) AS bytes_up
    FROM began LEFT JOIN replied USING (run_id, server_round)
"""

_RUN_METRICS = """
    SELECT run_id, phase, scope, name, count(*) AS num_points,
        arg_min(value, sequence) AS first, arg_max(value, sequence) AS last,
        min(value) FILTER (NOT isnan(value)) AS min,
        max(value) FILTER (NOT isnan(value)) AS max,
        arg_min(server_round, sequence) AS first_round,
        arg_max(server_round, sequence) AS last_round,
        arg_min(server_round, {'value': value, 'first': sequence})
            FILTER (NOT isnan(value)) AS min_round,
        arg_max(server_round, {'value': value, 'first': -sequence})
            FILTER (NOT isnan(value)) AS max_round
    FROM inside.open_metric WHERE NOT superseded GROUP BY run_id, phase, scope, name
"""

_CLIENT_METRICS = """
    SELECT run_id, server_round, phase, node_id, partition_id, num_examples,
        unnest(map_keys(metrics)) AS name, unnest(map_values(metrics)) AS value
    FROM inside.open_client WHERE NOT superseded
"""

_METRICS = """
    SELECT run_id, sequence, inside.moment(time_s) AS time_at, server_round,
        phase, scope, name, value
    FROM inside.every_metric WHERE NOT superseded
"""

_CLIENTS = """
    SELECT run_id, sequence, inside.moment(time_s) AS time_at, server_round,
        phase, node_id, partition_id, num_examples,
        inside.moment(started_s) AS started_at,
        duration_s, bytes_down, bytes_up, metrics, error_code, error,
        coalesce(digest, '') AS digest
    FROM inside.every_client WHERE NOT superseded
"""

_EVENTS = """
    SELECT run_id, sequence, inside.moment(time_s) AS time_at, server_round, kind, body
    FROM inside.every_event
    UNION ALL
    SELECT run_id, sequence, inside.moment(time_s), server_round, 'metric',
        json_object('phase', phase, 'scope', scope, 'name', name, 'value', value)
    FROM inside.every_metric
    UNION ALL
    SELECT run_id, sequence, inside.moment(time_s), server_round, 'client',
        json_object('phase', phase, 'node_id', node_id, 'partition_id', partition_id,
            'num_examples', num_examples, 'started_s', started_s,
            'duration_s', duration_s, 'bytes_down', bytes_down, 'bytes_up', bytes_up,
            'metrics', metrics, 'error_code', error_code, 'error', error,
            'digest', coalesce(digest, ''))
    FROM inside.every_client
"""

_ARTIFACTS = """
    SELECT run_id, sequence, server_round, body->>'name' AS name,
        body->>'sha256' AS sha256, (body->>'size_bytes')::BIGINT AS size_bytes,
        body->>'media_type' AS media_type
    FROM inside.every_event WHERE kind = 'artifact' AND NOT superseded
"""

_LOGGED = """
    SELECT run_id, sequence, inside.moment(time_s) AS time_at, server_round,
        body->>'phase' AS phase, (body->>'node_id')::UBIGINT AS node_id,
        (body->>'partition_id')::INTEGER AS partition_id, body->>'name' AS name,
        body->>'type' AS type, body->'value' AS value, body->>'sha256' AS sha256
    FROM inside.every_event WHERE kind = 'logged' AND NOT superseded
"""

_RESOURCES = """
    WITH sample AS (
        SELECT run_id, sequence, inside.moment(time_s) AS time_at, server_round,
            body::MAP(VARCHAR, DOUBLE) AS taken
        FROM inside.every_event WHERE kind = 'resource' AND NOT superseded
    )
    SELECT run_id, sequence, time_at, server_round,
        unnest(map_keys(taken)) AS name, unnest(map_values(taken)) AS value
    FROM sample
"""

_SPANS = """
    SELECT run_id, md5(run_id) AS trace_id, left(md5(run_id || '/run'), 16) AS span_id,
        NULL AS parent_span_id, 'run' AS name, started_at,
        date_part('epoch', ended_at - started_at) AS duration_s,
        CASE state WHEN 'failed' THEN 'error' WHEN 'completed' THEN 'ok' ELSE 'unset' END
            AS status,
        json_object('state', state, 'engine', engine, 'error_code', error_code)
            AS attributes
    FROM runs
    UNION ALL
    SELECT run_id, md5(run_id), left(md5(run_id || '/' || server_round), 16),
        left(md5(run_id || '/run'), 16), 'round', started_at, duration_s,
        CASE WHEN ended_at IS NULL THEN 'unset' ELSE 'ok' END,
        json_object('server_round', server_round, 'num_clients', num_clients)
    FROM rounds
    UNION ALL
    SELECT run_id, md5(run_id), left(md5(run_id || '#' || sequence), 16),
        left(md5(run_id || '/' || server_round), 16), 'client',
        inside.moment(started_s), duration_s,
        CASE WHEN error_code = 0 THEN 'ok' ELSE 'error' END,
        json_object('server_round', server_round, 'phase', phase, 'node_id', node_id,
            'partition_id', partition_id, 'error_code', error_code)
    FROM inside.every_client WHERE NOT superseded
    UNION ALL
    SELECT run_id, md5(run_id), left(md5(run_id || '#' || sequence), 16),
        left(md5(run_id || '/' || server_round), 16), 'checkpoint',
        inside.moment(time_s - (body->>'duration_s')::DOUBLE),
        (body->>'duration_s')::DOUBLE, 'ok',
        json_object('server_round', server_round,
            'size_bytes', (body->>'size_bytes')::BIGINT)
    FROM inside.every_event WHERE kind = 'checkpoint' AND NOT superseded
"""

_EXPERIMENTS = """
    SELECT experiment, count(*) AS num_runs,
        count(*) FILTER (state = 'completed') AS num_completed,
        count(DISTINCT sweep) AS num_sweeps,
        min(created_at) AS first_at, max(created_at) AS last_at
    FROM runs GROUP BY experiment
"""

_SWEEPS = """
    SELECT sweep, experiment, count(*) AS num_runs,
        count(*) FILTER (state = 'completed') AS num_completed,
        count(DISTINCT seed) AS num_seeds,
        min(created_at) AS first_at, max(created_at) AS last_at
    FROM runs WHERE sweep IS NOT NULL GROUP BY sweep, experiment
"""

_MODELS = """
    SELECT * EXCLUDE (lineage, registered_s, staged_s), lineage.*,
        inside.moment(registered_s) AS registered_at, inside.moment(staged_s) AS staged_at
    FROM inside.model
"""

_AUDIT = """
    SELECT sequence, inside.moment(time_s) AS time_at, author, action, run_id, body, chain
    FROM inside.record
"""

SELECTS: Mapping[str, str] = MappingProxyType(
    {
        "runs": _RUNS,
        "parameters": _PARAMETERS,
        "rounds": _ROUNDS,
        "run_metrics": _RUN_METRICS,
        "client_metrics": _CLIENT_METRICS,
        "metrics": _METRICS,
        "clients": _CLIENTS,
        "events": _EVENTS,
        "artifacts": _ARTIFACTS,
        "logged": _LOGGED,
        "resources": _RESOURCES,
        "settings": SETTINGS,
        "commands": COMMANDS,
        "spans": _SPANS,
        "experiments": _EXPERIMENTS,
        "sweeps": _SWEEPS,
        "models": _MODELS,
        "audit": _AUDIT,
    }
)
"""A SELECT for each table, with its columns by name; what others need comes first."""

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"spans": ("runs", "rounds"), "experiments": ("runs",), "sweeps": ("runs",)}
)
"""Tables that others are views of."""
