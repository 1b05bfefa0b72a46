"""The calls that a hub answers, held against those that Flower serves."""

from __future__ import annotations

from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

from flip_lab.engines.flower.superlink_calls import CONTROL, FLEET, RUNTIME
from flip_lab.hub.bodies import PROTOBUF

OURS = {
    "/v1/runtime/confirm-messages-received",
    "/v1/runtime/pull-objects",
    "/v1/runtime/push-objects",
}
REFUSED_TO_NODES = {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
DRIVERS_NEED = {
    "/v1/control/list-nodes",
    "/v1/control/list-runs",
    "/v1/control/start-run",
    "/v1/control/stop-run",
}


def test_each_call_takes_what_flower_takes() -> None:
    """A call that Flower renames or changes is noticed here."""
    for path, call in {**FLEET, **CONTROL, **RUNTIME}.items():
        if path not in OURS:
            assert PROTOBUF_REQUEST_TYPES["POST", path] is call.request, path
    assert PROTOBUF == PROTOBUF_MEDIA_TYPE


def test_nothing_is_served_that_nobody_looked_at() -> None:
    """A call that Flower adds for nodes must be thought about; others stay closed."""
    for_nodes = {path for _, path in PROTOBUF_REQUEST_TYPES if "/fleet/" in path}
    assert for_nodes - REFUSED_TO_NODES == FLEET.keys()
    assert CONTROL.keys() == DRIVERS_NEED
    assert "/v1/runtime/start-automation" not in RUNTIME
    assert "/v1/runtime/get-connector" not in RUNTIME
