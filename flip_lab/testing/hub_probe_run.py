"""A run at a probed hub, driven call by call, as Flower's protocol has it."""

from __future__ import annotations

from typing import TypeVar

import httpx
from flwr.app import Message as FlowerMessage
from flwr.app import Metadata, RecordDict
from flwr.app.message import make_message
from flwr.app.message.message import remove_content_from_message
from flwr.common.serde import fab_to_proto, message_to_proto
from flwr.proto.control_pb2 import StartRunRequest, StartRunResponse
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    AcquireTaskResponse,
    PullTaskInputRequest,
    PullTaskInputResponse,
    PushAppMessagesRequest,
    PushAppMessagesResponse,
)
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
)
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from google.protobuf.message import Message

from flip_lab.core.clock import now_s
from flip_lab.engines.flower.fab import build_fab
from flip_lab.testing.hub_probe import PROTOBUF, Asked

Answer = TypeVar("Answer", bound=Message)

_VERSIONS = dict(
    RuntimeVersionMetadata.from_local_component("flwr-serverapp").as_metadata()
)
_PROJECT = b"""
[project]
name = "probe"
version = "1.0.0"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "tests"
[tool.flwr.app.components]
serverapp = "clientapp.app:app"
clientapp = "clientapp.app:app"
"""
_APP = {"pyproject.toml": _PROJECT, "clientapp/__init__.py": b""}


class ProbedRun:
    """A run that a test drives: its app, and the calls that drivers make."""

    def __init__(self, asked: Asked, token: str, name: str = "a") -> None:
        """Make an app of its own."""
        self.asked = asked
        self.token = token
        self.fab = build_fab(_APP | {"clientapp/app.py": f"app = {name!r}".encode()}, {})
        self.task_token = ""
        self.run_id = 0

    async def ask(
        self, name: str, request: Message, kind: type[Answer], **headers: str
    ) -> Answer:
        """Ask about the run as its driver."""
        path = f"/v1/{name}"
        answer = await self.drive(path, request, **headers)
        assert answer.is_success, answer.text
        return kind.FromString(answer.content)

    async def drive(self, path: str, request: Message, **headers: str) -> httpx.Response:
        """Ask as its driver; the answer may be a refusal."""
        told = {**_VERSIONS, "flwr-task-token": self.task_token, **headers}
        return await self.asked.drive(self.token, path, request, **told)

    async def start(self) -> None:
        """Start it, and claim it."""
        started = await self.ask("control/start-run", self.start_request, StartRunResponse)
        self.run_id = started.run_id
        claim = AcquireTaskRequest(agentapp_fab_hashes=[self.fab.hash_str])
        claimed = await self.ask("runtime/acquire-task", claim, AcquireTaskResponse)
        self.task_token = claimed.token
        asked = PullTaskInputRequest()
        await self.ask("runtime/pull-task-input", asked, PullTaskInputResponse)

    @property
    def headers(self) -> dict[str, str]:
        """What proves that its driver asks."""
        return {
            "authorization": f"Bearer {self.token}",
            "content-type": PROTOBUF,
            "flwr-task-token": self.task_token,
            **_VERSIONS,
        }

    @property
    def start_request(self) -> StartRunRequest:
        """What starts it."""
        return StartRunRequest(fab=fab_to_proto(self.fab))

    def call_for(self, node_id: int, content: RecordDict) -> FlowerMessage:
        """Make a call for a node."""
        metadata = Metadata(
            run_id=self.run_id,
            message_id="",
            src_node_id=1,
            dst_node_id=node_id,
            reply_to_message_id="",
            group_id="",
            message_type="train",
            created_at=now_s(),
            ttl=600.0,
        )
        message = make_message(metadata, content)
        message.metadata.__dict__["_message_id"] = message.object_id
        return message

    async def push(
        self, message: FlowerMessage, *, leave: int = 0
    ) -> list[PushObjectRequest]:
        """Send a call with its objects, but for the last few; give those."""
        request = PushAppMessagesRequest(
            messages_list=[message_to_proto(remove_content_from_message(message))],
            message_object_trees=[get_object_tree(message)],
        )
        told = await self.ask("runtime/push-messages", request, PushAppMessagesResponse)
        contents = {
            object_id: each.deflate()
            for object_id, each in get_all_nested_objects(message).items()
        }
        wanted = [
            PushObjectRequest(
                node=Node(node_id=1),
                run_id=self.run_id,
                object_id=object_id,
                object_content=contents[object_id],
                session_id=told.session_id,
            )
            for object_id in told.objects_to_push
        ]
        now = wanted[: len(wanted) - leave]
        await self.push_objects(now)
        return wanted[len(now) :]

    async def push_objects(self, requests: list[PushObjectRequest]) -> None:
        """Send objects, many at once."""
        parts = [request.SerializeToString() for request in requests]
        body = b"".join(len(part).to_bytes(4) + part for part in parts)
        path = "/v1/runtime/push-objects"
        answer = await self.asked.client.post(path, content=body, headers=self.headers)
        assert answer.is_success, answer.text
