"""Whatever is sent to the doors of Flower's calls, they stay calm and tell nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flip_lab.engines.flower.fleet_frames import PULL_PATH, PUSH_PATH, framed
from flip_lab.engines.flower.superlink_calls import CONTROL, FLEET, RUNTIME, Call
from flip_lab.testing.hub_probe import Asked, ProbedHub, Signer
from flip_lab.testing.hub_probe_run import ProbedRun

DESK = dict.fromkeys((PULL_PATH, PUSH_PATH), FLEET["/v1/fleet/push-messages"])
FRAMES: dict[str, Callable[[bytes], bytes]] = {
    PUSH_PATH: lambda body: framed([body, b"an object"]),
    "/v1/runtime/pull-objects": lambda body: len(body).to_bytes(4) + body,
    "/v1/runtime/push-objects": lambda body: len(body).to_bytes(4) + body,
}
CALLS = {**FLEET, **DESK, **CONTROL, **RUNTIME}
LEAKS = ("Traceback", "site-packages", ".py", "Internal server error")
TEXTS = st.text(max_size=10) | st.sampled_from(["a" * 64, "train", "completed"])
SMALL = st.sampled_from([0, 1, 2**31 - 1])
NUMBERS = st.sampled_from([0, 1, 7, 2**31 - 1, 2**63 - 1])


def of_field(
    field: Any,  # noqa: ANN401  # either of protobuf's two kinds of descriptors
    depth: int,
) -> st.SearchStrategy:
    """Give values for one field, small and odd ones."""
    if field.message_type is not None:
        return messages(field.message_type._concrete_class, depth - 1)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=20)
    return {
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_STRING: TEXTS,
        FieldDescriptor.CPPTYPE_INT32: SMALL,
        FieldDescriptor.CPPTYPE_UINT32: SMALL,
    }.get(field.cpp_type, NUMBERS)


def serialised(message: Message) -> bytes:
    """Give a message's bytes."""
    return message.SerializeToString()


@st.composite
def messages(draw: st.DrawFn, kind: type[Message], depth: int = 3) -> Message:
    """Draw a message of a kind, with some of its fields set."""
    made = kind()
    for field in kind.DESCRIPTOR.fields:
        is_map = field.message_type and field.message_type.GetOptions().map_entry
        if is_map or (field.message_type and depth <= 0) or not draw(st.booleans()):
            continue
        if field.enum_type is not None:
            continue
        if field.is_repeated:
            values = draw(st.lists(of_field(field, depth), max_size=2))
            getattr(made, field.name).extend(values)
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(draw(of_field(field, depth)))
        else:
            setattr(made, field.name, draw(of_field(field, depth)))
    return made


@pytest.mark.parametrize("path", sorted(CALLS))
def test_no_body_upsets_a_call(hub: ProbedHub, path: str) -> None:
    """Neither noise nor messages whose fields hold what nobody expects."""
    call = CALLS[path]
    bodies = drawn(call, FRAMES.get(path))
    signer, ada = Signer(), hub.token("researcher", "ada")
    hub.enrol("fuzz" + path.replace("/", "-"), signer)

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        run = ProbedRun(asked, ada, path)
        await run.start()
        state = asked.active.service.state
        state.acknowledge_node_heartbeat(signer.node_id, 30)
        call_for = run.call_for(
            signer.node_id, RecordDict({"a": ArrayRecord([np.ones(2)])})
        )
        await run.push(call_for)
        for body in bodies:
            headers = signer.headers() if "/fleet/" in path else run.headers
            answer = await asked.client.post(path, content=body, headers=headers)
            assert answer.status_code < 500, (answer.text, body)
            assert not any(leak in answer.text for leak in LEAKS), answer.text

    hub.play(story)


def drawn(call: Call, frame: Callable[[bytes], bytes] | None) -> list[bytes]:
    """Draw bodies for a call, the same each time."""
    found = list[bytes]()

    @settings(
        max_examples=25,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        deadline=None,
    )
    @given(st.binary(max_size=200) | messages(call.request).map(serialised))
    def draw(body: bytes) -> None:
        found.append(frame(body) if frame else body)

    draw()
    return found
