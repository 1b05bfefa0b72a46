"""What a run process has at hand while it conducts its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flip_lab.core.events import RunEvent
from flip_lab.core.ports import ArtifactStore
from flip_lab.runs.control_room import ControlRoom
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.spec import RunSpec


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
    """

    spec: RunSpec
    run_dir: Path
    recorder: Recorder
    control: ControlRoom
    blobs: ArtifactStore
    earlier: Sequence[RunEvent] = ()
