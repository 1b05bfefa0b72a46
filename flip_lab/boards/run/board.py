"""The control room's model: follows a run and gives what the page draws, part by part.

Each part changes for a reason of its own and travels on its own, so that a client's answer
does not send the curves again. Nothing here knows of widgets or of Jupyter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from flip_lab.boards.board import Asked, Parts, ticket_of, told
from flip_lab.boards.run.commands import Steerable, carry_out
from flip_lab.boards.run.follow import Follower, Watchable
from flip_lab.boards.run.log import Logging, LogTail
from flip_lab.boards.run.nodes import Cell, Fleet, NodeFacts
from flip_lab.boards.run.snapshot import Snapshot, took_text
from flip_lab.boards.run.usage import Usage
from flip_lab.core.clock import tick_s
from flip_lab.core.errors import CommandRefusedError
from flip_lab.core.events import Json, RunEvent

MOST_CURVES = 16
MOST_ROWS = 60
"""Nodes that one question of the page may ask for."""

_HEAD = (
    *("run_id", "name", "state", "state_words", "is_final", "server_round", "num_rounds"),
    *("fraction", "started_s", "elapsed_s", "eta_s", "round_words", "totals", "hint"),
)
_NOTES = ("error", "warnings", "num_warnings", "watch_error")
URGENT = frozenset({"head", "notes"})
"""Parts that are small and never wait."""


class Observable(Watchable, Logging, Protocol):
    """All that the control room needs of a run to show it; ``flip_lab.Run`` is one."""


class RunBoard(Follower):
    """Follows one run for its pages, and steers it for them.

    Args:
        run: The run to follow.
        interval_s: Seconds between two polls, above 0.
        num_nodes: Nodes that the run has in all, 0 when unknown; ``None`` asks the run.
    """

    urgent = URGENT

    def __init__(
        self, run: Observable, *, interval_s: float, num_nodes: int | None = None
    ) -> None:
        """Start before the first event."""
        if num_nodes is None:  # only a run of this package knows it before they are asked
            num_nodes = int(getattr(getattr(run, "spec", None), "num_nodes", 0))
        self._num_nodes = num_nodes
        self._steered = run if isinstance(run, Steerable) else None
        self._lock = RLock()  # who polls and who asks are two threads
        self._log = LogTail(run)
        super().__init__(run, interval_s=interval_s)

    @property
    def can_steer(self) -> bool:
        """Whether the run takes commands at all."""
        return self._steered is not None

    def poll(self) -> Snapshot:
        """Ask the run once, and give what there is to show."""
        with self._lock:
            return super().poll()

    def _begin(self) -> None:
        super()._begin()
        self.fleet = Fleet(self._num_nodes)
        self.usage = Usage()

    def _fold(self, events: Sequence[RunEvent]) -> None:
        super()._fold(events)
        self.fleet.apply(events)
        self.usage = self.usage.apply(events)

    def parts(self, now_s: float | None = None) -> Parts:
        """Give what the page draws.

        Args:
            now_s: Seconds on a clock that never goes back; ``None`` looks at one.
        """
        with self._lock:
            return self._parts(tick_s() if now_s is None else now_s)

    def _parts(self, now_s: float) -> Parts:
        snapshot = cast("Mapping[str, Any]", self.snapshot())
        states = self.fleet.states(self.story.left_out)
        return {
            "head": {
                **{key: snapshot[key] for key in _HEAD},
                "next_round": self.progress.next_round,
                "is_broken": self.story.broke,
            },
            "notes": {key: snapshot[key] for key in _NOTES},
            "curves": self._curves(),
            "clients": self._clients(states),
            "cells": packed(states),
            "nodes": self.fleet.labels(),
            "story": self._story(),
            "usage": self.usage.part(),
            "log": self._log_part(now_s),
        }

    def _log_part(self, now_s: float) -> dict[str, Json]:
        try:
            return self._log.part(now_s, is_last=self.is_done)
        except OSError as error:
            return {"lines": [f"(the log cannot be read: {error})"]}

    def _curves(self) -> dict[str, Any]:
        curves = self.progress.curves()
        return {
            "curves": [series.tile() for series in curves[:MOST_CURVES]],
            "hidden": max(0, len(curves) - MOST_CURVES),
            "marks": list(self.story.marks),
        }

    def _clients(self, states: NDArray[np.uint8]) -> dict[str, Json]:
        """Say how many cells there are of each kind, and the same in words."""
        counts = np.bincount(states, minlength=len(Cell)).tolist()
        cohort, usual_s = self.progress.cohort, self.fleet.usual_s
        words = "" if cohort is None else cohort.strip()["words"]
        if usual_s is not None:
            words += f"; half of them within {took_text(usual_s)}"
        phase = "" if cohort is None else cohort.phase
        return {"counts": counts, "words": words, "phase": phase}

    def _story(self) -> dict[str, Json]:
        story = self.story
        armed: list[Json] = [
            {"id": key, "words": words} for key, words in story.armed.items()
        ]
        return {
            "deeds": list(story.deeds),
            "num_deeds": story.num_deeds,
            "armed": armed,
            "fields": story.fields(),
            "settings_round": story.settings_round,
            "checkpoints": list(story.checkpoints),
        }

    # --- what the page asks for ------------------------------------------------------

    def change(self, values: Mapping[str, Any]) -> Parts:
        """Change nothing: a page only looks."""
        del values
        return {}

    def is_deed(self, asked: Asked) -> bool:
        """Say whether a message is a command."""
        return "command" in asked

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Answer a message of the page: a question about nodes, or a command."""
        ticket = ticket_of(asked)
        try:
            if self.is_deed(asked):
                return {**ticket, **self._carry_out(asked)}
            with self._lock:
                return {**ticket, "rows": self.node_rows(_cells(asked))}
        except Exception as error:  # noqa: BLE001  # shown beside the control
            return {**ticket, "error": told(error)}

    def _carry_out(self, asked: Asked) -> dict[str, Json]:
        if self._steered is None:
            raise CommandRefusedError(
                "This run is only shown here.", fix="Steer it where it was started."
            )
        with self._lock:
            nodes = [self.fleet.key(at) for at in _cells(asked)]
        return carry_out(self._steered, asked, nodes=nodes)

    def node_rows(self, cells: Sequence[int]) -> list[NodeFacts]:
        """Tell of some nodes, at most 60; cells that there are not are left out."""
        count = cast("int", self.fleet.labels()["count"])
        good = [at for at in cells[:MOST_ROWS] if 0 <= at < count]
        return [self.fleet.node(at, left_out=self.story.left_out) for at in good]


def _cells(asked: Asked) -> list[int]:
    return [int(at) for at in asked.get("cells", ())]


def packed(states: NDArray[np.uint8]) -> bytes:
    """Give cells as bytes, two in each: the first in the upper half."""
    even = np.append(states, np.uint8(0)) if len(states) % 2 else states
    return ((even[0::2] << 4) | even[1::2]).astype(np.uint8).tobytes()
