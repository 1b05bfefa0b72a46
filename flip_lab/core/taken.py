"""What became of a command to a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of a command.

    Attributes:
        id: Names it in ``run.commands()``; ``run.clear`` takes it.
        command: Such as ``"set"``.
        from_round: The round that it takes effect in; ``None`` for commands that take
            effect at once, and while the run has not taken it yet: it is starting.
        is_taken: Whether it is on record.
    """

    id: str
    command: str
    from_round: int | None = None
    is_taken: bool = True

    def __repr__(self) -> str:
        if not self.is_taken:
            return f"<{self.command}: waits until the run has started>"
        when = "done" if self.from_round is None else f"from round {self.from_round}"
        return f"<{self.command}: {when}>"
