"""Which lab a command is about: a directory here, or an address elsewhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import typer

from flip_lab.client.address import is_address

if TYPE_CHECKING:  # each has packages of its own, and a command needs one of them
    from flip_lab.client.remote_lab import RemoteLab
    from flip_lab.client.remote_run import RemoteRun
    from flip_lab.runs.lab import Lab
    from flip_lab.runs.run import Run

    AnyLab: TypeAlias = Lab | RemoteLab
    AnyRun: TypeAlias = Run | RemoteRun


def opened(lab: str | None, token: str | None) -> AnyLab:
    """Open the lab that a command is about.

    Args:
        lab: What ``--lab`` says; ``None``: ``FLIP_LAB_URL``, else the default directory.
        token: What ``--token`` says.

    Raises:
        BadParameter: If there is a token for a directory.
        FlipLabError: If it cannot be opened, or does not answer.
    """
    place = lab or os.environ.get("FLIP_LAB_URL") or ""
    if is_address(place):
        from flip_lab.client.opening import connect

        return connect(place, token=token)
    if token is not None:
        raise typer.BadParameter(
            "A lab that is a directory has no token; give an address with --lab.",
            param_hint="--token",
        )
    from flip_lab.runs.lab import Lab

    return Lab(lab)


def is_far(lab: AnyLab) -> bool:
    """Say whether a lab is elsewhere; loads neither kind."""
    return hasattr(lab, "url")


def checkpoints_of(lab: AnyLab, every: int) -> dict[str, Any]:
    """Give when a launch writes checkpoints, as its lab takes it."""
    if is_far(lab):
        return {"checkpoint_every": every}
    from flip_lab.runs.checkpoints import Checkpoints

    return {"checkpoints": Checkpoints(every=every)}


def detached_of(lab: AnyLab, on_hub: bool) -> dict[str, Any]:  # noqa: FBT001  # an option
    """Give where a run's process lives, as its lab takes it.

    Raises:
        BadParameter: If the lab is elsewhere already.
    """
    if not on_hub:
        return {}
    if is_far(lab):
        raise typer.BadParameter(
            "A run of a lab that is an address lives there anyway.",
            param_hint="--on-hub",
        )
    return {"detach": "hub"}


def place_of(lab: AnyLab) -> str:
    """Say where a lab is: its directory, or its address."""
    return str(getattr(lab, "url", None) or getattr(lab, "path", ""))
