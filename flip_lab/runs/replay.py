"""The edits that hold from a run process's beginning: they were made before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flip_lab.core.edits import Edit, edits_in
from flip_lab.core.events import RunEvent, in_force


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Edits that were made before this process: they take effect in the same rounds.

    Attributes:
        edits: All of them, in order.
        untold: Those that are not among the run's events, or count no more there.
    """

    edits: Sequence[Edit] = ()
    untold: Sequence[Edit] = ()

    @classmethod
    def of(cls, given: Sequence[Mapping[str, Any]], earlier: Sequence[RunEvent]) -> Replay:
        """Collect them.

        Args:
            given: Bodies of the edits that the run was launched with.
            earlier: What earlier processes of the run have told.
        """
        found = {edit.id: edit for edit in map(Edit.from_body, given)}
        found |= {edit.id: edit for edit in edits_in(earlier)}
        told = {edit.id for edit in edits_in(in_force(earlier))}
        edits = list(found.values())
        return cls(edits=edits, untold=[edit for edit in edits if edit.id not in told])
