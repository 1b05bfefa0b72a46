"""What somebody should look at: runs that failed or were lost, and warnings."""

from __future__ import annotations

from typing import Any

from flip_lab.store import query
from flip_lab.store.layout import LabDir

_ALERTS = """
    WITH found AS (
        SELECT ended_at AS time_at, run_id, -1::BIGINT AS sequence, 'error' AS level,
            coalesce(error_code, '') AS code, coalesce(error, '') AS message,
            rounds_done AS server_round
        FROM runs WHERE state = 'failed'
        UNION ALL
        SELECT time_at, run_id, sequence, 'warning', coalesce(body->>'code', ''),
            coalesce(body->>'message', ''), server_round
        FROM events WHERE kind = 'warning'
    )
    SELECT found.*, runs.name, runs.experiment
    FROM found JOIN runs USING (run_id) WHERE NOT runs.is_archived
    ORDER BY time_at DESC NULLS LAST, run_id DESC, sequence DESC
    LIMIT ? OFFSET ?
"""


def alert_page(lab: LabDir, *, start: int = 0, limit: int) -> list[dict[str, Any]]:
    """Give what somebody should look at, newest first; archived runs are left out.

    Args:
        lab: The lab.
        start: How many rows to leave out, from 0.
        limit: The most rows to give.

    Returns:
        ``time_at``, ``run_id``, ``sequence`` (of a warning's event; -1 for a failed run),
        ``level`` (``"error"`` or ``"warning"``), ``code``, ``message``, ``server_round``,
        and the run's ``name`` and ``experiment``.

    Raises:
        StoreError: If the lab cannot be read.
    """
    return query.sql(lab, _ALERTS, [limit, start], as_="rows")
