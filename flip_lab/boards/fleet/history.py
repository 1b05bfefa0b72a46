"""One node over the rounds, beside its cohort: asked of the store when somebody clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flip_lab.boards.comparer.catalogue import Readable
from flip_lab.boards.comparer.payload import odd_word, plain_number
from flip_lab.boards.comparer.thinning import LINE_POINTS, kept
from flip_lab.boards.fleet.scope import Scope
from flip_lab.core.errors import InvalidValueError

MOST_ERRORS = 20
"""Newest errors that are listed."""

BAND = (0.1, 0.9)
"""Quantiles of the cohort between which its band lies."""

_ROUNDS = """
    WITH fact AS (
        SELECT run_id, server_round, phase, duration_s, error_code, {who} AS is_mine,
            CASE WHEN phase = $metric_phase THEN metrics[$metric] END AS value
        FROM clients WHERE run_id IN (SELECT unnest($ids::VARCHAR[]))
    )
    SELECT row_number() OVER (ORDER BY any_value(run.created_at), run_id, server_round)
            AS place,
        run_id, server_round,
        count(value) FILTER (is_mine) > 0 AS is_told, max(value) FILTER (is_mine) AS value,
        quantile_cont(value, {low}) FILTER (isfinite(value)) AS low,
        median(value) FILTER (isfinite(value)) AS middle,
        quantile_cont(value, {high}) FILTER (isfinite(value)) AS high,
        max(duration_s) FILTER (is_mine AND phase = $phase) AS seconds,
        quantile_cont(duration_s, {low}) FILTER (phase = $phase) AS low_s,
        median(duration_s) FILTER (phase = $phase) AS middle_s,
        quantile_cont(duration_s, {high}) FILTER (phase = $phase) AS high_s,
        coalesce(max(error_code) FILTER (is_mine), 0) AS error_code
    FROM fact JOIN (SELECT run_id, created_at FROM runs) AS run USING (run_id)
    GROUP BY run_id, server_round ORDER BY place
"""

_ERRORS = """
    SELECT run_id, server_round, phase, error_code, error FROM clients
    WHERE run_id IN (SELECT unnest($ids::VARCHAR[])) AND error_code <> 0 AND {who}
    ORDER BY time_at DESC, sequence DESC LIMIT $most
"""


def node_history(lab: Readable, scope: Scope, node: str, metric: str) -> dict[str, Any]:
    """Tell what one node did, round by round.

    Args:
        lab: The lab.
        scope: Whose nodes.
        node: ``p`` and its partition, or ``n`` and its id.
        metric: ``phase/name``; empty for none.

    Returns:
        JSON-ready: ``x`` (the round; of several runs, a count of rounds), ``round`` (in
        words); ``value`` and ``seconds``, each a line with ``y`` (null where there is
        nothing), ``low``, ``middle`` and ``high`` (the cohort's 10 %, 50 % and 90 %
        quantiles) and ``odd`` (NaN or infinite, by index); ``errors`` (code by index); and
        ``told``, the newest errors with their last line and all that was kept of them.
        Long histories are thinned: peaks, gaps and errors stay.

    Raises:
        InvalidValueError: If it is no node's name.
    """
    number = node[1:]
    if node[:1] not in {"p", "n"} or not number.isdecimal():
        raise InvalidValueError(f"node is {node!r}.", fix="Pass one of the table's.")
    who = "partition_id = CAST($node AS INTEGER)"
    if node.startswith("n"):
        who = "(partition_id < 0 AND node_id = CAST($node AS UBIGINT))"
    phase, _, name = metric.partition("/")
    asked = {"ids": [*scope.run_ids], "node": number}
    statement = _ROUNDS.format(who=who, low=BAND[0], high=BAND[1])
    told = {**asked, "phase": scope.phase, "metric_phase": phase, "metric": name}
    rows = lab.sql(statement, told).to_dict("records")
    errors = lab.sql(_ERRORS.format(who=who), {**asked, "most": MOST_ERRORS})
    shown = [rows[at] for at in _kept(rows)]
    return {
        "x": [int(r["server_round" if scope.is_one_run else "place"]) for r in shown],
        "round": [_round(row, scope) for row in shown],
        "value": _line(shown, "value", ("low", "middle", "high")),
        "seconds": _line(shown, "seconds", ("low_s", "middle_s", "high_s")),
        "errors": {
            str(at): int(row["error_code"])
            for at, row in enumerate(shown)
            if row["error_code"]
        },
        "told": [_error(row, scope) for row in errors.to_dict("records")],
    }


def _kept(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    if len(rows) <= LINE_POINTS:
        return [*range(len(rows))]
    failed = [at for at, row in enumerate(rows) if row["error_code"]][-LINE_POINTS:]
    peaks = [
        int(at)
        for name in ("value", "seconds")
        for at in kept(_values(rows, name), LINE_POINTS)
    ]
    return sorted({*failed, *peaks})


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    given = [np.nan if row[name] is None else float(row[name]) for row in rows]
    return np.array(given, dtype=np.float64)


def _line(
    rows: Sequence[Mapping[str, Any]], name: str, band: tuple[str, str, str]
) -> dict[str, Any]:
    values = _values(rows, name)
    there = [name != "value" or bool(row["is_told"]) for row in rows]
    odd = {str(at): odd_word(float(values[at])) for at in range(len(rows)) if there[at]}
    quantiles = {
        told: [plain_number(float(each)) for each in _values(rows, column)]
        for told, column in zip(("low", "middle", "high"), band, strict=True)
    }
    return {
        "y": [plain_number(float(value)) for value in values],
        "odd": {at: word for at, word in odd.items() if word} if name == "value" else {},
        **quantiles,
    }


def _round(row: Mapping[str, Any], scope: Scope) -> str:
    words = f"round {int(row['server_round'])}"
    return words if scope.is_one_run else f"{words} of {row['run_id']}"


def _error(row: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    text = str(row["error"] or "").strip()
    return {
        "round": _round(row, scope),
        "phase": str(row["phase"]),
        "code": int(row["error_code"]),
        "last": text.splitlines()[-1] if text else "no message",
        "text": text,
    }
