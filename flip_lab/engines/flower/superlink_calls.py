"""The calls of Flower's APIs that a hub answers, and no others.

Each is Flower's own handler on bytes. Flower serves them behind nine layers of middleware,
the second half of which a hub does better: it knows who asks before it reads a body. So
the handlers are called here, and what is not in these tables does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeAlias

from flwr.common.constant import FAB_MAX_SIZE, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.proto.fab_pb2 import GetFabRequest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.log_pb2 import PushLogsRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.run_pb2 import GetRunRequest
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    GetNodesRequest,
    PullAppMessagesRequest,
    PullTaskInputRequest,
    PushAppMessagesRequest,
    PushTaskEventsRequest,
    PushTaskOutputRequest,
    SendTaskHeartbeatRequest,
)
from flwr.supercore.auth.typing import AccountInfo
from flwr.supercore.servicer.runtime import runtime_handlers as core
from flwr.superlink.servicer.control import control_handlers as control
from flwr.superlink.servicer.fleet import fleet_handlers as fleet
from flwr.superlink.servicer.runtime import runtime_handlers as runtime
from google.protobuf.message import Message

from flip_lab.engines.flower.superlink_state import HubLinkState

_MIB = 2**20
_SMALL = _MIB
_TREES = 32 * _MIB  # names of objects, about 70 bytes each, of all messages of a round
_OBJECT = 8 * _MIB  # Flower cuts arrays into pieces of 5 MiB
_BATCH = 16 * _MIB

Handler: TypeAlias = Callable[[HubLinkState, Any, Any], Message]
"""Gives the answer to a request; the third is the task for calls of drivers."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call.

    Attributes:
        request: What its body is.
        handler: Gives the answer.
        most_bytes: The largest body.
        is_light: Whether it takes so little time that no thread is worth it.
        is_batch: Whether body and answer are many of these, each after its length.
    """

    request: type[Message]
    handler: Handler
    most_bytes: int = _SMALL
    is_light: bool = False
    is_batch: bool = False


_ACCOUNT = AccountInfo(flwr_aid=NOOP_FLWR_AID, account_name=NOOP_ACCOUNT_NAME)


def _fleet(handler: Callable[..., Message], *, store: bool = False) -> Handler:
    def handle(state: HubLinkState, request: Any, _: object) -> Message:  # noqa: ANN401
        more = {"store": state.object_store} if store else {}
        return handler(request=request, state=state, **more)

    return handle


def _control(handler: Callable[..., Message]) -> Handler:
    return lambda state, request, _: handler(request, _ACCOUNT, state)


def _start(state: HubLinkState, request: Any, _: object) -> Message:  # noqa: ANN401
    with state.leftovers.starting:
        return control.start_run(request, _ACCOUNT, state, None)


def _runtime(handler: Callable[..., Message]) -> Handler:
    return lambda state, request, task: handler(request, state, task)


def _table(prefix: str, calls: Mapping[str, Call]) -> Mapping[str, Call]:
    return MappingProxyType({f"{prefix}/{name}": call for name, call in calls.items()})


def _many(call: Call, *, most_bytes: int = _SMALL) -> Call:
    """Give a call of ours that takes many requests of one of Flower's in one body."""
    return replace(call, is_batch=True, is_light=False, most_bytes=most_bytes)


FLEET: Mapping[str, Call] = _table(
    "/v1/fleet",
    {
        "activate-node": Call(
            request=ActivateNodeRequest, handler=_fleet(fleet.activate_node)
        ),
        "deactivate-node": Call(
            request=DeactivateNodeRequest, handler=_fleet(fleet.deactivate_node)
        ),
        "send-node-heartbeat": Call(
            request=SendNodeHeartbeatRequest,
            handler=_fleet(fleet.send_node_heartbeat),
            is_light=True,
        ),
        "pull-messages": Call(
            request=PullMessagesRequest,
            handler=_fleet(fleet.pull_messages, store=True),
            is_light=True,
        ),
        "push-messages": Call(
            request=PushMessagesRequest,
            handler=_fleet(fleet.push_messages),
            most_bytes=_BATCH,
        ),
        "get-run": Call(
            request=GetRunRequest, handler=_fleet(fleet.get_run), is_light=True
        ),
        "get-fab": Call(request=GetFabRequest, handler=_fleet(fleet.get_fab)),
        "pull-object": Call(request=PullObjectRequest, handler=_fleet(fleet.pull_object)),
        "push-object": Call(
            request=PushObjectRequest,
            handler=_fleet(fleet.push_object),
            most_bytes=_OBJECT,
        ),
        "confirm-message-received": Call(
            request=ConfirmMessageReceivedRequest,
            handler=_fleet(fleet.confirm_message_received, store=True),
            is_light=True,
        ),
    },
)
"""What nodes may ask, by path, beside the desk of ``fleet_exchange``.

A node registers by enrolling, not here.
"""

CONTROL: Mapping[str, Call] = _table(
    "/v1/control",
    {
        "start-run": Call(
            request=StartRunRequest,
            handler=_start,
            most_bytes=FAB_MAX_SIZE + _SMALL,
        ),
        "list-runs": Call(request=ListRunsRequest, handler=_control(control.list_runs)),
        "stop-run": Call(request=StopRunRequest, handler=_control(control.stop_run)),
        "list-nodes": Call(request=ListNodesRequest, handler=_control(control.list_nodes)),
    },
)
"""What people may ask who drive runs, by path."""

_PUSH = Call(
    request=PushObjectRequest,
    handler=_runtime(runtime.push_object),
    most_bytes=_OBJECT,
)
_PULL = Call(request=PullObjectRequest, handler=_runtime(runtime.pull_object))
_CONFIRM = Call(
    request=ConfirmMessageReceivedRequest,
    handler=_runtime(runtime.confirm_message_received),
    is_light=True,
)

ACQUIRE = "/v1/runtime/acquire-task"
"""The one call of a driver that has no task yet."""

RUNTIME: Mapping[str, Call] = _table(
    "/v1/runtime",
    {
        "acquire-task": Call(
            request=AcquireTaskRequest,
            handler=lambda state, request, _: core.acquire_task(request, state),
        ),
        "send-task-heartbeat": Call(
            request=SendTaskHeartbeatRequest,
            handler=_runtime(core.send_task_heartbeat),
            is_light=True,
        ),
        "pull-task-input": Call(
            request=PullTaskInputRequest, handler=_runtime(runtime.pull_task_input)
        ),
        "push-task-output": Call(
            request=PushTaskOutputRequest,
            handler=_runtime(runtime.push_task_output),
            most_bytes=_BATCH,
        ),
        "push-object": _PUSH,
        "push-objects": _many(_PUSH, most_bytes=_BATCH),
        "pull-object": _PULL,
        "pull-objects": _many(_PULL),
        "confirm-message-received": _CONFIRM,
        "confirm-messages-received": _many(_CONFIRM),
        "push-messages": Call(
            request=PushAppMessagesRequest,
            handler=_runtime(runtime.push_messages),
            most_bytes=_TREES,
        ),
        "pull-messages": Call(
            request=PullAppMessagesRequest, handler=_runtime(runtime.pull_messages)
        ),
        "get-nodes": Call(
            request=GetNodesRequest, handler=_runtime(runtime.get_nodes), is_light=True
        ),
        "push-logs": Call(request=PushLogsRequest, handler=_runtime(core.push_logs)),
        "push-task-events": Call(
            request=PushTaskEventsRequest, handler=_runtime(core.push_task_events)
        ),
    },
)
"""What the driver of a run may ask, by path."""
