"""Models on their way to nodes: kept in the hub's lab, signed, and written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flip_lab.api.uploads.kept import Uploads
from flip_lab.api.uploads.use import whole
from flip_lab.core.clock import now_s
from flip_lab.core.errors import (
    CorruptArtifactError,
    DeliveryError,
    ModelNotFoundError,
    NoSuchPlaceError,
)
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_delivery_tables import DeliveryRow, DeliveryState
from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.hub.parcel import (
    Nodes,
    Parcel,
    check_file,
    check_parcel,
    chosen_nodes,
    meant_by,
)
from flip_lab.hub.place import HubPlace
from flip_lab.hub.signing_key import load_signing_key
from flip_lab.node.serving.manifest import (
    Action,
    Manifest,
    SignedManifest,
    sign_manifest,
)
from flip_lab.runs.registry_actions import register_model
from flip_lab.runs.registry_sources import source_of_file
from flip_lab.store.audit_writer import author
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir

_MOST_AT_ONCE = 20
_LONGEST_WHY = 1000


class DeliveryDesk:
    """Takes models from researchers, and hands them to nodes.

    Args:
        place: The hub's directory.
        database: Its database.
    """

    def __init__(self, place: HubPlace, database: HubDatabase) -> None:
        """Read nothing yet."""
        self._place = place
        self._database = database
        self._lab = LabDir(place.lab)

    def has(self, sha256: str) -> bool:
        """Say whether a file is here, whole: then it need not be sent."""
        try:
            Blobs(self._lab).check(sha256)
        except CorruptArtifactError:
            return False
        return True

    def deliver(self, parcel: Parcel) -> list[DeliveryRow]:
        """Deliver a version, also to nodes that the choice comes to fit later.

        Args:
            parcel: What, and for whom.

        Returns:
            A row for each node; all are pending.

        Raises:
            DeliveryError: If something of it does not go together.
            CohortError: If no enrolled node is meant.
            UploadError: If the upload is not whole.
            NoSuchPlaceError: If there is no such upload.
            InvalidValueError: If the name will not do.
        """
        check_parcel(parcel, self._database.deliveries)
        nodes = chosen_nodes(self._database.nodes, parcel.nodes)
        size_bytes = self._keep(parcel)

        def signed(number: int) -> tuple[Manifest, SignedManifest]:
            # Nobody else writes now; while the file was kept somebody may have.
            check_file(parcel, self._database.deliveries)
            return self._install(number, parcel, size_bytes)

        manifest = self._database.deliveries.add(
            signed, nodes, meant=meant_by(parcel.nodes)
        )
        return self._database.deliveries.rows(delivery=manifest.delivery)

    def _install(
        self, number: int, parcel: Parcel, size_bytes: int
    ) -> tuple[Manifest, SignedManifest]:
        """Write down and sign that a version is to be installed."""
        return self._signed(
            number,
            action="install",
            name=parcel.name,
            version=parcel.version,
            stage=parcel.stage,
            sha256=parcel.sha256,
            size_bytes=size_bytes,
            scenario=parcel.scenario,
            lineage=dict(parcel.lineage),
            input_schema=dict(parcel.input_schema),
        )

    def withdraw(self, name: str, version: int, nodes: Nodes = None) -> list[DeliveryRow]:
        """Take a version off the nodes that it was delivered to; no later one gets it.

        Args:
            name: The model.
            version: The version.
            nodes: Only off these.

        Returns:
            A row for each node; all are pending.

        Raises:
            ModelNotFoundError: If it was never delivered to any of them.
            CohortError: If no enrolled node is meant.
        """
        chosen = chosen_nodes(self._database.nodes, nodes)
        there = self._database.deliveries.installed(name, version)
        both = {mark: node for mark, node in there.items() if mark in chosen}
        if not both:
            raise ModelNotFoundError(
                f"Version {version} of {name!r} was not delivered to any of these nodes.",
                fix="lab.models.deliveries(to=…) lists what was.",
            )
        manifest = self._database.deliveries.add(
            lambda number: self._signed(
                number, action="withdraw", name=name, version=version
            ),
            both,
            meant=meant_by(nodes),
        )
        return self._database.deliveries.rows(delivery=manifest.delivery)

    def rows(self, model: str | None = None) -> list[DeliveryRow]:
        """Give what nodes made of deliveries, the newest first."""
        return self._database.deliveries.rows(model=model)

    def of_node(self, node: NodeRecord, after: int) -> list[SignedManifest]:
        """Give what a node has not dealt with yet, the oldest first."""
        return self._database.deliveries.of_node(
            node.fingerprint, after=after, most=_MOST_AT_ONCE
        )

    def require_for(self, node: NodeRecord, sha256: str) -> None:
        """Check that the file with this hash was delivered to a node.

        Raises:
            NoSuchPlaceError: If it never was.
        """
        if not self._database.deliveries.is_for(node.fingerprint, sha256):
            raise NoSuchPlaceError(
                f"No model {sha256:.16}… was delivered to {node.name!r}.",
                fix="Ask which ones were: GET /flip/v1/device/deliveries.",
            )

    def tell(self, node: NodeRecord, delivery: int, state: DeliveryState, why: str) -> None:
        """Keep what a node made of a delivery.

        Raises:
            NoSuchPlaceError: If it was not for that node.
        """
        told = why[:_LONGEST_WHY]
        self._database.deliveries.tell(delivery, node.fingerprint, state, told)

    def _keep(self, parcel: Parcel) -> int:
        """Keep the file, so that no collection takes it; give its length.

        Raises:
            DeliveryError: If the file is not here, or another one was uploaded.
        """
        blobs = Blobs(self._lab)
        if parcel.upload is not None:
            upload = whole(Uploads(self._lab), parcel.upload)
            path, found = upload.data, upload.sha256
            if found == parcel.sha256 and not self.has(parcel.sha256):
                blobs.place(parcel.sha256).unlink(missing_ok=True)  # damaged: it heals
        elif self.has(parcel.sha256):
            path, found = blobs.place(parcel.sha256), parcel.sha256
        else:
            path, found = Path(), None
        if found != parcel.sha256:
            raise DeliveryError(
                f"The file {parcel.sha256:.16}… of {parcel.name} {parcel.version} is not "
                "at the hub.",
                fix="Upload it first: lab.models.deliver does.",
            )
        source = source_of_file(self._lab, path, name=f"{parcel.name}.safetensors")
        note = f"version {parcel.version} of {author()}, to be delivered"
        size_bytes = register_model(self._lab, source, parcel.name, note=note).size_bytes
        if parcel.upload is not None:
            Uploads(self._lab).remove(parcel.upload)
        return size_bytes

    def _signed(
        self,
        number: int,
        *,
        action: Action,
        name: str,
        version: int,
        **more: Any,  # noqa: ANN401  # the rest of a manifest
    ) -> tuple[Manifest, SignedManifest]:
        told: dict[str, Any] = {
            "stage": "none",
            "sha256": "0" * 64,
            "size_bytes": 0,
            "scenario": "",
            "lineage": {},
            "input_schema": {},
            **more,
        }
        manifest = Manifest(
            delivery=number,
            action=action,
            name=name,
            version=version,
            time_s=now_s(),
            delivered_by=author(),
            **told,
        )
        return manifest, sign_manifest(manifest, load_signing_key(self._place))
