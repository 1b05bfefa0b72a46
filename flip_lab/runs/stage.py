"""What a run process has at hand while it conducts its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flip_lab.core.errors import ClientsFailedError
from flip_lab.core.events import RunEvent
from flip_lab.core.ports import ArtifactStore
from flip_lab.engines.base import AppSource
from flip_lab.engines.failures import failure_tail
from flip_lab.runs.control_room import ControlRoom
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.spec import RunSpec


class ClientRaised(BaseException):  # no error to catch: it passes all
    """Carries what a debugged client raised past an app's ``except Exception``.

    Attributes:
        raised: What it raised.
        error: What goes on record.
    """

    def __init__(self, raised: BaseException, partition_id: object) -> None:
        """Say whose client it was."""
        super().__init__(raised)
        self.raised = raised
        self.error = ClientsFailedError(
            f"The client of partition {partition_id} raised {type(raised).__name__} while "
            f"the run was debugged: {raised}",
            fix="Mend the ClientApp; its traceback stands below.",
            detail=failure_tail(raised),
        )


class Debugger(Protocol):
    """Looks on where a run is conducted in a kernel."""

    def watched(self, app: AppSource) -> AppSource:
        """Give the app as it is called there."""
        ...

    def caught(self, raised: BaseException) -> None:
        """Take note of what ended the run, once it is on record."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a run process has at hand.

    Attributes:
        spec: The run as it was asked for.
        run_dir: The run's directory.
        recorder: The run's only writer.
        control: What the users want.
        blobs: Where the model is kept.
        earlier: What earlier processes of the run have told, as far as it still counts.
        debugger: Looks on in a kernel; a process of the run's own has none.
    """

    spec: RunSpec
    run_dir: Path
    recorder: Recorder
    control: ControlRoom
    blobs: ArtifactStore
    earlier: Sequence[RunEvent] = ()
    debugger: Debugger | None = None

    def app(self) -> AppSource:
        """Say where the run's apps come from."""
        app = self.spec.app(self.run_dir)
        return app if self.debugger is None else self.debugger.watched(app)
