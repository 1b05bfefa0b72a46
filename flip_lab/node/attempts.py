"""How often a node has begun a message: one that ends the node must not do so for ever.

A hub gives a message again that its node never acknowledged, as when the node's process
was killed over it. It may have been an accident; it may have been the message.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from flip_lab.core.errors import NodeLimitError

MOST_ATTEMPTS = 2


class Attempts:
    """Remembers the messages under way, across restarts of the node.

    Args:
        path: The file; it is there only while messages are worked on.
    """

    def __init__(self, path: Path) -> None:
        """Read what an earlier process of the node was busy with when it ended."""
        self._path = path
        try:
            found: dict[str, int] = json.loads(path.read_text("utf-8"))
            self._before = {str(key): int(value) for key, value in found.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            self._before = {}
        self._now: dict[str, int] = {}

    def begin(self, message_id: str) -> None:
        """Note that a message is begun.

        Raises:
            NodeLimitError: If the node ended each time that it was.
        """
        count = self._before.get(message_id, 0)
        if count >= MOST_ATTEMPTS:
            raise NodeLimitError(
                f"The node's process ended {count} times while it worked on this message.",
                fix="Let the site set workers = 1 in its node.toml: then a client that "
                "ends its process leaves the node alone. node.log may say more.",
            )
        self._now[message_id] = count + 1
        self._write()

    def end(self, message_id: str) -> None:
        """Note that a message was answered, in whatever way."""
        self._now.pop(message_id, None)
        self._before.pop(message_id, None)
        self._write()

    def _write(self) -> None:
        if not self._now:
            self._path.unlink(missing_ok=True)
            return
        # Half of it counts as none, so no second file need take its place; nor must a full
        # disk keep a client from its work, or its answer from being noted.
        with suppress(OSError):
            self._path.write_text(json.dumps(self._now), "utf-8")
