"""One run as the API shows it: its row, its newest numbers, where it can be forked."""

from __future__ import annotations

from typing import Any

from flip_lab.api.schemas.tables import rows_of
from flip_lab.api.service import Service
from flip_lab.core.errors import RunNotFoundError
from flip_lab.runs.run import Run
from flip_lab.store import query

# One question: each costs a look at all of the lab's files.
_RUN = """
    SELECT *, (
        SELECT coalesce(map_from_entries(list((called, last) ORDER BY place)), MAP {})
        FROM (
            SELECT name || CASE scope WHEN 'central' THEN '_central' ELSE '' END AS called,
                arg_min(last, (phase, scope)) AS last, called AS place
            FROM run_metrics WHERE run_id = $run_id GROUP BY called
        )
    ) AS metrics
    FROM runs WHERE run_id = $run_id
"""


def whole_run(service: Service, run: Run) -> dict[str, Any]:
    """Give a run as ``GET /runs/{run_id}`` shows it.

    Args:
        service: The app's service.
        run: The run.

    Raises:
        RunNotFoundError: If it went meanwhile.
        StoreError: If the lab cannot be read.
    """
    lab, run_id = service.lab_dir, run.run_id
    found = query.sql(lab, _RUN, {"run_id": run_id}, as_="rows")
    rows = rows_of("runs", found)
    if not rows:
        raise RunNotFoundError(
            f"Run {run_id} is gone.", fix="GET /runs lists the runs that there are."
        )
    config = {k: v for k, v in run.spec.run_config.items() if k != "scenario"}
    return {
        **rows[0],
        "run_config": config,
        "checkpoints": [
            {
                "server_round": each.server_round,
                "created_at": each.time,
                "size_bytes": each.size_bytes,
            }
            for each in run.checkpoints
        ],
        "forks": [
            row["run_id"]
            for row in reversed(service.roster.rows)
            if row["parent_run_id"] == run_id
        ],
    }
