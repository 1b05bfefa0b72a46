"""What a node has yet to tell its hub of deliveries: kept until the hub has heard it.

A hub gives a delivery once. If the line broke just as the node told what came of it, the
hub would wait for that word for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

_FILE = "untold.json"


class Untold:
    """Outcomes by the number of the delivery, on disk.

    Args:
        directory: The node's models; made when there is something to keep.
    """

    def __init__(self, directory: Path) -> None:
        """Read nothing yet."""
        self._path = directory / _FILE

    def add(self, delivery: int, state: str, why: str) -> None:
        """Keep what came of a delivery."""
        self._keep({**self._outcomes(), str(delivery): [state, why]})

    def tell(self, tell: Callable[[int, str, str], None]) -> None:
        """Tell what is kept, the oldest first; what was told is kept no more.

        Args:
            tell: Tells one; what it raises is raised, and that one told again.
        """
        left = self._outcomes()
        for number in sorted(left, key=int):
            state, why = left[number]
            tell(int(number), state, why)
            left = {each: outcome for each, outcome in left.items() if each != number}
            self._keep(left)

    def _outcomes(self) -> dict[str, list[str]]:
        try:
            told: dict[str, list[str]] = json.loads(self._path.read_bytes())
            return {str(int(number)): [state, why] for number, (state, why) in told.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}

    def _keep(self, outcomes: dict[str, list[str]]) -> None:
        if not outcomes:
            self._path.unlink(missing_ok=True)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(outcomes), "utf-8")
        draft.replace(self._path)
