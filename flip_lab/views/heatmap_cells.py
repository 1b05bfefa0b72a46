"""Clients by rounds as a table: put in order, and binned to what a page can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from flip_lab.views.canvas import node_names, numbers

Order: TypeAlias = Literal["value", "partition", "cluster"]
"""How rows are ordered, see ``views.client_heatmap``."""

_Floats: TypeAlias = npt.NDArray[np.float64]

_MOST_ROWS = 200  # of at least 3 pixels; more clients share rows
_MOST_ROUNDS = 400  # columns; more rounds share one


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTable:
    """Clients by rounds; a report that is not finite is infinite, a missing one NaN."""

    clients: list[str]
    rounds: _Floats
    grid: _Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """What is drawn; with several clients a row, or rounds a column, their medians."""

    rows: list[str]
    rounds: _Floats
    middle: _Floats
    low: _Floats
    high: _Floats
    reported: _Floats
    diverged: _Floats
    clients_a_row: int
    rounds_a_column: int


def table_of(kept: pd.DataFrame) -> ClientTable:
    """Give one metric's reports as a table, clients by partition.

    Args:
        kept: Rows of ``client_metrics`` of one run, metric and phase; not empty.

    Raises:
        ViewError: If ``server_round`` or ``value`` holds no numbers.
    """
    rounds = numbers(kept, "server_round", view="client_heatmap")
    values = numbers(kept, "value", view="client_heatmap")
    who = pd.MultiIndex.from_frame(kept[["partition_id", "node_id"]].fillna(-1))
    codes, clients = pd.factorize(who, sort=True)
    _, first = np.unique(codes, return_index=True)
    shown_rounds, columns = np.unique(rounds, return_inverse=True)
    return ClientTable(
        clients=_told_apart(node_names(kept.take(first)), clients),
        rounds=shown_rounds,
        grid=_grid(codes, columns, values, shape=(len(clients), shown_rounds.size)),
    )


def _grid(
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    values: _Floats,
    *,
    shape: tuple[int, int],
) -> _Floats:
    """Spread reports over a table; of several in a cell their mean, or infinity."""
    finite = np.isfinite(values)
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, (rows[finite], columns[finite]), values[finite])
    np.add.at(count, (rows[finite], columns[finite]), 1)
    mean = np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)
    mean[rows[~finite], columns[~finite]] = np.inf
    return mean


def _told_apart(names: pd.Series[str], keys: pd.Index[Any]) -> list[str]:
    """Make names unique: two rows of one name would be drawn as one."""
    twice = names.duplicated(keep=False)
    return [
        f"{name} (partition {partition_id}, node {node_id})" if is_twice else name
        for name, is_twice, (partition_id, node_id) in zip(names, twice, keys, strict=True)
    ]


def ranked(table: ClientTable, order: Order) -> ClientTable:
    """Put the clients in order, the first one lowest in the figure."""
    if order == "partition":  # numbers are read from the top
        rank = np.arange(len(table.clients))[::-1]
    else:
        score = _mean_finite(table.grid) if order == "value" else _course(table.grid)
        broken = np.isposinf(table.grid).sum(axis=1)
        rank = np.lexsort((np.nan_to_num(score, nan=-np.inf), broken))
    return ClientTable(
        clients=[table.clients[at] for at in rank],
        rounds=table.rounds,
        grid=table.grid[rank],
    )


def _mean_finite(values: _Floats, *, axis: int = 1) -> _Floats:
    finite = np.isfinite(values)
    total = np.where(finite, values, 0.0).sum(axis=axis)
    count = finite.sum(axis=axis)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _course(values: _Floats) -> _Floats:
    """Give each client's place along the first principal component of the courses."""
    middle = _mean_finite(values, axis=0)
    gap = np.where(np.isfinite(values), values - middle, 0.0)
    gap = np.nan_to_num(gap)  # a round in which nobody was finite has no mean
    _, axes = np.linalg.eigh(gap.T @ gap)
    place = gap @ axes[:, -1]
    agrees = float(place @ gap.sum(axis=1)) >= 0  # an eigenvector's sign means nothing
    return place if agrees else -place


def cells_of(table: ClientTable) -> Cells:
    """Bin a table to at most 200 rows and 400 columns."""
    num_clients, num_rounds = table.grid.shape
    tall, wide = -(-num_clients // _MOST_ROWS), -(-num_rounds // _MOST_ROUNDS)
    rows, columns = -(-num_clients // tall), -(-num_rounds // wide)
    padded = np.full((rows * tall, columns * wide), np.nan)
    padded[:num_clients, :num_rounds] = table.grid
    blocks = padded.reshape(rows, tall, columns, wide).swapaxes(1, 2)
    blocks = blocks.reshape(rows, columns, tall * wide)
    finite = np.isfinite(blocks)
    values = np.where(finite, blocks, np.nan)
    middle = np.full((rows, columns), np.nan)
    some = finite.any(axis=2)
    middle[some] = np.nanmedian(values[some], axis=1)
    return Cells(
        rows=[
            _row_name(table.clients[at * tall : (at + 1) * tall], at * tall)
            for at in range(rows)
        ],
        rounds=table.rounds[::wide],
        middle=middle,
        low=np.where(finite, blocks, np.inf).min(axis=2),
        high=np.where(finite, blocks, -np.inf).max(axis=2),
        reported=(~np.isnan(blocks)).sum(axis=2).astype(np.float64),
        diverged=np.isinf(blocks).sum(axis=2).astype(np.float64),
        clients_a_row=tall,
        rounds_a_column=wide,
    )


def _row_name(clients: list[str], first: int) -> str:
    if len(clients) == 1:
        return clients[0]
    few = ", ".join(each.removeprefix("partition ") for each in clients[:6])
    more = ", …" if len(clients) > 6 else ""  # noqa: PLR2004  # as many as fit a line
    return f"clients {first + 1:,} to {first + len(clients):,}<br>partitions {few}{more}"
