"""What we ask of the Control API of a SuperLink or hub, with errors that say what to do.

Flower 1.41 speaks protobuf over HTTPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import httpx
from flwr.common.constant import Status, SubStatus
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.protobuf.client import (
    ProtobufCall,
    ProtobufClient,
    ProtobufClientInterceptor,
    ProtobufRequestContext,
)
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata

from flip_lab.core.errors import FederationUnreachableError
from flip_lab.engines.flower.refusals import coded_errors

STOPPED_BY = "Stopped by "
"""How a hub begins the details of a run that somebody stopped there; a name follows."""

_TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=15.0, pool=15.0)


@dataclass(frozen=True, kw_only=True)
class SuperLink:
    """How to reach a SuperLink or hub, and what proves that we may drive runs on it.

    Attributes:
        address: ``host:port``, as its certificate names it.
        root_certificates: Authorities to trust, PEM; ``None`` trusts the system's.
        superexec_secret: The secret that a stock SuperLink was started with, byte for
            byte; ``None`` for a hub, which adds it itself.
        token: Our token for a hub; ``None`` for a stock SuperLink.
    """

    address: str
    root_certificates: bytes | None
    superexec_secret: bytes | None = None
    token: str | None = None

    def headers(self) -> dict[str, str]:
        """Give what each request of ours carries to say whose it is."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}


class VersionHeaders:
    """Says which Flower we are; Flower's own interceptor ends the process on a mismatch."""

    def __init__(self, component_name: str) -> None:
        """Speak as one of Flower's components, such as ``flwr-serverapp``."""
        metadata = RuntimeVersionMetadata.from_local_component(component_name)
        self._headers = dict(metadata.as_metadata())

    def intercept(
        self, context: ProtobufRequestContext, call_next: ProtobufCall
    ) -> httpx.Response:
        """Add the headers and leave the answer to the caller."""
        context.request.headers.update(self._headers)
        return call_next(context)


class PersonHeaders:
    """Says who we are, to a hub."""

    def __init__(self, superlink: SuperLink) -> None:
        """Speak as the person whose token it is."""
        self._headers = superlink.headers()

    def intercept(
        self, context: ProtobufRequestContext, call_next: ProtobufCall
    ) -> httpx.Response:
        """Add the headers and leave the answer to the caller."""
        context.request.headers.update(self._headers)
        return call_next(context)


def introduced(superlink: SuperLink, component: str) -> list[ProtobufClientInterceptor]:
    """Give what says who asks: a version of one of Flower's components, and a person."""
    return [VersionHeaders(component), PersonHeaders(superlink)]


def limit_waits(client: ProtobufClient, timeout: httpx.Timeout = _TIMEOUT) -> None:
    """Let no call of a client wait as long as Flower would: half a minute for each step."""
    client._client.timeout = timeout  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it has no other door


@dataclass(frozen=True, kw_only=True)
class RunStanding:
    """Where a run stands, in a SuperLink's own words.

    Attributes:
        status: ``pending``, ``starting``, ``running`` or ``finished``.
        sub_status: How it finished: ``completed``, ``failed`` or ``stopped``.
        details: A sentence on that, if there is one.
    """

    status: str
    sub_status: str
    details: str

    @property
    def is_finished(self) -> bool:
        """Whether it is over."""
        return self.status == Status.FINISHED

    @property
    def is_stopped(self) -> bool:
        """Whether somebody stopped it there on purpose."""
        return self.is_finished and self.sub_status == SubStatus.STOPPED

    @property
    def stopped_by(self) -> str:
        """Who stopped it there; empty where nobody knows."""
        is_told = self.is_stopped and self.details.startswith(STOPPED_BY)
        return self.details.removeprefix(STOPPED_BY) if is_told else ""

    def __str__(self) -> str:
        """Say it in words, such as ``finished, stopped: by the user``."""
        standing = ", ".join(part for part in (self.status, self.sub_status) if part)
        return f"{standing}: {self.details}" if self.details else standing


class ControlClient:
    """A connection to a Control API; every call may raise FLIP-503.

    Args:
        superlink: Where it is and whom we trust.
    """

    def __init__(self, superlink: SuperLink) -> None:
        """Prepare the connection; nothing is sent yet."""
        self._address = superlink.address
        with coded_errors(self._address):
            self._client = ControlHttpClient.from_server_address(
                server_address=superlink.address,
                insecure=False,
                root_certificates=superlink.root_certificates,
                interceptors=introduced(superlink, "flwr CLI"),
            )
        limit_waits(self._client)

    def __enter__(self) -> Self:
        """Close with the ``with`` block."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Let go of the connection."""
        self._client.close()

    def start_run(self, fab: Fab) -> int:
        """Ask for a run of this app and give Flower's id of it.

        Raises:
            FederationUnreachableError: Also if the SuperLink starts none.
        """
        with coded_errors(self._address):
            response = self._client.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
        if not response.HasField("run_id"):
            raise FederationUnreachableError(
                f"The SuperLink at {self._address} did not start a run and gave no reason.",
                fix="Look into the SuperLink's log.",
            )
        return response.run_id

    def stop_run(self, flower_run_id: int) -> None:
        """Withdraw a run."""
        with coded_errors(self._address):
            self._client.StopRun(StopRunRequest(run_id=flower_run_id))

    def find_run(self, flower_run_id: int) -> RunStanding | None:
        """Say where a run stands; ``None`` if nobody there knows it."""
        try:
            with coded_errors(self._address):
                runs = self._client.ListRuns(ListRunsRequest(run_id=flower_run_id)).run_dict
        except FederationUnreachableError as error:
            cause = error.__cause__
            is_answer = isinstance(cause, httpx.HTTPStatusError)
            if is_answer and cause.response.status_code == HTTPStatus.NOT_FOUND:
                return None
            raise
        if flower_run_id not in runs:
            return None
        status = runs[flower_run_id].status
        return RunStanding(
            status=status.status, sub_status=status.sub_status, details=status.details
        )

    def run_status(self, flower_run_id: int) -> str:
        """Say in words where a run stands, such as ``finished, stopped: by the user``."""
        return str(self.find_run(flower_run_id) or "unknown")

    def register_node(self, public_key: bytes) -> int:
        """Admit the node that holds this key and give its node id.

        Args:
            public_key: PEM of an elliptic-curve key on a NIST curve.
        """
        with coded_errors(self._address):
            request = RegisterNodeRequest(public_key=public_key)
            return self._client.RegisterNode(request).node_id

    def online_node_ids(self) -> list[int]:
        """List the nodes that are connected now, in order of their ids."""
        with coded_errors(self._address):
            nodes = self._client.ListNodes(ListNodesRequest()).nodes_info
        return sorted(node.node_id for node in nodes if node.status == "online")
