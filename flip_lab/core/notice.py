"""What an engine has to tell of a run beside its replies: who went, and who came back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

NoticeCode = Literal[
    "node_lost",
    "node_back",
    "hub_lost",
    "hub_back",
    "reply_refused",
    "reply_late",
    "quorum",
    "app_refused",
]
"""Which kind of thing happened; the ``code`` of its ``WARNING`` event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened; becomes a ``WARNING`` event of the run.

    Attributes:
        code: Which kind of thing.
        message: One or two sentences for people: who, why, and what comes of it.
        node_id: The node that it is about; ``None`` when it is about no single one.
        partition_id: What that node holds, 0-based; ``None`` when unknown.
    """

    code: NoticeCode
    message: str
    node_id: int | None = None
    partition_id: int | None = None


Notify: TypeAlias = Callable[[Notice], None]
"""Takes a notice, in any thread; never raises."""


def unheard(notice: Notice) -> None:
    """Take a notice where nobody keeps any."""
