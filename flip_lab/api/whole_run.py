"""One run as the API shows it: its row, its newest numbers, where it can be forked."""

from __future__ import annotations

from typing import Any

from flip_lab.api.schemas.tables import rows_of
from flip_lab.api.service import Service
from flip_lab.core.errors import RunNotFoundError
from flip_lab.runs.run import Run
from flip_lab.store import query

_RUN = "SELECT * FROM runs WHERE run_id = ?"
_METRICS = """
    SELECT CASE WHEN scope = 'central' THEN name || '_central' ELSE name END AS name, last
    FROM run_metrics WHERE run_id = ? ORDER BY phase DESC, scope DESC, name
"""
_FORKS = "SELECT run_id FROM runs WHERE parent_run_id = ? ORDER BY created_at, run_id"


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
    rows = rows_of("runs", query.sql(lab, _RUN, [run_id], as_="rows"))
    if not rows:
        raise RunNotFoundError(
            f"Run {run_id} is gone.", fix="GET /runs lists the runs that there are."
        )
    metrics = query.sql(lab, _METRICS, [run_id], as_="rows")
    forks = query.sql(lab, _FORKS, [run_id], as_="rows")
    config = {k: v for k, v in run.spec.run_config.items() if k != "scenario"}
    return {
        **rows[0],
        "metrics": {row["name"]: row["last"] for row in metrics},
        "run_config": config,
        "checkpoints": [
            {
                "server_round": each.server_round,
                "created_at": each.time,
                "size_bytes": each.size_bytes,
            }
            for each in run.checkpoints
        ],
        "forks": [row["run_id"] for row in forks],
    }
