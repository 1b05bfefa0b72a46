"""Every node of a run: what it does now, how long it took, what it said last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from math import isfinite
from typing import TypeAlias, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from flip_lab.boards.run.snapshot import number_text, tail, took_text
from flip_lab.core.events import EventKind, Json, RunEvent

SLOW_RATIO = 2.0
"""A client is slow when it took longer than this many times its cohort's median …"""
SLOW_BY_S = 0.05
"""… and by so many seconds at least: below that it was the machine, not the client."""

_FEWEST_FOR_A_MEDIAN = 3
_FIRST_ROOM = 64
_ERROR_LENGTH = 600
_UNKNOWN = -1

Body: TypeAlias = Mapping[str, Json]


class Cell(IntEnum):
    """What a cell of the client map says; JavaScript knows them by these numbers."""

    IDLE = 0  # not asked in this phase
    RUNNING = 1
    DONE = 2
    SLOW = 3
    FAILED = 4
    LEFT_OUT = 5


class NodeFacts(TypedDict):
    """One node in words, for whoever points at its cell.

    Attributes:
        at: Its cell, from 0.
        title: Such as ``partition 7``.
        name: The id that ``run.exclude`` takes, as Python writes it.
        words: What it does now and how it did last, in one sentence.
        metrics: The numbers that it reported last, ready to show, by name.
        error: The tail of its last error; empty when it never failed.
        error_round: The round of that error; 0 for none.
    """

    at: int
    title: str
    name: str
    words: str
    metrics: dict[str, str]
    error: str
    error_round: int


class Fleet:
    """The nodes of one run, as ``DISPATCHED`` and ``CLIENT`` events tell of them.

    Each event costs the same, whatever the number of nodes.

    Args:
        num_nodes: Nodes that the run has in all, so that those never asked have a cell;
            0 when unknown.
    """

    def __init__(self, num_nodes: int = 0) -> None:
        """Know of nobody yet."""
        self._num_nodes = num_nodes
        self._rows: dict[int, int] = {}
        self._node_ids: list[int] = []
        self._partition: NDArray[np.int64] = np.zeros(_FIRST_ROOM, np.int64)
        self._state: NDArray[np.uint8] = np.zeros(_FIRST_ROOM, np.uint8)
        self._duration_s: NDArray[np.float32] = np.zeros(_FIRST_ROOM, np.float32)
        self._said: dict[tuple[int, str], tuple[int, Body]] = {}
        self._errors: dict[int, tuple[int, str]] = {}
        self._phase: tuple[int, str] = (0, "")
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)  # the row of each cell
        self._keys: list[int] = []
        self._at: dict[int, int] = {}
        self._is_ordered = False

    def apply(self, events: Iterable[RunEvent]) -> None:
        """Take in what is new; the caller gives each event once and in order."""
        for event in events:
            if event.kind is EventKind.CLIENT:
                self._answered(event)
            elif event.kind is EventKind.DISPATCHED:
                self._asked(event)

    def _asked(self, event: RunEvent) -> None:
        body = event.body
        phase = (event.server_round, str(body.get("phase", "")))
        if phase != self._phase:
            self._phase = phase
            self._state[:] = Cell.IDLE
        node_ids = cast("Sequence[int]", body.get("node_ids") or ())
        partitions = cast("Sequence[int]", body.get("partition_ids") or ())
        known = (
            partitions if len(partitions) == len(node_ids) else [_UNKNOWN] * len(node_ids)
        )
        rows = [self._row(*pair) for pair in zip(node_ids, known, strict=True)]
        self._state[rows] = Cell.RUNNING

    def _answered(self, event: RunEvent) -> None:
        body = event.body
        row = self._row(cast("int", body["node_id"]), cast("int", body["partition_id"]))
        phase, failed = str(body["phase"]), bool(body["error_code"])
        if (event.server_round, phase) == self._phase:
            self._state[row] = Cell.FAILED if failed else Cell.DONE
            self._duration_s[row] = cast("float", body["duration_s"])
        self._said[row, phase] = (event.server_round, body)
        if failed:
            error = str(body.get("error") or f"error {body['error_code']}")
            self._errors[row] = (event.server_round, tail(error.strip(), _ERROR_LENGTH))

    def _row(self, node_id: int, partition_id: int) -> int:
        row = self._rows.get(node_id)
        if row is None:
            row = self._rows[node_id] = len(self._node_ids)
            self._node_ids.append(node_id)
            self._is_ordered = False
            if row == len(self._state):
                self._state = np.pad(self._state, (0, row))
                self._duration_s = np.pad(self._duration_s, (0, row))
                self._partition = np.pad(self._partition, (0, row))
            self._partition[row] = partition_id
        elif self._partition[row] < 0 <= partition_id:
            self._partition[row] = partition_id
            self._is_ordered = False
        return row

    # --- cells ---------------------------------------------------------------------

    def _cells(self) -> NDArray[np.int64]:
        """Give the row behind each cell, -1 for a node that was never asked."""
        if self._is_ordered:
            return self._order
        partitions = self._partition[: len(self._node_ids)]
        if self._is_simulated(partitions):
            self._order = np.full(self._num_nodes, _UNKNOWN, np.int64)
            self._order[partitions] = np.arange(len(partitions))
        else:
            self._order = np.argsort(partitions, kind="stable")
        self._keys = [self._key(at, row) for at, row in enumerate(self._order.tolist())]
        self._at = {key: at for at, key in enumerate(self._keys)}
        self._is_ordered = True
        return self._order

    def _is_simulated(self, partitions: NDArray[np.int64]) -> bool:
        """Say whether each partition is one of as many as there are nodes."""
        named = set(partitions.tolist())
        return named <= set(range(self._num_nodes)) and len(named) == len(partitions)

    def _key(self, at: int, row: int) -> int:
        if row < 0:
            return at
        partition = int(self._partition[row])
        return partition if partition >= 0 else self._node_ids[row]

    def key(self, at: int) -> int:
        """Give the id that ``run.exclude`` takes for a cell.

        Raises:
            IndexError: If there is no such cell.
        """
        self._cells()
        return self._keys[at]

    def labels(self) -> dict[str, Json]:
        """Give what the cells are called: ``names`` is empty where cell i is partition i.

        Ids are texts: those of nodes are too long for a number of JavaScript.
        """
        self._cells()
        plain = self._keys == list(range(len(self._keys)))
        return {"count": len(self._keys), "names": [] if plain else [*map(str, self._keys)]}

    @property
    def usual_s(self) -> float | None:
        """Median of how long the clients of this phase took, in s; ``None`` below three."""
        used = slice(len(self._node_ids))
        done = self._duration_s[used][self._state[used] == Cell.DONE]
        return float(np.median(done)) if len(done) >= _FEWEST_FOR_A_MEDIAN else None

    def states(self, left_out: Iterable[int]) -> NDArray[np.uint8]:
        """Give a ``Cell`` for each cell.

        Args:
            left_out: Partitions (or, of nodes without one, node ids) that are left out.
        """
        order, usual_s = self._cells(), self.usual_s
        states = np.where(order < 0, np.uint8(Cell.IDLE), self._state[order])
        if usual_s is not None:
            took_s = np.where(order < 0, np.float32(0), self._duration_s[order])
            limit_s = max(SLOW_RATIO * usual_s, usual_s + SLOW_BY_S)
            states[(states == Cell.DONE) & (took_s > limit_s)] = Cell.SLOW
        gone = [at for key in left_out if (at := self._at.get(key)) is not None]
        states[gone] = Cell.LEFT_OUT
        return states

    # --- one node ------------------------------------------------------------------

    def node(self, at: int, *, left_out: Mapping[int, int]) -> NodeFacts:
        """Tell of one node.

        Args:
            at: Its cell.
            left_out: From which round on partitions (or nodes) are left out.

        Raises:
            IndexError: If there is no such cell.
        """
        row, key = int(self._cells()[at]), self.key(at)
        is_node = row >= 0 and self._partition[row] < 0
        error_round, error = self._errors.get(row, (0, ""))
        said = [
            pair
            for phase in ("train", "evaluate")
            if (pair := self._said.get((row, phase)))
        ]
        metrics = {
            name: number_text(float(cast("float", value)))
            for _, body in said
            for name, value in cast("Body", body.get("metrics") or {}).items()
        }
        words = [self._now(row), *(_told(*pair) for pair in said)]
        if key in left_out:
            words.append(f"left out from round {left_out[key]} on")
        return NodeFacts(
            at=at,
            title=f"node {key}" if is_node else f"partition {key}",
            name=str(key),
            words="; ".join(filter(None, words)),
            metrics=metrics,
            error=error,
            error_round=error_round,
        )

    def _now(self, row: int) -> str:
        if row < 0:
            return "never asked so far"
        return "at work" if self._state[row] == Cell.RUNNING else ""


def _told(server_round: int, body: Body) -> str:
    """Say how a client did in one phase."""
    phase, took_s = str(body["phase"]), float(cast("float", body["duration_s"]))
    done = {"train": "trained", "evaluate": "evaluated"}.get(phase, "answered")
    verb = f"failed to {phase}" if body["error_code"] else done
    took = f", {took_text(took_s)}" if isfinite(took_s) else ""
    return f"{verb} in round {server_round}{took}"
