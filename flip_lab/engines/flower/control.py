"""What we ask of a SuperLink's Control API, with errors that say what to do.

Flower 1.41 speaks protobuf over HTTPS. Its own clients end or interrupt the process when
they are refused (a rejected version exits, a rejected token raises SIGINT); ours raise.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import httpx
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.error import FlowerError
from flwr.supercore.fab import Fab
from flwr.supercore.protobuf.client import ProtobufCall, ProtobufRequestContext
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata

from flip_lab.core.errors import FederationUnreachableError


@dataclass(frozen=True, kw_only=True)
class SuperLink:
    """How to reach a SuperLink, and what proves that we may drive runs on it.

    Attributes:
        address: ``host:port``, as the SuperLink's certificate names it.
        root_certificates: Authorities to trust, PEM; ``None`` trusts the system's.
        superexec_secret: The secret the SuperLink was started with, byte for byte.
    """

    address: str
    root_certificates: bytes | None
    superexec_secret: bytes


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


@contextmanager
def coded_errors(address: str) -> Generator[None]:
    """Turn what goes wrong between us and a SuperLink into one coded error.

    Raises:
        FederationUnreachableError: It does not answer, is not the one we trust, or refuses.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        what, fix = _refused(address, error)
        raise FederationUnreachableError(what, fix=fix) from error
    except (httpx.TransportError, ssl.SSLError) as error:
        what, fix = _unreachable(address, error)
        raise FederationUnreachableError(what, fix=fix) from error


def _unreachable(address: str, error: Exception) -> tuple[str, str]:
    """Say what happened and what to do."""
    if isinstance(error, ssl.SSLError):
        return (
            f"The root certificates for {address} cannot be read ({error}).",
            "Let root-certificates name a PEM file with the authority's certificate.",
        )
    if "certificate" in str(error).lower():
        return (
            f"The certificate of the SuperLink at {address} is not trusted ({error}).",
            "Let root-certificates name its authority, and use an address that it names.",
        )
    return (
        f"The SuperLink at {address} does not answer ({type(error).__name__}: {error}).",
        "Check that it runs, that host:port is right, and that no firewall is between.",
    )


def _refused(address: str, error: httpx.HTTPStatusError) -> tuple[str, str]:
    """Say what happened and what to do."""
    said = FlowerError.from_json(error.response.text)
    reason = said.message if said else error.response.reason_phrase
    path = error.request.url.path
    fix = "Look into the SuperLink's log; its Flower version must be ours, up to the patch."
    if path.endswith("/acquire-task"):
        fix = "Let superexec-secret name a copy of the very file the SuperLink was given."
    status = error.response.status_code
    return f"The SuperLink at {address} refused {path} (HTTP {status}: {reason}).", fix


class ControlClient:
    """A connection to a SuperLink's Control API; every call may raise FLIP-503.

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
                interceptors=[VersionHeaders("flwr CLI")],
            )

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

    def run_status(self, flower_run_id: int) -> str:
        """Say in words where a run stands, such as ``finished, stopped: by the user``."""
        with coded_errors(self._address):
            request = ListRunsRequest(run_id=flower_run_id)
            status = self._client.ListRuns(request).run_dict[flower_run_id].status
        standing = ", ".join(part for part in (status.status, status.sub_status) if part)
        return f"{standing}: {status.details}" if status.details else standing

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
