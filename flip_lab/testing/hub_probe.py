"""An active hub in this process, without a port: its front is asked as an ASGI app.

For tests of what a hub lets in, and of what it says to whom. ``LoopbackHub`` is the real
thing, with processes; this one takes no time to start, and tests see inside.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.node_pb2 import Node
from google.protobuf.message import Message

from flip_lab.core.clock import at_utc, now_s
from flip_lab.engines.flower.superlink_state import node_id_of
from flip_lab.hub.active import ActiveHub, active_hub
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.database_enrolments import Device
from flip_lab.hub.database_tokens import Role
from flip_lab.hub.front import Front
from flip_lab.hub.preparing import prepare_hub
from flip_lab.node.signing import fingerprint_of

PROTOBUF = "application/protobuf"


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

    def headers(self, ahead_s: float = 0.0, /, **more: str) -> dict[str, str]:
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


class ProbedHub:
    """The directory of a hub that tests fill, and ask while it is active."""

    def __init__(self, directory: Path) -> None:
        """Make one; its first admin is called root."""
        made = prepare_hub(directory, hosts=["hub.example.org"], admin="root")
        self.place = made.place
        self.admin = made.token

    def token(self, role: Role, person: str) -> str:
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
            """Begin, tell and end in one loop."""
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
            """Give an empty body."""
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            """Keep what is answered."""
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
