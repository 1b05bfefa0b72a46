"""What goes from the kernel to the page, within a budget of bytes a second.

Jupyter drops messages of a kernel that talks too much, without a word to either side. So
only parts that changed travel, and when they are too many the heaviest waits: its newest
state goes as soon as there is room.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

BUDGET_BYTES_S = 80_000
"""Kept below the 100 KB/s that the notebook may cost, for what we cannot count."""

ENVELOPE_BYTES = 1_200
"""About what Jupyter puts around a message: headers, their copies, a signature."""


class Outbox:
    """Holds back what was sent before and what would cost too much now; no clock inside.

    Args:
        urgent: Parts that go whatever they cost; they should be small.
        budget_bytes_s: Bytes a second over some seconds.

    Attributes:
        sent_bytes: All that was taken so far, envelopes included.
        sent_messages: How often something was taken.
    """

    def __init__(
        self, *, urgent: frozenset[str] = frozenset(), budget_bytes_s: int = BUDGET_BYTES_S
    ) -> None:
        """Start with a second's worth of budget."""
        self.sent_bytes = 0
        self.sent_messages = 0
        self._urgent = urgent
        self._budget_bytes_s = budget_bytes_s
        self._left_bytes = float(budget_bytes_s)
        self._refilled_s: float | None = None
        self._sent: dict[str, Any] = {}
        self._due: dict[str, Any] = {}

    def begin(self, parts: Mapping[str, Any]) -> None:
        """Note what the page has from the beginning."""
        self._sent |= parts

    def put(self, parts: Mapping[str, Any]) -> None:
        """Take in the newest state of some parts; older ones that wait are forgotten."""
        for name, part in parts.items():
            if name in self._sent and self._sent[name] == part:
                self._due.pop(name, None)
            else:
                self._due[name] = part

    def take(self, now_s: float) -> dict[str, Any]:
        """Give what is to be sent now, in one message; empty when nothing is.

        Args:
            now_s: Seconds on any clock that never goes back.
        """
        self._refill(now_s)
        sizes = {name: size_bytes(part) for name, part in self._due.items()}
        taken: dict[str, Any] = {}
        for name in sorted(sizes, key=lambda each: (each not in self._urgent, sizes[each])):
            if name in self._urgent or self._fits(sizes[name]):
                taken[name] = self._due.pop(name)
                self._left_bytes -= sizes[name]
                self.sent_bytes += sizes[name]
        if taken:
            self._left_bytes -= ENVELOPE_BYTES
            self.sent_bytes += ENVELOPE_BYTES
            self.sent_messages += 1
        self._sent |= taken
        return taken

    def _refill(self, now_s: float) -> None:
        passed_s = 0.0 if self._refilled_s is None else now_s - self._refilled_s
        self._refilled_s = now_s
        full = float(self._budget_bytes_s)
        self._left_bytes = min(full, self._left_bytes + passed_s * self._budget_bytes_s)

    def _fits(self, size: int) -> bool:
        """Say whether a part may go; the largest go when nothing is spent."""
        needed = min(size + ENVELOPE_BYTES, 0.9 * self._budget_bytes_s)
        return self._left_bytes >= needed

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._due


def size_bytes(part: object) -> int:
    """Measure a part as it travels: bytes as they are, all else as JSON in UTF-8."""
    if isinstance(part, bytes):
        return len(part)
    written = json.dumps(part, ensure_ascii=False, separators=(",", ":"))
    return len(written.encode(errors="replace"))
