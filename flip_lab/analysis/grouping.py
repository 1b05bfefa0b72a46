"""Group runs by any keys: columns of ``runs`` or names of ``parameters``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import pandas as pd

from flip_lab.analysis.inputs import require_columns
from flip_lab.core.errors import AnalysisError, nearest

Value: TypeAlias = "str | int | float | bool | None"
"""What a run has under a key; None where it has nothing."""

_RESERVED = ("run_id",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which group each run belongs to.

    Attributes:
        by: The keys.
        groups: For each group's label its value under each key, in the groups' order:
            numbers by size, then words, then those without a value.
        of_run: The label of each run's group, by ``run_id``.
    """

    by: tuple[str, ...]
    groups: Mapping[str, tuple[Value, ...]]
    of_run: Mapping[str, str]


def group_runs(
    runs: pd.DataFrame, parameters: pd.DataFrame | None, *, by: Sequence[str]
) -> Grouping:
    """Group runs by their values under some keys.

    Args:
        runs: Rows of the table ``runs``; needs ``run_id``.
        parameters: Rows of the table ``parameters``: ``run_id``, ``name``, ``value``,
            ``number``; None when only columns of ``runs`` are keys.
        by: Keys. None at all puts every run into one group.

    Returns:
        The groups. A run that lacks a key belongs to the group without a value there.

    Raises:
        AnalysisError: If no run has one of the keys.
    """
    run_ids = [str(run_id) for run_id in runs["run_id"]]
    keys = tuple(dict.fromkeys(by))
    columns = [values_under(key, runs, parameters) for key in keys]
    of_run = {run_id: tuple(held[run_id] for held in columns) for run_id in run_ids}
    ordered = sorted(set(of_run.values()), key=lambda values: [*map(order_of, values)])
    labels = _labels(keys, ordered)
    called = dict(zip(ordered, labels, strict=True))
    return Grouping(
        by=keys,
        groups=dict(zip(labels, ordered, strict=True)),
        of_run={run_id: called[values] for run_id, values in of_run.items()},
    )


def values_under(
    key: str, runs: pd.DataFrame, parameters: pd.DataFrame | None
) -> dict[str, Value]:
    """Look up one key for each run.

    A column of ``runs`` goes before a parameter of the same name.

    Args:
        key: A column of ``runs`` or the name of a parameter, such as ``strategy.name``.
        runs: Rows of the table ``runs``.
        parameters: Rows of the table ``parameters``, or None.

    Returns:
        The value by ``run_id``; None where a run has none.

    Raises:
        AnalysisError: If no run has the key; the nearest is named.
    """
    held: dict[str, Value] = dict.fromkeys((str(run_id) for run_id in runs["run_id"]), None)
    configured = _configured(key, parameters)
    if key not in runs.columns and not configured.keys() & held.keys():
        raise AnalysisError(
            f"No run has the key {key!r}.",
            fix=nearest(key, _keys(runs, parameters)),
        )
    held |= {run_id: value for run_id, value in configured.items() if run_id in held}
    if key in runs.columns:
        for run_id, value in zip(runs["run_id"], runs[key].tolist(), strict=True):
            plain = _plain(value)
            held[str(run_id)] = held[str(run_id)] if plain is None else plain
    return held


def _configured(key: str, parameters: pd.DataFrame | None) -> dict[str, Value]:
    if parameters is None:
        return {}
    require_columns(parameters, ("run_id", "name", "value", "number"), what="parameters")
    rows = parameters[parameters["name"] == key]
    return {
        str(run_id): _typed(text, number)
        for run_id, text, number in zip(
            rows["run_id"].tolist(),
            rows["value"].tolist(),
            rows["number"].tolist(),
            strict=True,
        )
    }


def _keys(runs: pd.DataFrame, parameters: pd.DataFrame | None) -> set[str]:
    names = {str(name) for name in runs.columns} - {*_RESERVED}
    if parameters is not None:
        mine = parameters["run_id"].isin(runs["run_id"].tolist())
        names |= {str(name) for name in parameters.loc[mine, "name"]}
    return names


def _typed(text: object, number: object) -> Value:
    """Read a parameter: it is kept as text, and beside it as a number where it is one."""
    words = _plain(text)
    figure = _plain(number)
    if not isinstance(figure, (int, float)):
        return words
    if isinstance(words, str) and words in {"true", "false"}:
        return words == "true"
    whole = isinstance(words, str) and words.lstrip("+-").isdigit()
    return int(words) if whole and isinstance(words, str) else float(figure)


def _plain(value: Any) -> Value:  # noqa: ANN401  # a cell of a frame is anything
    """Give a cell as something that can be compared and shown."""
    if isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "tolist"):  # numpy's scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, cast("list[Any]", value)))
    if value is None or value is pd.NaT or value is pd.NA or value != value:  # noqa: PLR0124  # NaN
        return None
    return value if isinstance(value, float) else str(value)


def order_of(value: Value) -> tuple[int, float, str]:
    """Give a key that sorts values: numbers by size, then words, then None.

    Args:
        value: What a run has under a key.
    """
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, str):
        return 1, 0.0, value
    return 0, float(value), str(value)


def _labels(by: tuple[str, ...], groups: Iterable[tuple[Value, ...]]) -> list[str]:
    """Name groups as briefly as the keys allow, and no two alike."""
    short = [key.rpartition(".")[2] for key in by]
    called = [
        name if name != "name" and short.count(name) == 1 else key
        for key, name in zip(by, short, strict=True)
    ]
    labels: list[str] = []
    for values in groups:
        parts = [_part(name, value) for name, value in zip(called, values, strict=True)]
        label = ", ".join(parts) or "all runs"
        twin = 2
        while label in labels:
            label = f"{', '.join(parts)} ({twin})"
            twin += 1
        labels.append(label)
    return labels


def _part(name: str, value: Value) -> str:
    if value is None:
        return f"no {name}"
    if name.endswith("name"):
        return str(value)
    text = f"{value:.12g}" if isinstance(value, float) else str(value)
    return f"{name}={text}"
