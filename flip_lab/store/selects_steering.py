"""How tables about steering are made, as SQL: what was asked, what was in force."""

from __future__ import annotations

COMMANDS = """
    SELECT run_id, sequence, inside.moment(time_s) AS time_at, server_round,
        (body->>'from_round')::INTEGER AS from_round, body->>'command' AS command,
        coalesce(body->>'author', '') AS author,
        (body->'refused') IS NOT NULL AS is_refused, body
    FROM inside.every_event WHERE kind = 'control'
    QUALIFY row_number() OVER (
        PARTITION BY run_id, coalesce(body->>'id', sequence::VARCHAR) ORDER BY sequence
    ) = 1
"""
"""Also those of rounds that a resumed run made anew: they stay asked for."""

SETTINGS = """
    WITH told AS (
        SELECT run_id, server_round AS from_round, body FROM inside.every_event
        WHERE kind = 'settings' AND NOT superseded
        QUALIFY row_number() OVER (
            PARTITION BY run_id, server_round ORDER BY sequence DESC
        ) = 1
    ), scopes AS (
        SELECT run_id, from_round, scope,
            (CASE WHEN scope = 'run' AND (body->'excluded') IS NOT NULL
                THEN json_merge_patch(coalesce(body->'run', '{}'),
                    json_object('excluded', body->'excluded'))
                ELSE json_extract(body, scope) END)::MAP(VARCHAR, JSON) AS held
        FROM told, (VALUES ('train'), ('evaluate'), ('strategy'), ('run'), ('policy'))
            AS each(scope)
    ), listed AS (
        SELECT run_id, from_round, scope,
            unnest(map_keys(held)) AS name, unnest(map_values(held)) AS value
        FROM scopes
    )
    SELECT run_id, from_round, scope, name, value->>'$' AS value,
        CASE WHEN json_type(value) IN ('BIGINT', 'UBIGINT', 'DOUBLE')
            THEN (value->>'$')::DOUBLE
            WHEN json_type(value) = 'BOOLEAN' THEN (value->>'$')::BOOLEAN::DOUBLE
            END AS number
    FROM listed
"""
