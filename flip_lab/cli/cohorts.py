"""Options about who takes part in a run's rounds, and how long they wait."""

# typer.Option is untyped:
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flip_lab.core.policy import RoundPolicy

OnlyOption = Annotated[
    str | None,
    typer.Option(help='Only these nodes: "eu and not slow", "name:north-*", "0-3, 7".'),
]
DeadlineOption = Annotated[
    float | None, typer.Option(help="Seconds that a round waits for replies.")
]
QuorumOption = Annotated[
    str | None,
    typer.Option(
        help="Good replies that a round needs: a share (0.8, 1.0) or a number (3)."
    ),
]
OverSelectionOption = Annotated[
    float, typer.Option(help="Share of nodes to ask besides; the first replies count.")
]
OnHubOption = Annotated[
    bool,
    typer.Option("--on-hub", help="Let the run live with its hub; this machine may leave."),
]


def policy_of(
    deadline_s: float | None, quorum: str | None, over_selection: float
) -> RoundPolicy | None:
    """Give the policy that options ask for; ``None`` when they ask for none.

    Raises:
        BadParameter: If the quorum is no number.
        InvalidValueError: If a value is out of its range.
    """
    if deadline_s is None and quorum is None and not over_selection:
        return None
    from flip_lab.core.policy import RoundPolicy

    return RoundPolicy(
        deadline_s=deadline_s,
        quorum=None if quorum is None else _number(quorum),
        over_selection=over_selection,
    )


def _number(text: str) -> float:
    """Read a share or a number of nodes; ``1`` and ``1.0`` are not the same.

    Raises:
        BadParameter: If it is neither.
    """
    try:
        return int(text) if text.strip().isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no share such as 0.8, and no number of nodes such as 3.",
            param_hint="--quorum",
        ) from None
