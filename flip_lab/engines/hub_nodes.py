"""What a hub knows of its nodes: names, tags, partitions; a stock SuperLink knows none."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

from flip_lab.core.cohort import NodeFacts
from flip_lab.core.errors import FederationUnreachableError
from flip_lab.engines.flower.control import SuperLink
from flip_lab.engines.flower.refusals import coded_errors

_PATH = "/flip/v1/hub/nodes"
_TIMEOUT = httpx.Timeout(connect=5.0, read=15.0, write=15.0, pool=15.0)


@dataclass(frozen=True, kw_only=True)
class HubNode:
    """One node, as its hub knows it.

    Attributes:
        node_id: Flower's id of it.
        name: What the hub calls it.
        tags: Its tags.
        partition_id: The partition that it holds, 0-based; -1 when the hub knows none.
    """

    node_id: int
    name: str
    tags: frozenset[str] = field(default=frozenset[str]())
    partition_id: int = -1

    @property
    def facts(self) -> NodeFacts:
        """What a choice of nodes looks at."""
        return NodeFacts(name=self.name, tags=self.tags, partition_id=self.partition_id)


class HubNodes:
    """Asks a hub for its nodes.

    Args:
        superlink: The hub, with a token that may read.
    """

    def __init__(self, superlink: SuperLink) -> None:
        """Prepare the connection; nothing is sent yet.

        Raises:
            FederationUnreachableError: If the root certificates cannot be read.
        """
        self._address = superlink.address
        with coded_errors(superlink.address):
            context = ssl.create_default_context()
            if superlink.root_certificates is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(cadata=superlink.root_certificates.decode())
        self._client = httpx.Client(
            base_url=f"https://{superlink.address}",
            verify=context,
            headers=superlink.headers(),
            timeout=_TIMEOUT,
        )

    def known(self) -> Mapping[int, HubNode]:
        """Give the nodes that have an id, by it.

        Raises:
            FederationUnreachableError: If the hub does not answer, or refuses.
        """
        with coded_errors(self._address):
            answer = self._client.get(_PATH)
            answer.raise_for_status()
        try:
            nodes = [_node(each) for each in _items(answer.json())]
        except (KeyError, TypeError, ValueError) as error:
            raise FederationUnreachableError(
                f"The hub at {self._address} lists its nodes in a way that cannot be read: "
                f"{error!r}.",
                fix="Use the same version of flip-lab here and on the hub.",
            ) from None
        return {node.node_id: node for node in nodes if node is not None}

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


def _items(body: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401  # what JSON holds
    rows = cast("Any", body)["items"] if isinstance(body, dict) else body
    return cast("list[Mapping[str, Any]]", rows)


def _node(row: Mapping[str, Any]) -> HubNode | None:
    if not row.get("node_id") or row.get("status") == "revoked":
        return None
    partition_id = row.get("partition_id")
    return HubNode(
        node_id=int(row["node_id"]),
        name=str(row["name"]),
        tags=frozenset(str(tag) for tag in row.get("tags") or ()),
        partition_id=-1 if partition_id is None else int(partition_id),
    )
