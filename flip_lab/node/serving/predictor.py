"""One version of a model, ready to answer: built from names and numbers, never a pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from flip_lab.core.errors import DeliveryError, FlipLabError, PredictionError
from flip_lab.fl.data.dataset import Features
from flip_lab.fl.models import MODELS, build_model
from flip_lab.fl.scenarios import scenario_from_json
from flip_lab.fl.validation import read_options
from flip_lab.node.serving.input_schema import InputSchema, read_input_schema
from flip_lab.node.serving.manifest import Manifest, file_sha256

SitePrepare: TypeAlias = Callable[[Features], Features]
"""Makes rows ready for a model as this site's rows were made ready for training."""


@dataclass(frozen=True, kw_only=True)
class SiteRows:
    """What a site knows of the rows that its models take.

    Attributes:
        prepare: Makes rows ready as in training; ``None``: they are ready as they come.
        feature_names: Names of the columns at this site; empty where it has none.
    """

    prepare: SitePrepare | None = None
    feature_names: tuple[str, ...] = ()


AS_IT_COMES = SiteRows()
"""Nothing need be done to rows."""

_Shapes: TypeAlias = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """One version that answers.

    Attributes:
        manifest: What the hub says of it.
        schema: What it takes and gives.
        model: The model, in evaluation mode.
        prepare: Makes rows ready as in training; ``None``: they are ready as they come.
    """

    manifest: Manifest
    schema: InputSchema
    model: nn.Module
    prepare: SitePrepare | None = None

    @property
    def takes_gaps(self) -> bool:
        """Whether a value may be missing: the site fills it in as it did in training."""
        return self.prepare is not None

    def probabilities(self, rows: Features) -> npt.NDArray[np.float32]:
        """Predict.

        Args:
            rows: Shape ``(num_rows, …)`` as the schema says; NaN marks what is missing.

        Returns:
            Probability of each class, shape ``(num_rows, num_classes)``.

        Raises:
            PredictionError: If the numbers are too large for the model.
        """
        ready = rows if self.prepare is None else self.prepare(rows)
        with torch.inference_mode():
            outputs: torch.Tensor = self.model(torch.from_numpy(ready))  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
            found = torch.softmax(outputs, dim=1).numpy()
        if not np.isfinite(found).all():
            where = int(np.argwhere(~np.isfinite(found))[0][0])
            raise PredictionError(
                f"inputs[{where}] holds numbers that are too large for {self.manifest}.",
                fix="Give values in the units that /schema names.",
            )
        return found


def load_predictor(
    manifest: Manifest, path: Path, *, site: SiteRows = AS_IT_COMES
) -> Predictor:
    """Build the model that a manifest names, and fill it with the arrays of its file.

    Args:
        manifest: Verified.
        path: The file; it is compared with its hash.
        site: What the site knows of rows.

    Raises:
        DeliveryError: As of ``check_model_file``.
    """
    schema = check_model_file(manifest, path)
    model = build_model(scenario_from_json(manifest.scenario), schema.empty_dataset())
    model.load_state_dict(_arrays_in(path))
    model.eval()
    if not schema.feature_names and schema.shape == (len(site.feature_names),):
        schema = replace(schema, feature_names=site.feature_names)
    predictor = Predictor(
        manifest=manifest, schema=schema, model=model, prepare=site.prepare
    )
    _try_out(predictor)
    return predictor


def _try_out(predictor: Predictor) -> None:
    """Let it predict once, before anybody asks: an added model may do what it wants.

    Raises:
        DeliveryError: If it fails, or gives something else than a number for each class.
    """
    schema = predictor.schema
    row = np.zeros((1, *schema.shape), dtype=np.float32)
    wanted = (1, len(schema.class_names))
    try:
        found = predictor.probabilities(row).shape
    except (RuntimeError, ValueError, IndexError, FlipLabError) as error:
        found = _why(error)
    if found != wanted:
        raise DeliveryError(
            f"{predictor.manifest} was tried out with an example of zeros, and gave "
            f"{found}; {wanted} is a number for each class.",
            fix="Deliver a model that classifies what its data set has.",
        )


def check_model_file(manifest: Manifest, path: Path) -> InputSchema:
    """Check that a file holds the model that its manifest names.

    No number is drawn for it: a node checks while clients train in the same process.

    Args:
        manifest: Verified.
        path: The file.

    Returns:
        What the model takes and gives.

    Raises:
        DeliveryError: If the file was changed, does not hold the arrays of this model, or
            holds NaN.
    """
    _require_hash(manifest, path)
    schema = read_input_schema(manifest.input_schema)
    found = _shapes_in(path)
    try:
        wanted = _shapes_of(manifest, schema)
    except (FlipLabError, ValueError, TypeError) as error:
        raise DeliveryError(
            f"The model of {manifest} cannot be built here: {_why(error)}",
            fix="Install at this node what brings the model, or deliver another one.",
        ) from error
    _require_equal(manifest, found, wanted)
    for name, array in _arrays_in(path).items():
        if not bool(torch.isfinite(array).all()):
            raise DeliveryError(
                f"The array {name!r} of {manifest} holds NaN or infinite numbers.",
                fix="Deliver a model of a round that went well.",
            )
    return schema


def _require_hash(manifest: Manifest, path: Path) -> None:
    """Compare a file with its hash.

    Raises:
        DeliveryError: If it is another one, or gone.
    """
    try:
        is_same = file_sha256(path) == manifest.sha256
    except OSError:
        is_same = False
    if not is_same:
        raise DeliveryError(
            f"The file of {manifest} was changed after it was installed.",
            fix="Deliver it again, and find out who writes to the node's models.",
        )


def _shapes_of(manifest: Manifest, schema: InputSchema) -> _Shapes:
    """Say which arrays the model has, without room for them: numbers may be huge."""
    scenario = scenario_from_json(manifest.scenario)
    build = MODELS.get(scenario.model.name)
    options = read_options(build, scenario.model.options, prefix="model.options.")
    with torch.device("meta"):
        model = build(schema.shape, len(schema.class_names), **options)
    return {name: tuple(array.shape) for name, array in model.state_dict().items()}


def _require_equal(manifest: Manifest, found: _Shapes, wanted: _Shapes) -> None:
    """Check that a file holds just the arrays of the model.

    Raises:
        DeliveryError: If it does not.
    """
    for name in sorted({*found, *wanted}):
        if found.get(name) != wanted.get(name):
            raise DeliveryError(
                f"The array {name!r} of {manifest} has the shape {found.get(name)}; its "
                f"scenario's model has {wanted.get(name)}.",
                fix="Deliver it with the scenario that it was trained in: "
                "lab.models.deliver(…, scenario=…).",
            )


def _shapes_in(path: Path) -> _Shapes:
    """Read the head of a safetensors file.

    Raises:
        DeliveryError: If it is none.
    """
    import safetensors

    try:
        with cast("Any", safetensors).safe_open(path, framework="pt") as file:
            names: list[str] = list(file.keys())
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (safetensors.SafetensorError, OSError) as error:
        raise DeliveryError(
            f"{path.name} is no safetensors file ({error}).",
            fix="Deliver a version of a lab's model registry.",
        ) from error


def _arrays_in(path: Path) -> Mapping[str, torch.Tensor]:
    import safetensors.torch

    return safetensors.torch.load_file(path)  # pyright: ignore[reportUnknownMemberType]  # its os.PathLike lacks an argument


def _why(error: Exception) -> str:
    return error.what if isinstance(error, FlipLabError) else f"{error}."
