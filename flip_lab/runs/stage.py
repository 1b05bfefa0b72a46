"""What a run process has at hand while it conducts its run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flip_lab.core.ports import ArtifactStore, Control
from flip_lab.runs.recorder import Recorder
from flip_lab.runs.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a run process has at hand.

    Attributes:
        spec: The run as it was asked for.
        run_dir: The run's directory.
        recorder: The run's only writer.
        control: What the user wants.
        blobs: Where the model is kept.
    """

    spec: RunSpec
    run_dir: Path
    recorder: Recorder
    control: Control
    blobs: ArtifactStore
