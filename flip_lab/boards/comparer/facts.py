"""Read what chosen runs recorded, each run and metric once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flip_lab.boards.comparer.catalogue import Catalogue, Readable
from flip_lab.boards.comparer.choice import Choice
from flip_lab.boards.comparer.picture import Facts

if TYPE_CHECKING:  # see comparer_catalogue
    import pandas as pd

_POINTS = """
    SELECT run_id, server_round, arg_max(value, sequence) AS value
    FROM metrics
    WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
        AND name = $name AND phase = $phase AND scope = $scope
    GROUP BY run_id, server_round ORDER BY run_id, server_round
"""

_ROUNDS = """
    SELECT run_id, server_round, duration_s, bytes_down, bytes_up
    FROM rounds WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
"""

_COSTS = "rounds"


class FactReader:
    """Asks a lab for the points of runs that were not asked for before.

    Ticking one more run among a thousand reads that run only. What was read stays as it
    was; a new reader reads anew.

    Args:
        lab: The lab.
    """

    def __init__(self, lab: Readable) -> None:
        """Read nothing yet."""
        self._lab = lab
        self._read: dict[str, set[str]] = {}
        self._frames: dict[str, pd.DataFrame] = {}

    def read(self, catalogue: Catalogue, run_ids: Sequence[str], choice: Choice) -> Facts:
        """Give what a choice needs.

        Args:
            catalogue: What is known of the runs.
            run_ids: The chosen ones.
            choice: The metrics, and whether costs are an axis.

        Raises:
            AnalysisError: If a metric is unknown.
        """
        points: dict[str, pd.DataFrame] = {}
        for key in choice.metrics:
            metric = catalogue.metric(key)
            asked = {"name": metric.name, "phase": metric.phase, "scope": metric.scope}
            points[key] = self._frame(key, _POINTS, run_ids, asked)
        if choice.x == "round":
            return Facts(points=points)
        return Facts(points=points, rounds=self._frame(_COSTS, _ROUNDS, run_ids, {}))

    def _frame(
        self, kind: str, statement: str, run_ids: Sequence[str], asked: dict[str, str]
    ) -> pd.DataFrame:
        import pandas as pd

        seen = self._read.setdefault(kind, set())
        new = [run_id for run_id in run_ids if run_id not in seen]
        if new or kind not in self._frames:
            rows = self._lab.sql(statement, {**asked, "ids": new})
            before = self._frames.get(kind)
            self._frames[kind] = rows if before is None else pd.concat([before, rows])
            seen.update(new)
        return self._frames[kind]
