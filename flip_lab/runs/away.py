"""Runs that go on elsewhere, launched from a lab here: which, and how to reach them."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from flip_lab.core.errors import InvalidValueError, RunNotFoundError, nearest
from flip_lab.engines.catalogue import ENGINES
from flip_lab.exchange.parcels import checked_id
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.places import found_from
from flip_lab.store.layout import LabDir, explained, write_json_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flip_lab.core.state import RunState
    from flip_lab.runs.run import Run

_PLACES = ("hub",)
_FOLDER = "away"


@dataclass(frozen=True, kw_only=True)
class Away:
    """A run that goes on with its hub.

    Attributes:
        run_id: The run.
        federation: The hub's federation, as it is named here.
        found_from: The directory that its ``flip-lab.toml`` is found from.
        launched_s: When it was launched, seconds since the Unix epoch.
    """

    run_id: str
    federation: str
    found_from: str
    launched_s: float


class AwayRun(Protocol):
    """A run elsewhere, with the verbs of ``Run`` and one more."""

    @property
    def run_id(self) -> str:
        """The run's id, here and there."""
        ...

    @property
    def state(self) -> RunState:
        """Where the run stands now."""
        ...

    def wait(self, timeout_s: float | None = None) -> RunState:
        """Wait until the run has ended."""
        ...

    def fetch(self, into: Any) -> Run:  # noqa: ANN401  # a lab, which stands above this room
        """Bring the run into a lab here."""
        ...


class Hubs(Protocol):
    """What reaches the labs of hubs; ``flip_lab.client`` stands above this room."""

    def launch(
        self, lab: LabDir, what: object, federation: str, asked: Mapping[str, Any]
    ) -> Run:
        """Launch a run there."""
        ...

    def find(self, lab: LabDir, away: Away) -> AwayRun:
        """Give a handle on a run there."""
        ...


def hubs() -> Hubs:
    """Give what reaches the labs of hubs."""
    return cast("Hubs", import_module("flip_lab.client.detached"))


def launch_away(  # noqa: PLR0913  # what a launch settles, in groups
    lab: LabDir,
    what: object,
    detach: str,
    on: str,
    *,
    refused: Sequence[str],
    checkpoints: Checkpoints | None,
    asked: Mapping[str, Any],
) -> Run:
    """Launch a run that goes on without this machine.

    Args:
        lab: The lab that it comes home to.
        what: What to run.
        detach: Where it goes on: ``"hub"``.
        on: The hub's federation.
        refused: Names of what was given and cannot travel.
        checkpoints: When checkpoints are written.
        asked: Everything else, as ``RemoteLab.launch`` takes it.

    Returns:
        A handle with the verbs of ``Run``.

    Raises:
        InvalidValueError: If something that was given cannot travel.
        UnknownFederationError: If no file names the federation.
        FlipLabError: What the hub has against it; see ``Lab.launch``.
    """
    require_place(detach)
    if on in ENGINES:
        raise InvalidValueError(
            f"A run on {on!r} cannot go on with a hub.",
            fix='Name the hub\'s federation: on="hospitals". A run on this machine '
            "outlives this kernel anyway.",
        )
    every = 1 if checkpoints is None else checkpoints.every
    if checkpoints not in {None, Checkpoints(every=every)}:
        refused = [*refused, "checkpoints with more than every="]
    if refused:
        raise InvalidValueError(
            f"A run that goes on with its hub cannot have {', '.join(refused)}: they are "
            "Python objects of this kernel, and no such thing is run over there.",
            fix="Leave that out, or keep the run's process here: leave detach= out.",
        )
    return hubs().launch(lab, what, on, {**asked, "checkpoint_every": every})


def require_place(detach: str) -> None:
    """See that runs can go on there.

    Args:
        detach: What ``detach=`` says.

    Raises:
        InvalidValueError: If it is no such place.
    """
    if detach not in _PLACES:
        raise InvalidValueError(
            f"A run cannot go on in {detach!r}.", fix=nearest(str(detach), _PLACES)
        )


# --- which ones --------------------------------------------------------------------------


def remember(lab: LabDir, away: Away) -> None:
    """Note that a run goes on elsewhere, for whoever opens the lab next."""
    folder = lab.root / _FOLDER
    with explained(folder):
        folder.mkdir(exist_ok=True)
    write_json_atomic(_file(lab, away.run_id), asdict(away))


def forget(lab: LabDir, run_id: str) -> None:
    """Note that a run is at home."""
    with suppress(OSError):
        _file(lab, run_id).unlink()


def remembered(lab: LabDir) -> list[Away]:
    """List the runs that are not at home yet, oldest first; damaged notes are left out."""
    found: list[Away] = []
    for path in (lab.root / _FOLDER).glob("*.json"):
        with suppress(OSError, ValueError, TypeError):
            found.append(Away(**json.loads(path.read_text(encoding="utf-8"))))
    return sorted(found, key=lambda each: (each.launched_s, each.run_id))


def away_of(lab: LabDir, run_id: str, federation: str | None) -> Away:
    """Say how to reach a run.

    Args:
        lab: The lab here.
        run_id: The run, or the beginning or end of its id.
        federation: The hub's federation; ``None``: as it was launched from here.

    Raises:
        RunNotFoundError: If it was not launched from here, and no federation is named.
        UnknownFederationError: If no file names the federation.
    """
    if federation is not None:
        directory = found_from(federation, lab.root)
        return Away(
            run_id=run_id, federation=federation, found_from=str(directory), launched_s=0.0
        )
    known = remembered(lab)
    fitting = [e for e in known if e.run_id.startswith(run_id) or e.run_id.endswith(run_id)]
    if len(fitting) == 1:
        return fitting[0]
    raise RunNotFoundError(
        f"{len(fitting)} runs {run_id!r} were launched from here and are away.",
        fix="Name the federation whose hub has it: lab.fetch(run_id, on=…); lab.detached() "
        "lists those that were launched from here.",
    )


def _file(lab: LabDir, run_id: str) -> Path:
    return lab.root / _FOLDER / f"{checked_id(run_id)}.json"
