"""A round's replies as a notebook looks at them while the run is stopped at a break.

```
runs/<run_id>/inspect/replies.json       numbers and errors of every reply
                      arrays-000004-….d/ sent, mean_update, <node id>: all .safetensors
```

Only the newest break is kept. ``replies.json`` is written last, so a reader sees a break
whole or not at all; arrays are read when they are asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flip_lab.core.errors import NothingToInspectError
from flip_lab.engines.flower.update_sums import Values
from flip_lab.runs.round_replies import RepliesTable, ReplyFacts, RoundReplies

if TYPE_CHECKING:
    import pandas as pd

    from flip_lab.views.theme import Figure, Theme

FORMAT = 1
"""The form of ``replies.json`` that this code writes and reads."""

REPLIES = "replies.json"
_MOST_SHOWN = 10
_SHOWN = ("num_examples", "update_norm", "drift", "cosine", "duration_s")


def inspection_dir(run_dir: Path) -> Path:
    """Say where the replies of a run's newest break are."""
    return run_dir / "inspect"


def read_inspection(run_dir: Path) -> Inspection:
    """Give the replies of the round that a run is stopped at, or was last.

    Args:
        run_dir: The run's directory.

    Raises:
        NothingToInspectError: If none are kept, or they cannot be read.
    """
    path = inspection_dir(run_dir) / REPLIES
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        if body["format"] > FORMAT:
            raise NothingToInspectError(
                f"{path} was written by a newer version of FLIP Lab.",
                fix="Update FLIP Lab (pip install -U flip-lab).",
            )
        return Inspection(path.parent, body)
    except FileNotFoundError:
        raise NothingToInspectError(
            f"Run {run_dir.name} was not stopped at a break.",
            fix="Set one with run.break_when('always') and look when it is paused.",
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NothingToInspectError(
            f"{path} cannot be read: {error!r}.", fix="Look at the next break."
        ) from error


class Inspection(RoundReplies):
    """The replies of a round that a run was stopped in; ``run.inspect()`` gives it.

    Attributes:
        because: What the run stopped for, in words.
        note: Why arrays of some clients are not kept; empty when all are.
    """

    def __init__(self, folder: Path, body: Mapping[str, Any]) -> None:
        """Take in the numbers; arrays are read when they are asked for."""
        self.because: str = body["because"]
        self.note: str = body["arrays"]["note"]
        self._folder = folder / body["arrays"]["folder"]
        self._has_arrays = bool(body["arrays"]["folder"])
        self._kept = frozenset[int](body["arrays"]["node_ids"])
        self._numbers = RepliesTable.from_json(body["table"])

    def _read_table(self) -> RepliesTable:
        return self._numbers

    def _read_sent(self) -> Values:
        return self._load("sent") if self._has_arrays else {}

    def _read_mean_update(self) -> Values:
        return self._load("mean_update") if self._has_arrays else {}

    def _arrays_of(self, who: ReplyFacts) -> Values:
        if who.client.node_id not in self._kept:
            raise NothingToInspectError(
                f"The arrays of {who.client.name} are not kept. {self.note}".rstrip(),
                fix="Its numbers are in .clients, its layers in .by_layer(…).",
            )
        return self._load(str(who.client.node_id))

    def _load(self, name: str) -> Values:
        import safetensors
        import safetensors.numpy

        try:
            load = cast(
                "Any", safetensors.numpy
            ).load_file  # its os.PathLike lacks an argument
            found: Values = load(self._folder / f"{name}.safetensors")
        except (OSError, safetensors.SafetensorError) as error:
            raise NothingToInspectError(
                f"The arrays of round {self.server_round} are gone ({error}).",
                fix="The run has gone on; call run.inspect() at its next break.",
            ) from error
        first = [layer for layer in self.table.sent_norms if layer in found]
        return {layer: found[layer] for layer in dict.fromkeys([*first, *found])}

    def figure(self, *, theme: Theme = "light") -> Figure:
        """Draw the norm of each client's update, and how it points.

        Args:
            theme: ``"light"`` or ``"dark"``.
        """
        from flip_lab.views.updates import update_figure

        return update_figure(
            self.clients, title=f"Updates of round {self.server_round}", theme=theme
        )

    def layer_figure(self, *, theme: Theme = "light") -> Figure:
        """Draw the norm of each client's update array by array, as a heat map.

        Args:
            theme: ``"light"`` or ``"dark"``.
        """
        from flip_lab.views.layers import layer_heatmap

        return layer_heatmap(
            self.by_layer(), title=f"Updates of round {self.server_round}", theme=theme
        )

    def __repr__(self) -> str:
        lines = [f"Round {self.server_round}: {self.because}", self._summary()]
        columns, rows = self._farthest()
        table = [columns, *rows]
        widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
        for row in table:
            cells = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join(cells).rstrip())
        return "\n".join([*lines, *filter(None, [self.note])])

    def _repr_html_(self) -> str:
        columns, rows = self._farthest()
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return (
            f"<div><p><strong>Round {self.server_round}</strong>: {escape(self.because)}"
            f"<br>{escape(self._summary())}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}</div>"
        )

    def _summary(self) -> str:
        replies = len(self.table.replies)
        parts = [f"{replies} {'reply' if replies == 1 else 'replies'}"]
        if self.failures:
            parts.append(f"{self.failures} failed")
        if replies > _MOST_SHOWN:
            parts.append(f"the {_MOST_SHOWN} farthest off")
        return ", ".join(parts)

    def _farthest(self) -> tuple[list[str], list[list[str]]]:
        """Give the clients that need looking at first, as text."""
        frame = self.clients
        frame = frame.iloc[_by_oddness(frame)[:_MOST_SHOWN]]
        known = [name for name in _SHOWN if frame[name].notna().any()]
        columns = ["client", *known, *(["error"] if frame["error"].any() else [])]
        rows: list[list[str]] = []
        for row in frame.to_dict("records"):
            partition = row["partition_id"]
            who = f"partition {partition}" if partition >= 0 else f"node {row['node_id']}"
            cells = [who, *(f"{row[name]:.4g}" for name in known)]
            rows.append(
                [*cells, *([row["error"].split("\n")[0][:60]] * ("error" in columns))]
            )
        return columns, rows


def _by_oddness(frame: pd.DataFrame) -> list[int]:
    """Order clients: failed, then not finite, then by drift, the farthest first."""
    failed = frame["error"].to_numpy(dtype=str) != ""
    norms = frame["update_norm"].to_numpy(dtype=np.float64)
    known = np.isfinite(norms)
    keys = np.lexsort((-np.where(known, norms, 0.0), known, ~failed))
    return [int(at) for at in keys]
