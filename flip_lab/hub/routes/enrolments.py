"""One-time tokens with which devices become nodes."""

from __future__ import annotations

from fastapi import APIRouter

from flip_lab.api.documents import told
from flip_lab.hub.answers import EnrolmentMade, EnrolmentRow, Enrolments
from flip_lab.hub.enrolment import list_enrolments, make_enrolment, withdraw_enrolment
from flip_lab.hub.routes.strict_json import StrictRoute
from flip_lab.hub.service import HubAdmin, TheHub
from flip_lab.hub.wishes import EnrolmentWish

router = APIRouter(prefix="/hub/enrolments", tags=["enrolments"], route_class=StrictRoute)


@router.get("", responses=told())
def hub_enrolments(hub: TheHub, person: HubAdmin) -> Enrolments:
    """List every enrolment with its state; never the tokens themselves."""
    del person
    return list_enrolments(hub.database)


@router.post("", status_code=201, responses=told(409, 422))
def make_hub_enrolment(wish: EnrolmentWish, hub: TheHub, person: HubAdmin) -> EnrolmentMade:
    """Make a token for one device; this answer alone shows it."""
    del person
    return make_enrolment(hub.place, hub.database, wish)


@router.delete("/{enrolment_id}", responses=told(404))
def withdraw_hub_enrolment(
    enrolment_id: str, hub: TheHub, person: HubAdmin
) -> EnrolmentRow:
    """Let no device enrol with a token any more."""
    del person
    return withdraw_enrolment(hub.database, enrolment_id)
