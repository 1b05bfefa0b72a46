"""What devices ask: to become a node, whom to trust, and to say how they are."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from flip_lab.api.documents import told
from flip_lab.core.clock import now_s
from flip_lab.hub.enrolment import enrol
from flip_lab.hub.place import read_file
from flip_lab.hub.routes.strict_json import StrictRoute
from flip_lab.hub.service import SignedNode, TheHub
from flip_lab.node.messages import EnrolAnswer, EnrolAsk, Report, ReportAnswer
from flip_lab.node.signing import Proof, ahead_s_of
from flip_lab.node.trust import bundle_hash

router = APIRouter(prefix="/device", tags=["device"], route_class=StrictRoute)


@router.get("/ca", responses=told())
def authorities(hub: TheHub) -> Response:
    """Give whom nodes shall trust, PEM; public, for it proves nothing by itself."""
    pem = read_file(hub.place.authorities)
    return Response(pem, media_type="application/x-pem-file")


@router.post("/enroll", status_code=201, responses=told(401, 409, 422))
def enrol_device(asked: EnrolAsk, hub: TheHub) -> EnrolAnswer:
    """Turn a device into a node; its token is what lets it in."""
    answer = enrol(hub.place, hub.database, asked)
    hub.learn_nodes()
    return answer


@router.post("/report", responses=told(401, 403))
def report(sent: Report, request: Request, hub: TheHub, node: SignedNode) -> ReportAnswer:
    """Keep what a node says of itself; say what it should know."""
    ahead_s = round(ahead_s_of(Proof.of(request.headers)), 3)
    facts = {**sent.facts, **sent.model_dump(exclude={"facts"})}
    hub.database.nodes.seen(node.fingerprint, {**facts, "clock_skew_s": ahead_s})
    return ReportAnswer(
        time_s=now_s(),
        clock_skew_s=ahead_s,
        bundle=bundle_hash(read_file(hub.place.authorities)),
        tags=list(node.tags),
        config=dict(node.config),
    )
