"""One run's story and one client's: asked of the store when somebody clicks, not before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from flip_lab.boards.comparer.catalogue import Catalogue, Readable
from flip_lab.boards.comparer.payload import odd_word, plain_number
from flip_lab.boards.comparer.thinning import LINE_POINTS, kept
from flip_lab.core.errors import InvalidValueError, RunNotFoundError

MOST_REPLIES = 5_000
"""Replies of one round that are listed."""

BAND = (0.1, 0.9)
"""Quantiles of the cohort between which its band lies."""

_RUN = """
    SELECT run_id, name, state, engine, seed, rounds_done, num_rounds, num_nodes,
        experiment, sweep, tags, note, error_code, error AS error_text,
        epoch(created_at) AS created_s, epoch(ended_at - started_at) AS duration_s
    FROM runs WHERE run_id = ?
"""

_STATES = """
    SELECT epoch(time_at) AS time_s, body->>'state' AS state
    FROM events WHERE run_id = ? AND kind = 'state' ORDER BY sequence
"""

_LAST_ROUND = "SELECT max(server_round) AS last FROM clients WHERE run_id = ?"

_REPLIES = """
    SELECT phase, node_id, partition_id, num_examples, duration_s, error_code, metrics,
        count(*) OVER () AS num_replies
    FROM clients WHERE run_id = $run AND server_round = $round
    ORDER BY partition_id, node_id, phase LIMIT $most
"""

_CLIENT = """
    SELECT server_round, count(*) AS num_clients,
        quantile_cont(value, {low}) FILTER (isfinite(value)) AS low,
        median(value) FILTER (isfinite(value)) AS middle,
        quantile_cont(value, {high}) FILTER (isfinite(value)) AS high,
        max(value) FILTER ({who}) AS value, count(*) FILTER ({who}) AS is_there
    FROM client_metrics
    WHERE run_id = $run AND phase = $phase AND name = $name
    GROUP BY server_round ORDER BY server_round
"""


def run_history(
    lab: Readable,
    catalogue: Catalogue,
    run_id: str,
    *,
    among: Sequence[str],
    server_round: int | None = None,
) -> dict[str, Any]:
    """Tell what one run was, and what its clients did in one round.

    Args:
        lab: The lab.
        catalogue: What is known of its runs.
        run_id: The run.
        among: The runs that it is compared with.
        server_round: The round; ``None``: the last one in which clients took part.

    Returns:
        JSON-ready: the columns of the table ``runs`` that people ask for, ``states`` (each
        with its time in s since the Unix epoch), ``settings`` (keys in which the runs
        differ: its value and how many of the others share it), ``round``,
        ``last_round``, and ``clients`` (see ``client_table``).

    Raises:
        RunNotFoundError: If the run is gone.
    """
    found = _rows(lab, _RUN, [run_id])
    if not found:
        raise RunNotFoundError(f"Run {run_id} is gone.", fix="Refresh the list of runs.")
    last = _plain(_rows(lab, _LAST_ROUND, [run_id])[0]["last"])
    shown = last if server_round is None else server_round
    states = _rows(lab, _STATES, [run_id])
    run = found[0]
    return {
        **{name: _plain(value) for name, value in run.items()},
        "states": [{name: _plain(each[name]) for name in each} for each in states],
        "settings": _settings(catalogue, run_id, among),
        "round": shown,
        "last_round": last,
        "clients": client_table(lab, run_id, int(shown or 0)),
    }


def client_table(lab: Readable, run_id: str, server_round: int) -> dict[str, Any]:
    """Tell what each client did in one round.

    Args:
        lab: The lab.
        run_id: The run.
        server_round: The round.

    Returns:
        JSON-ready: ``columns`` (``key``: ``phase/name``, ``label``) and ``rows``, one a
        client: ``id`` (``p7`` for partition 7, ``n…`` for a node whose partition is not
        known), ``examples`` (of its largest reply), ``seconds`` (all phases), ``error``
        (Flower's code, 0 when all went well), ``values`` by column, null where it
        reported none, and ``odd`` (NaN or infinite, by column). ``num_replies`` counts all
        replies, also those beyond the listed ones.
    """
    asked = {"run": run_id, "round": server_round, "most": MOST_REPLIES}
    replies = _rows(lab, _REPLIES, asked)
    metrics = [(r["phase"], name) for r in replies for name in _reported(r)]
    columns = sorted(set(metrics), key=lambda each: (each[0] != "evaluate", each))
    names = Counter(name for _, name in columns)
    rows: dict[str, dict[str, Any]] = {}
    for reply in replies:
        row = rows.setdefault(_client_id(reply), _blank(reply, len(columns)))
        row["examples"] = max(row["examples"], plain_number(reply["num_examples"]) or 0)
        row["seconds"] += plain_number(reply["duration_s"]) or 0.0
        row["error"] = row["error"] or int(reply["error_code"])
        for name, value in _reported(reply).items():
            at = columns.index((reply["phase"], name))
            row["values"][at] = plain_number(value)
            if word := odd_word(value):
                row["odd"][str(at)] = word
    return {
        "columns": [
            {
                "key": f"{phase}/{name}",
                "label": name if names[name] == 1 else f"{name} ({phase})",
            }
            for phase, name in columns
        ],
        "rows": list(rows.values()),
        "num_replies": int(replies[0]["num_replies"]) if replies else 0,
        "num_listed": len(replies),
    }


def client_history(
    lab: Readable, run_id: str, client: str, *, phase: str, name: str
) -> dict[str, Any]:
    """Tell one client's metric over the rounds, beside that of its cohort.

    DuckDB reads this run's rows of this metric and gives one row a round.

    Args:
        lab: The lab.
        run_id: The run.
        client: ``p`` and its partition, or ``n`` and its node.
        phase: The phase.
        name: The metric.

    Returns:
        JSON-ready arrays, one entry a round: ``round``, ``y`` (null where it took no part
        or has no finite value), ``odd`` (by index), ``low``, ``middle``, ``high`` (the
        cohort's 10 %, 50 % and 90 % quantiles) and ``clients`` (its size).

    Raises:
        InvalidValueError: If it is no client's name.
    """
    number = client[1:]
    if client[:1] not in {"p", "n"} or not number.isdecimal():
        raise InvalidValueError(f"client is {client!r}.", fix="Pass one of the table's.")
    who = "partition_id = CAST($client AS INTEGER)"
    if client.startswith("n"):
        who = "partition_id < 0 AND node_id = CAST($client AS UBIGINT)"
    statement = _CLIENT.format(who=who, low=BAND[0], high=BAND[1])
    asked = {"run": run_id, "phase": phase, "name": name, "client": number}
    rows = _rows(lab, statement, asked)
    values = np.array([_value(row) for row in rows], dtype=np.float64)
    there = [bool(row["is_there"]) for row in rows]
    shown = [int(place) for place in kept(values, LINE_POINTS)]
    odd = {str(at): odd_word(float(values[i])) for at, i in enumerate(shown) if there[i]}
    return {
        "round": [int(rows[i]["server_round"]) for i in shown],
        "y": [plain_number(float(values[i])) for i in shown],
        "odd": {at: word for at, word in odd.items() if word},
        **{
            part: [_reading(rows[i][part]) for i in shown]
            for part in ("low", "middle", "high")
        },
        "clients": [int(rows[i]["num_clients"]) for i in shown],
    }


def _rows(
    lab: Readable, statement: str, values: Sequence[object] | Mapping[str, object]
) -> list[dict[str, Any]]:
    return lab.sql(statement, values).to_dict("records")


def _value(row: Mapping[str, Any]) -> float:
    return float(row["value"]) if row["is_there"] else float("nan")


def _client_id(reply: Mapping[str, Any]) -> str:
    partition_id = int(reply["partition_id"])
    return f"p{partition_id}" if partition_id >= 0 else f"n{int(reply['node_id'])}"


def _reported(reply: Mapping[str, Any]) -> dict[str, float]:
    return dict(reply["metrics"] or {})


def _blank(reply: Mapping[str, Any], num_columns: int) -> dict[str, Any]:
    return {
        "id": _client_id(reply),
        "examples": 0,
        "seconds": 0.0,
        "error": 0,
        "values": [None] * num_columns,
        "odd": {},
    }


def _settings(
    catalogue: Catalogue, run_id: str, among: Sequence[str]
) -> list[dict[str, Any]]:
    others = [each for each in among if each != run_id]
    found: list[dict[str, Any]] = []
    for name in catalogue.differing([run_id, *others]):
        texts = catalogue.texts[name]
        mine = texts.get(run_id)
        same = sum(texts.get(each) == mine for each in others)
        found.append({"name": name, "value": mine, "same": same, "others": len(others)})
    return found


def _reading(value: Any) -> float | None:  # noqa: ANN401  # as below
    told = _plain(value)
    return None if told is None else plain_number(float(told))


def _plain(value: Any) -> Any:  # noqa: ANN401  # a cell of a frame is anything
    """Give a cell as JSON can hold it; null where there is nothing."""
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return cast("object", value) if isinstance(value, (str, bool, int, list)) else None
