"""An active hub in this process, without a port: its front is asked as an ASGI app."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
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

from flip_lab.core.clock import at_utc, now_s
from flip_lab.engines.flower.fab import build_fab
from flip_lab.engines.flower.superlink_state import node_id_of
from flip_lab.hub.active import ActiveHub, active_hub
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.front import Front
from flip_lab.hub.place import HubPlace
from flip_lab.hub.preparing import prepare_hub
from flip_lab.node.signing import fingerprint_of

Answer = TypeVar("Answer", bound=Message)
PROTOBUF = "application/protobuf"
VERSIONS = dict(RuntimeVersionMetadata.from_local_component("flwr-serverapp").as_metadata())
PROJECT = b"""
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
APP = {"pyproject.toml": PROJECT, "clientapp/__init__.py": b""}


@dataclass(frozen=True)
class Signer:
    """A node's key, and what Flower's nodes send with each request."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP384R1())
    )

    @property
    def pem(self) -> bytes:
        """The public key as Flower sends it."""
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def node_id(self) -> int:
        """The id that the hub gives it."""
        return node_id_of(self.pem)

    @property
    def node(self) -> Node:
        """The node as requests name it."""
        return Node(node_id=self.node_id)

    def headers(self, *, ahead_s: float = 0.0, **more: str) -> dict[str, str]:
        """Sign the time, off by some seconds."""
        time = (at_utc(now_s()) + timedelta(seconds=ahead_s)).isoformat()
        signature = self.key.sign(time.encode(), ec.ECDSA(hashes.SHA256()))
        return {
            "content-type": PROTOBUF,
            "flwr-public-key": b64encode(self.pem).decode(),
            "flwr-timestamp": time,
            "flwr-signature": b64encode(signature).decode(),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }


class Hub:
    """The directory of a hub that tests fill, and ask while it is active."""

    def __init__(self, place: HubPlace, admin: str) -> None:
        """Keep where it is, and the first admin's token."""
        self.place = place
        self.admin = admin

    def token(self, role: Any, person: str) -> str:
        """Make a token."""
        with HubDatabase(self.place) as database:
            return database.tokens.create(role=role, person=person)[1]

    def enrol(self, name: str, signer: Signer) -> None:
        """Let a node in."""
        with HubDatabase(self.place) as database:
            record, secret = database.enrolments.create(name, expires_s=now_s() + 60)
            device = Device(
                public_key=signer.pem.decode(),
                fingerprint=fingerprint_of(signer.key.public_key()),
                node_id=signer.node_id,
            )
            database.enrolments.redeem(record.id, secret.text, device)

    def revoke(self, name: str) -> None:
        """Let a node in no more."""
        with HubDatabase(self.place) as database:
            database.nodes.revoke(name)

    def play(self, story: Callable[[Asked], Awaitable[None]]) -> None:
        """Be the active hub while a story is told."""

        async def told() -> None:
            async with active_hub(self.place) as active:
                front = Front(lambda: active)
                transport = httpx.ASGITransport(front, client=("192.0.2.7", 5000))
                base_url = "https://hub.example.org"
                async with httpx.AsyncClient(
                    transport=transport, base_url=base_url
                ) as client:
                    await story(Asked(active, front, client))

        asyncio.run(told())


@dataclass(frozen=True)
class Asked:
    """An active hub, and somebody who asks it."""

    active: ActiveHub
    front: Front
    client: httpx.AsyncClient

    async def raw(self, method: str, path: str, headers: dict[str, str]) -> int:
        """Ask for a path just as it is; clients tidy them up."""
        sent = list[MutableMapping[str, Any]]()
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": raw}
        scope |= {"client": ("192.0.2.9", 1), "query_string": b"", "raw_path": b""}
        scope |= {"scheme": "https", "server": ("hub.example.org", 443), "root_path": ""}

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.front(scope, receive, send)
        return int(sent[0]["status"])

    async def fleet(
        self, signer: Signer, name: str, request: Message, **headers: str
    ) -> httpx.Response:
        """Ask as a node."""
        return await self.client.post(
            f"/v1/fleet/{name}",
            content=request.SerializeToString(),
            headers=signer.headers(**headers),
        )

    async def drive(
        self, token: str, path: str, request: Message, **headers: str
    ) -> httpx.Response:
        """Ask as a driver."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        proof = {"authorization": f"Bearer {token}", "content-type": PROTOBUF}
        content = request.SerializeToString()
        return await self.client.post(path, content=content, headers=proof | told)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Give a hub's directory; making its keys takes a while, so a module shares it."""
    directory: Path = tmp_path_factory.mktemp("hub") / "hub"
    prepared = prepare_hub(directory, hosts=["hub.example.org"], admin="root")
    yield Hub(prepared.place, prepared.token)


@pytest.fixture
def signer() -> Signer:
    """Give a node's new key."""
    return Signer()


class Run:
    """A run that a test drives: its app, and the calls that drivers make."""

    def __init__(self, asked: Asked, token: str, name: str = "a") -> None:
        """Make an app of its own."""
        self.asked = asked
        self.token = token
        self.fab = build_fab(APP | {"clientapp/app.py": f"app = {name!r}".encode()}, {})
        self.task_token = ""
        self.run_id = 0

    async def ask(
        self, name: str, request: Message, kind: type[Answer], **headers: str
    ) -> Answer:
        """Ask about the run as its driver."""
        path = f"/v1/{name}"
        answer = await self.drive(path, request, **headers)
        assert answer.status_code == 200, answer.text
        return kind.FromString(answer.content)

    async def drive(self, path: str, request: Message, **headers: str) -> httpx.Response:
        """Ask as its driver; the answer may be a refusal."""
        told = {**VERSIONS, "flwr-task-token": self.task_token, **headers}
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
        proof = {"authorization": f"Bearer {self.token}", "content-type": PROTOBUF}
        proof |= VERSIONS | {"flwr-task-token": self.task_token}
        path = "/v1/runtime/push-objects"
        answer = await self.asked.client.post(path, content=body, headers=proof)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def new_run() -> Callable[..., Run]:
    """Give what makes runs."""
    return Run
