"""Models on their way: researchers hand them in, nodes fetch and confirm them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from flip_lab.api.documents import told
from flip_lab.api.kept_files import BYTES_TOLD, kept_response
from flip_lab.api.schemas.base import Asked, Body
from flip_lab.core.clock import at_utc
from flip_lab.hub.database_delivery_tables import DeliveryRow
from flip_lab.hub.deliveries import DeliveryDesk
from flip_lab.hub.parcel import Parcel
from flip_lab.hub.routes.strict_json import StrictRoute
from flip_lab.hub.service import HubDriver, HubReader, HubService, SignedNode, TheHub
from flip_lab.runs.artifacts import SAFETENSORS
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir

router = APIRouter(tags=["deliveries"], route_class=StrictRoute)

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
Hash: TypeAlias = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
HashPath: TypeAlias = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Version: TypeAlias = Annotated[int, Field(ge=1, le=2**31 - 1)]
NodesAsked: TypeAlias = Annotated[str, Field(max_length=1000)] | list[Name] | None
_Number: TypeAlias = Annotated[int, Path(ge=0, le=2**53)]


class DeliverAsked(Asked):
    """A version of a model, for nodes.

    Attributes:
        name: The model.
        version: Its number in the sender's registry.
        stage: `production` answers predictions as soon as it is installed.
        sha256: Hash of the file.
        upload: The id of the upload with the file; null if the hub has it.
        scenario: The scenario of the model, as JSON.
        lineage: Where the model comes from.
        input_schema: What it takes and gives.
        nodes: A choice by tags, or null for all: those that fit now or later; or a list of
            names: those alone.
    """

    name: Name
    version: Version
    stage: Name = "production"
    sha256: Hash
    upload: Name | None = None
    scenario: str = Field(max_length=2**18)
    lineage: Body = Field(default={})
    input_schema: Body
    nodes: NodesAsked = None


class WithdrawAsked(Asked):
    """A version to take off nodes.

    Attributes:
        name: The model.
        version: The version.
        nodes: As of a delivery.
    """

    name: Name
    version: Version
    nodes: NodesAsked = None


class DeliveredRow(BaseModel):
    """What one node made of one delivery.

    Attributes:
        delivery: Its number.
        action: Whether the model was to come or to go.
        model: The model.
        version: The version.
        stage: The stage it was delivered for.
        sha256: Hash of the file.
        delivered_at: When.
        delivered_by: Who did that.
        node: The node.
        state: What it made of it; `pending` until it says.
        why: Why it refused.
        told_at: When it said so.
    """

    delivery: int
    action: Literal["install", "withdraw"]
    model: str
    version: int
    stage: str
    sha256: str
    delivered_at: datetime
    delivered_by: str
    node: str
    state: Literal["pending", "installed", "withdrawn", "refused"]
    why: str
    told_at: datetime | None


class Delivered(BaseModel):
    """What nodes made of deliveries, the newest first.

    Attributes:
        items: A row for each node.
    """

    items: list[DeliveredRow]


class Outcome(Asked):
    """What a node made of a delivery.

    Attributes:
        state: What.
        why: Why it refused.
    """

    state: Literal["installed", "withdrawn", "refused"]
    why: str = Field(default="", max_length=2000)


class SignedManifests(BaseModel):
    """What is for a node.

    Attributes:
        items: Manifests with their signatures, the oldest first.
    """

    items: list[dict[str, str]]


@router.get("/hub/deliveries", responses=told())
def list_deliveries(
    hub: TheHub,
    person: HubReader,
    model: Annotated[str | None, Query(max_length=200)] = None,
) -> Delivered:
    """List what was delivered, and what each node made of it."""
    del person
    return _told(_desk(hub).rows(model))


@router.post("/hub/deliveries", status_code=201, responses=told(404, 409, 422))
def deliver_model(asked: DeliverAsked, hub: TheHub, person: HubDriver) -> Delivered:
    """Deliver a version to nodes: each fetches, checks and confirms it."""
    del person
    return _told(_desk(hub).deliver(Parcel(**asked.model_dump())))


@router.post("/hub/deliveries/withdraw", status_code=201, responses=told(404, 422))
def withdraw_model(asked: WithdrawAsked, hub: TheHub, person: HubDriver) -> Delivered:
    """Take a version off nodes; the one that was live before it is live again."""
    del person
    return _told(_desk(hub).withdraw(asked.name, asked.version, asked.nodes))


@router.get("/hub/deliveries/files/{sha256}", responses=told(404))
def show_delivered_file(
    sha256: HashPath, hub: TheHub, person: HubReader
) -> dict[str, bool]:
    """Say whether a file is here already: then it need not be uploaded."""
    del person
    return {"is_here": _desk(hub).has(sha256)}


@router.get("/device/deliveries", responses=told(401, 403))
def deliveries_of_node(
    hub: TheHub, node: SignedNode, after: Annotated[int, Query(ge=0, le=2**53)] = 0
) -> SignedManifests:
    """Give a node what it has not dealt with yet."""
    found = _desk(hub).of_node(node, after)
    return SignedManifests(items=[signed.plain() for signed in found])


@router.get("/device/models/{sha256}", responses={**BYTES_TOLD, **told(401, 403, 404)})
def file_of_node(
    request: Request, sha256: HashPath, hub: TheHub, node: SignedNode
) -> Response:
    """Give a node the file of a model that was delivered to it; `Range` goes on."""
    _desk(hub).require_for(node, sha256)
    return kept_response(
        request,
        Blobs(LabDir(hub.lab.path)),
        sha256,
        media_type=SAFETENSORS,
        filename=f"{sha256}.safetensors",
    )


@router.post(
    "/device/deliveries/{delivery}", status_code=204, responses=told(401, 403, 404)
)
def confirm_delivery(
    delivery: _Number, outcome: Outcome, hub: TheHub, node: SignedNode
) -> Response:
    """Keep what a node made of a delivery."""
    _desk(hub).tell(node, delivery, outcome.state, outcome.why)
    return Response(status_code=204)


def _desk(hub: HubService) -> DeliveryDesk:
    return DeliveryDesk(hub.place, hub.database)


def _told(rows: list[DeliveryRow]) -> Delivered:
    return Delivered(items=[_row(row) for row in rows])


def _row(row: DeliveryRow) -> DeliveredRow:
    values = asdict(row)
    told_s = values.pop("told_s")
    return DeliveredRow(
        delivered_at=at_utc(values.pop("delivered_s")),
        told_at=None if told_s is None else at_utc(told_s),
        **values,
    )
