"""Versions of the registry, found by number or stage, and delivered to nodes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from flip_lab.core.errors import ModelNotFoundError, nearest
from flip_lab.core.scenario import Scenario
from flip_lab.runs.deliver import (
    COLUMNS,
    Delivery,
    NodesAsked,
    deliver_model,
    deliveries_of,
    withdraw_model,
)
from flip_lab.runs.registry_actions import find_model, find_version
from flip_lab.store.layout import LabDir
from flip_lab.store.registered import STAGES, ModelVersion, Stage, registered_in

Which: TypeAlias = "int | Stage | Literal['latest']"
"""A version's number; a stage, for what came into it last; or the highest number."""


class DeliveredModels:
    """What of the registry speaks to federations; ``Models`` is all of it.

    Args:
        lab: The lab's directory.
    """

    def __init__(self, lab: LabDir) -> None:
        """Read nothing yet."""
        self._lab = lab

    def version(self, name: str, version: Which = "production") -> ModelVersion:
        """Give one version.

        Args:
            name: The model.
            version: Its number, a stage, or ``"latest"``.

        Raises:
            ModelNotFoundError: If there is none.
        """
        models = registered_in(self._lab)
        if not isinstance(version, str):
            return find_version(models, name, version)
        model = find_model(models, name)
        if version not in (*STAGES, "latest"):
            raise ModelNotFoundError(
                f"{version!r} is neither a number nor a stage.",
                fix=nearest(version, (*STAGES, "latest")),
            )
        found = model.latest if version == "latest" else model.newest(version)
        if found is None:
            raise ModelNotFoundError(
                f"No version of {name!r} is in the stage {version!r}.",
                fix="Its versions: "
                + ", ".join(f"{n} ({v.stage})" for n, v in model.versions.items()),
            )
        return found

    def deliver(
        self,
        name: str,
        version: Which = "production",
        *,
        to: str,
        nodes: NodesAsked = None,
        stage: Stage = "production",
        scenario: Scenario | str | None = None,
    ) -> Delivery:
        """Bring a version to the nodes of a federation, signed by its hub.

        Each node fetches it, compares signature and hash, and confirms it. With the stage
        ``"production"`` it answers predictions there from then on; with another one it
        is kept beside the one that does. To roll nodes back, deliver the version that is
        in production after ``roll_back``, or any other: a file goes over the line once.

        Args:
            name: The model.
            version: Its number, a stage, or ``"latest"``.
            to: A federation of ``flip-lab.toml`` that has a hub.
            nodes: A choice by tags, such as ``"eu and not slow"``; names; or ``None`` for
                all that are enrolled.
            stage: What it is delivered for.
            scenario: The scenario that it was trained in, where its run is gone.

        Returns:
            The delivery; ``wait()`` waits for the nodes.

        Raises:
            ModelNotFoundError: If there is no such version.
            CorruptArtifactError: If its file is gone, or no longer matches its hash.
            DeliveryError: If nobody knows its scenario, or it does not fit it.
            CohortError: If no enrolled node is meant.
            NotAllowedError: If your token is no researcher's.
            UnknownFederationError: If no ``flip-lab.toml`` names the federation.
            FederationUnreachableError: If its hub does not answer.
        """
        return deliver_model(
            self._lab,
            self.version(name, version),
            to=to,
            nodes=nodes,
            stage=stage,
            scenario=scenario,
        )

    def withdraw(
        self, name: str, version: int, *, to: str, nodes: NodesAsked = None
    ) -> Delivery:
        """Take a version off nodes; what was live there before it is live again.

        Args:
            name: The model.
            version: Its number.
            to: The federation.
            nodes: As of ``deliver``.

        Raises:
            ModelNotFoundError: If it was never delivered there.
            UnknownFederationError: If no ``flip-lab.toml`` names the federation.
            FederationUnreachableError: If its hub does not answer.
        """
        return withdraw_model(name, version, to=to, nodes=nodes)

    def deliveries(
        self,
        name: str | None = None,
        *,
        to: str,
        as_: Literal["pandas", "rows"] = "pandas",
    ) -> Any:  # noqa: ANN401  # pandas or plain
        """Say what each node made of each delivery, the newest first.

        Args:
            name: Only of this model.
            to: The federation.
            as_: ``"pandas"`` or ``"rows"``.

        Raises:
            UnknownFederationError: If no ``flip-lab.toml`` names the federation.
            FederationUnreachableError: If its hub does not answer.
        """
        rows = deliveries_of(to, name)
        if as_ == "rows":
            return rows
        import pandas as pd

        return pd.DataFrame(rows, columns=[*COLUMNS])
