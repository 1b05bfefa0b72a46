"""What can be registered as a model: a run's file, a checkpoint's model, a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from flip_lab.core.errors import (
    CorruptArtifactError,
    FlipLabError,
    ModelError,
    NoCheckpointError,
    nearest,
)
from flip_lab.core.ports import Artifact
from flip_lab.runs.artifacts import SAFETENSORS, list_artifacts
from flip_lab.runs.checkpoint_files import CheckpointFolder
from flip_lab.store import query
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir
from flip_lab.store.registered import Lineage

MODEL = "model"
"""What a run calls its final model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A kept file that can become a version.

    Attributes:
        file: Hash and length of the file.
        lineage: Where it comes from.
    """

    file: Artifact
    lineage: Lineage


def source_of_run(
    lab: LabDir, run_id: str, *, artifact: str = MODEL, at_round: int | None = None
) -> Source:
    """Give arrays that a run keeps.

    Args:
        lab: The lab.
        run_id: The run.
        artifact: What it calls the file.
        at_round: The round whose checkpoint holds the model; ``None`` takes the file.

    Raises:
        ModelError: If the run keeps no such arrays.
        NoCheckpointError: If there is no good checkpoint of that round.
        CorruptArtifactError: If the file is gone, or no longer matches its hash.
        StoreNotWritableError: If the checkpoint's model cannot be kept.
    """
    if at_round is None:
        file, server_round = _artifact(lab, run_id, artifact)
    elif artifact == MODEL:
        file, server_round = _at_round(lab, run_id, at_round), at_round
    else:
        raise ModelError(
            f"A checkpoint holds no {artifact!r}.",
            fix="Leave out at_round, or artifact: checkpoints hold the model.",
        )
    path = Blobs(lab).check(file.sha256)
    run = query.sql(
        lab,
        "SELECT name, scenario_fingerprint, scenario, data_sha256 FROM runs "
        "WHERE run_id = ?",
        [run_id],
        as_="rows",
    )[0]
    lineage = Lineage(
        run_id=run_id,
        artifact=artifact,
        server_round=server_round,
        metrics={} if server_round is None else _metrics(lab, run_id, server_round),
        scenario=run["name"],
        scenario_fingerprint=run["scenario_fingerprint"],
        input_schema=_input_schema(run),
        num_parameters=num_parameters(path),
    )
    return Source(file=file, lineage=lineage)


def source_of_file(lab: LabDir, path: Path, *, name: str | None = None) -> Source:
    """Keep a safetensors file that comes from elsewhere.

    Args:
        lab: The lab.
        path: The file; it is copied.
        name: What to call it; ``None``: as it is called.

    Raises:
        ModelError: If it is no safetensors file.
        StoreError: If it cannot be read.
        StoreNotWritableError: If it cannot be kept.
    """
    num_parameters(path)  # before anything is kept
    file = Blobs(lab).put_file(path)
    lineage = Lineage(
        artifact=name or path.name,
        metrics={},
        num_parameters=num_parameters(Blobs(lab).check(file.sha256)),
    )
    return Source(file=file, lineage=lineage)


def num_parameters(path: Path) -> int:
    """Count the numbers in a safetensors file, without reading them.

    Raises:
        ModelError: If it is no safetensors file.
    """
    import safetensors

    try:
        with cast("Any", safetensors).safe_open(path, framework="np") as file:
            names: list[str] = file.keys()
            shapes: list[list[int]] = [file.get_slice(name).get_shape() for name in names]
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(
            f"{path.name} is no safetensors file ({error}).",
            fix="Write it with safetensors: safetensors.numpy.save_file(arrays, path).",
        ) from error
    return sum(math.prod(shape) for shape in shapes)


def _artifact(lab: LabDir, run_id: str, name: str) -> tuple[Artifact, int | None]:
    rows = [
        row
        for row in list_artifacts(lab, run_id, as_="rows")
        if row["media_type"] == SAFETENSORS
    ]
    named = [row for row in rows if row["name"] == name]
    if not named:
        raise ModelError(
            f"Run {run_id} keeps no arrays called {name!r}.",
            fix=nearest(name, {row["name"] for row in rows})
            + " A run that goes on has checkpoints: give at_round.",
        )
    row = named[-1]
    # What was added after the end belongs to no round.
    server_round = row["server_round"] if name == MODEL or row["server_round"] else None
    return Artifact(sha256=row["sha256"], size_bytes=row["size_bytes"]), server_round


def _at_round(lab: LabDir, run_id: str, at_round: int) -> Artifact:
    """Keep the model of a checkpoint as the run would keep it at its end."""
    import safetensors.numpy

    folder = CheckpointFolder(lab.run_dir(run_id))
    try:
        manifest = folder.manifest(at_round)
        if manifest.model is None:
            raise ModelError(
                f"The model of round {at_round} of run {run_id} holds arrays that "
                "safetensors cannot keep.",
                fix="Save it as an artifact in another form: run.add_artifact(…).",
            )
        folder.read(manifest, manifest.model)  # checked against its hash
        content = (folder.folder(at_round) / manifest.model.name).read_bytes()
    except (CorruptArtifactError, OSError) as error:
        rounds = ", ".join(map(str, folder.rounds())) or "none"
        raise NoCheckpointError(
            f"Run {run_id} keeps no good checkpoint of round {at_round}.",
            fix=f"Rounds with a checkpoint: {rounds}. Launch with "
            "checkpoints=Checkpoints(keep_every=1) to keep them all.",
            detail=str(error),
        ) from error
    return Blobs(lab).put(safetensors.numpy.save(safetensors.numpy.load(content)))


def _metrics(lab: LabDir, run_id: str, server_round: int) -> dict[str, float]:
    """Give the finite metrics of a round; JSON has no others."""
    rows = query.sql(
        lab,
        "SELECT name, scope, value FROM metrics WHERE run_id = ? AND server_round = ? "
        "ORDER BY array_position(['server', 'central', 'federated'], scope), sequence",
        [run_id, server_round],
        as_="rows",
    )
    return {
        f"{row['name']}_central" if row["scope"] == "central" else row["name"]: row["value"]
        for row in rows
        if math.isfinite(row["value"])
    }


def _input_schema(run: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say what a scenario's model takes and gives, if its data is here unchanged.

    Nothing is fetched for it: data sets of the Hugging Face hub tell nothing here.
    """
    from flip_lab.fl.data.catalog import load_dataset
    from flip_lab.fl.data.dataset import data_fingerprint
    from flip_lab.fl.data.hub import HUB_PREFIX

    if run["scenario"] is None or run["data_sha256"] is None:
        return None
    name = str(json.loads(run["scenario"])["data"]["dataset"])
    if name.startswith(HUB_PREFIX):
        return None
    with suppress(FlipLabError):  # a plug-in that is not here any more
        data = load_dataset(name)
        if data_fingerprint(data) == run["data_sha256"]:
            return {
                "dataset": name,
                "features": {
                    "shape": list(data.shape),
                    "dtype": str(data.features.dtype),
                    "names": list(data.feature_names),
                },
                "classes": list(data.class_names),
                "is_prepared_per_site": data.prepare is not None,
            }
    return None
