"""The control room's model: follows a run and gives what the page draws, part by part.

Each part changes for a reason of its own and travels on its own, so that a client's answer
does not send the curves again. Nothing here knows of widgets or of Jupyter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from flip_lab.boards.run.follow import Follower, Watchable
from flip_lab.boards.run.log import Logging, LogTail
from flip_lab.boards.run.nodes import Cell, Fleet, NodeFacts
from flip_lab.boards.run.snapshot import took_text
from flip_lab.boards.run.usage import Usage
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
    """Follows one run for a page; to be used from one thread at a time.

    Args:
        run: The run to follow.
        interval_s: Seconds between two polls, above 0.
        num_nodes: Nodes that the run has in all; 0 when unknown.
    """

    def __init__(self, run: Observable, *, interval_s: float, num_nodes: int = 0) -> None:
        """Start before the first event."""
        self._num_nodes = num_nodes
        self._log = LogTail(run)
        super().__init__(run, interval_s=interval_s)

    def _begin(self) -> None:
        super()._begin()
        self.fleet = Fleet(self._num_nodes)
        self.usage = Usage()

    def _fold(self, events: Sequence[RunEvent]) -> None:
        super()._fold(events)
        self.fleet.apply(events)
        self.usage = self.usage.apply(events)

    def parts(self, now_s: float) -> dict[str, Any]:
        """Give what the page draws, by the name of the widget's trait.

        Args:
            now_s: Seconds on a clock that never goes back.
        """
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

    def node_rows(self, cells: Sequence[int]) -> list[NodeFacts]:
        """Tell of some nodes, at most 60; cells that there are not are left out."""
        count = cast("int", self.fleet.labels()["count"])
        good = [at for at in cells[:MOST_ROWS] if 0 <= at < count]
        return [self.fleet.node(at, left_out=self.story.left_out) for at in good]


def packed(states: NDArray[np.uint8]) -> bytes:
    """Give cells as bytes, two in each: the first in the upper half."""
    even = np.append(states, np.uint8(0)) if len(states) % 2 else states
    return ((even[0::2] << 4) | even[1::2]).astype(np.uint8).tobytes()
