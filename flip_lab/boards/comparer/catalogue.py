"""What there is to choose from: runs, the keys in which they differ, their metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flip_lab.analysis.grouping import values_under
from flip_lab.analysis.inputs import require_metric
from flip_lab.boards.comparer.payload import value_text
from flip_lab.runs.search import Where

if TYPE_CHECKING:  # takes long to import; a kernel that only watches needs none of it
    import pandas as pd

USUAL_METRIC = "eval_accuracy"
MOST_KEYS = 60

_COLUMNS = (
    "name",
    "experiment",
    "sweep",
    "state",
    "seed",
    "tags",
    "engine",
    "federation",
    "kind",
    "num_nodes",
    "num_rounds",
    "workers",
    "git_commit",
    "git_dirty",
    "data_sha256",
    "parent_run_id",
    "forked_at_round",
    "error_code",
    "is_archived",
)
"""Columns of ``runs`` that make sensible groups; hashes of settings only repeat these."""

_SETTINGS = """
    WITH held AS (
        SELECT run_id, name, value, number FROM parameters
        WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
    ), telling AS (
        SELECT name FROM held GROUP BY name
        HAVING count(DISTINCT coalesce(value, '')) > 1 OR count(*) < len($ids::VARCHAR[])
    )
    SELECT run_id, name, value, number FROM held
    WHERE name IN (FROM telling) OR name IN (SELECT unnest($keys::VARCHAR[]))
    ORDER BY name, run_id
"""

_METRICS = """
    SELECT name, phase, scope, count(*) AS num_runs FROM run_metrics
    WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
    GROUP BY name, phase, scope
    ORDER BY num_runs DESC, phase, scope DESC, name
"""


class Readable(Protocol):
    """All that comparing needs of a lab; ``flip_lab.Lab`` is one."""

    @property
    def path(self) -> Path:
        """The lab's directory."""
        ...

    def runs(self, where: Where = None, *, parameters: Sequence[object] = ()) -> Any:  # noqa: ANN401  # a pandas frame
        """List runs, newest first."""
        ...

    def sql(
        self, statement: str, parameters: Sequence[object] | Mapping[str, object] | None
    ) -> Any:  # noqa: ANN401  # a pandas frame
        """Answer one query."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric that some of the runs recorded.

    Attributes:
        name: Its name.
        phase: Its phase.
        scope: Its scope.
        num_runs: Runs that recorded it.
    """

    name: str
    phase: str
    scope: str
    num_runs: int

    @property
    def key(self) -> str:
        """Name it in a choice: ``phase/scope/name``."""
        return f"{self.phase}/{self.scope}/{self.name}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """A lab's runs as they were when they were read.

    Attributes:
        runs: Rows of the table ``runs``, newest first.
        parameters: Rows of ``parameters``: keys in which these runs differ, and those
            that were asked for.
        metrics: What they recorded, what most of them have first.
    """

    runs: pd.DataFrame
    parameters: pd.DataFrame
    metrics: tuple[Metric, ...]

    @cached_property
    def run_ids(self) -> list[str]:
        """Ids of the runs, newest first."""
        return [str(run_id) for run_id in self.runs["run_id"].tolist()]

    @cached_property
    def texts(self) -> Mapping[str, Mapping[str, str | None]]:
        """Values by key and run, of keys in which runs differ; None where one has none."""
        names = [name for name in _COLUMNS if name in self.runs.columns]
        names += [name for name in _names(self.parameters) if name not in names]
        found: dict[str, Mapping[str, str | None]] = {}
        for name in names:
            values = values_under(name, self.runs, self.parameters)
            texts = {
                run_id: None if value in {None, ""} else value_text(value)
                for run_id, value in values.items()
            }
            if len(set(texts.values())) > 1 and len(found) < MOST_KEYS:
                found[name] = texts
        return found

    def differing(self, run_ids: Sequence[str]) -> list[str]:
        """Give the keys in which these runs differ, in the catalogue's order."""
        return [
            name
            for name, texts in self.texts.items()
            if len({texts.get(run_id) for run_id in run_ids}) > 1
        ]

    def metric(self, name: str) -> Metric:
        """Find a metric.

        Args:
            name: Its key, or its name: then the one that most runs have.

        Raises:
            AnalysisError: If no run recorded it; the nearest is named.
        """
        known = [each for each in self.metrics if name in {each.key, each.name}]
        if not known:
            require_metric(name, (each.name for each in self.metrics))
        return known[0]

    def usual_metrics(self) -> tuple[str, ...]:
        """Give the key of the metric to begin with; none where none was recorded."""
        usual = [each for each in self.metrics if each.name == USUAL_METRIC]
        return tuple(each.key for each in [*usual, *self.metrics][:1])

    def label(self, metric: Metric) -> str:
        """Say what to call a metric: its name, and the rest where it has namesakes."""
        namesakes = sum(each.name == metric.name for each in self.metrics)
        if namesakes == 1:
            return metric.name
        return f"{metric.name} ({metric.phase}, {metric.scope})"

    def payload(self) -> dict[str, Any]:
        """Give what the browser lists, JSON-ready; values are kept once for each key."""
        created = self.runs["created_at"].tolist() if self.run_ids else []
        shown = {
            name: _interned([str(each) for each in self.runs[name].tolist()])
            for name in ("name", "state")
        }
        return {
            "ids": self.run_ids,
            "created": [_seconds(each) for each in created],
            **shown,
            "keys": [
                {"name": name, **_interned([texts[each] for each in self.run_ids])}
                for name, texts in self.texts.items()
            ],
            "metrics": [
                {"key": each.key, "label": self.label(each), "runs": each.num_runs}
                for each in self.metrics
            ],
        }


def read_catalogue(
    lab: Readable,
    *,
    where: Where = None,
    parameters: Sequence[object] = (),
    keys: Sequence[str] = (),
) -> Catalogue:
    """Read what there is to choose from.

    Args:
        lab: The lab.
        where: Which runs, as ``Lab.runs`` takes it.
        parameters: Values for its ``?`` marks.
        keys: Parameters to read although all runs agree in them.

    Raises:
        QueryError: If the condition is wrong.
    """
    runs = lab.runs(where, parameters=parameters)
    ids = [str(run_id) for run_id in runs["run_id"].tolist()]
    rows = lab.sql(_METRICS, {"ids": ids})
    metrics = zip(
        *(rows[name].tolist() for name in ("name", "phase", "scope", "num_runs")),
        strict=True,
    )
    return Catalogue(
        runs=runs,
        parameters=lab.sql(_SETTINGS, {"ids": ids, "keys": list(keys)}),
        metrics=tuple(
            Metric(name=name, phase=phase, scope=scope, num_runs=int(num_runs))
            for name, phase, scope, num_runs in metrics
        ),
    )


def _names(parameters: pd.DataFrame) -> list[str]:
    return list(Counter(str(name) for name in parameters["name"].tolist()))


def _interned(values: Sequence[str | None]) -> dict[str, Any]:
    """Keep each value once, and for each run its position; -1 for none."""
    places: dict[str, int] = {}
    of = [-1 if each is None else places.setdefault(each, len(places)) for each in values]
    return {"values": list(places), "of": of}


def _seconds(moment: Any) -> int | None:  # noqa: ANN401  # a pandas timestamp, or NaT
    return int(moment.timestamp()) if moment == moment else None  # noqa: PLR0124  # NaT
