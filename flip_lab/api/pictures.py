"""Pictures of scenarios, drawn once: to count whose examples are where takes seconds."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from threading import Lock

import orjson

from flip_lab.core.errors import StoreError
from flip_lab.core.scenario import Scenario
from flip_lab.fl.partition import partition_frame
from flip_lab.store.layout import LabDir, write_atomic
from flip_lab.views.scenario_picture import ScenarioPicture

_VERSION = 1
_drawing = Lock()  # two at once would load the same data twice


def picture_of(lab: LabDir, scenario: Scenario) -> ScenarioPicture:
    """Give what there is to draw of how a scenario's data lies over its nodes.

    Args:
        lab: Keeps what was counted.
        scenario: The scenario.

    Raises:
        PartitionError: If the data cannot be split over the nodes.
        MissingExtraError: If the data set needs a package that is not installed.
    """
    seen = [_VERSION, asdict(scenario.data), scenario.seed, scenario.title]
    key = hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
    path = lab.root / "api" / "pictures" / f"{key}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):  # it is not there, or torn
        return ScenarioPicture(**orjson.loads(path.read_bytes()))
    with _drawing:
        frame = partition_frame(scenario)
    picture = ScenarioPicture.of(frame, title=scenario.title or scenario.name)
    with suppress(StoreError):  # only saves time
        write_atomic(path, orjson.dumps(asdict(picture)))
    return picture
