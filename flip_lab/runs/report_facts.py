"""What a report says, read from the store in a few queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flip_lab.core.errors import FlipLabError
from flip_lab.core.outcome import error_in
from flip_lab.core.state import RunState
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.runs.checkpoints import Checkpoint
from flip_lab.runs.spec import RunSpec
from flip_lab.store import query
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    import pandas as pd

_LAST_ROUNDS = """
SELECT m.* FROM client_metrics m JOIN (
    SELECT run_id, phase, max(server_round) AS server_round
    FROM client_metrics WHERE name = $name AND list_contains($run_ids, run_id)
    GROUP BY ALL
) USING (run_id, phase, server_round)
WHERE m.name = $name
"""
_FAILURES = """
SELECT server_round, phase, partition_id, error_code,
       split_part(error, chr(10), 1) AS error,
       count(*) OVER () AS total
FROM clients WHERE run_id = $run_id AND error_code <> 0 ORDER BY sequence LIMIT 20
"""
_LAST_STATE = """
SELECT body FROM events WHERE run_id = $run_id AND kind = 'state'
ORDER BY sequence DESC LIMIT 1
"""
_PHASES = """
SELECT phase, count(*) AS replies, count(DISTINCT partition_id) AS clients,
       median(duration_s) AS median_s, quantile_cont(duration_s, 0.95) AS p95_s,
       max(duration_s) AS slowest_s, arg_max(partition_id, duration_s) AS slowest,
       sum(bytes_down) AS down, sum(bytes_up) AS up
FROM clients WHERE run_id = $run_id AND error_code = 0 GROUP BY phase ORDER BY phase DESC
"""
_USED = """
SELECT name, min(value) AS lowest, avg(value) AS mean, max(value) AS highest,
       count(*) AS samples
FROM resources WHERE run_id = $run_id GROUP BY name ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """The tables of some runs.

    Attributes:
        lab: The lab that keeps them.
        run_ids: The runs.
    """

    lab: LabDir
    run_ids: tuple[str, ...]

    def table(self, name: str) -> pd.DataFrame:
        """Give the rows that a table has of these runs."""
        return query.table(self.lab, name, run_ids=self.run_ids)

    def client_metric(self, name: str) -> pd.DataFrame:
        """Give all reports of one metric by the clients of the one run."""
        statement = "SELECT * FROM client_metrics WHERE run_id = $run_id AND name = $name"
        return query.sql(self.lab, statement, {"run_id": self.run_ids[0], "name": name})

    def last_reports(self, name: str) -> pd.DataFrame:
        """Give the reports of one metric in the last round of each run and phase."""
        parameters = {"run_ids": list(self.run_ids), "name": name}
        return query.sql(self.lab, _LAST_ROUNDS, parameters)

    def failures(self) -> list[dict[str, Any]]:
        """Give the first twenty failures of clients; each row holds their total."""
        return self._rows(_FAILURES)

    def phases(self) -> list[dict[str, Any]]:
        """Give what clients took in each phase."""
        return self._rows(_PHASES)

    def resources(self) -> list[dict[str, Any]]:
        """Give what the run's processes used."""
        return self._rows(_USED)

    def client_metric_names(self) -> list[str]:
        """Give the names that clients reported, in the order of ``metric_rank``."""
        statement = (
            "SELECT DISTINCT name FROM client_metrics WHERE list_contains($r, run_id)"
        )
        parameters = {"r": list(self.run_ids)}
        rows = query.sql(self.lab, statement, parameters, as_="rows")
        return sorted((str(row["name"]) for row in rows), key=metric_rank)

    @property
    def spec(self) -> RunSpec:
        """The one run as it was asked for.

        Raises:
            RunNotFoundError: If the lab keeps no such run.
        """
        return RunSpec.load(self.lab.run_dir(self.run_ids[0]))

    def error(self) -> FlipLabError | None:
        """Give why the one run failed; ``None`` unless it did."""
        rows = self._rows(_LAST_STATE)
        body: dict[str, Any] = json.loads(rows[0]["body"]) if rows else {}
        return error_in(body) if body.get("state") == RunState.FAILED else None

    def checkpoints(self) -> list[Checkpoint]:
        """Give the rounds that the one run can be taken up from, oldest first."""
        folder = CheckpointFolder(self.lab.run_dir(self.run_ids[0]))
        return [manifest.checkpoint() for manifest in folder.manifests()]

    def _rows(self, statement: str) -> list[dict[str, Any]]:
        parameters = {"run_id": self.run_ids[0]}
        return query.sql(self.lab, statement, parameters, as_="rows")


def metric_rank(name: str) -> tuple[bool, bool, bool, str]:
    """Give a key that puts what a report should lead with first: evaluated accuracy."""
    return (
        not name.startswith("eval_"),
        "accuracy" not in name,
        name.endswith("loss"),
        name,
    )


def leading_metric(names: Sequence[str]) -> str | None:
    """Give the metric that a report leads with; ``None`` if there is none."""
    return min(names, key=metric_rank, default=None)
