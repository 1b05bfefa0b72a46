"""The connections of a process's nodes to their hubs, with whom each of them trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx

from flip_lab.core.errors import HubStateError
from flip_lab.node.config import NodeConfig

_KEEP_S = 60.0


class HttpClients:
    """One client for each node; nodes that trust the same authority share what that takes.

    Not one for all of them: a pool looks at each of its connections for each request, and a
    hundred nodes have hundreds.
    """

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self._contexts: dict[bytes, ssl.SSLContext] = {}
        self._clients: dict[tuple[Path, bytes], httpx.AsyncClient] = {}

    def of(self, config: NodeConfig) -> httpx.AsyncClient:
        """Give the client of a node; another one when its ``ca.crt`` has changed.

        Raises:
            HubStateError: If ``ca.crt`` cannot be read.
        """
        path = config.root_certificates
        try:
            roots = path.read_bytes() if path else b""
            if roots not in self._contexts:
                self._contexts[roots] = _context(roots)
        except (OSError, ssl.SSLError, UnicodeDecodeError) as error:
            raise HubStateError(
                f"The certificate of the node's hub, {path}, cannot be read ({error}).",
                fix="Fetch the hub's ca.crt again, in PEM.",
            ) from error
        key = (config.directory, roots)
        if key not in self._clients:
            limits = httpx.Limits(max_connections=None, keepalive_expiry=_KEEP_S)
            self._clients[key] = httpx.AsyncClient(
                verify=self._contexts[roots], limits=limits
            )
        return self._clients[key]

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()


def _context(roots: bytes) -> ssl.SSLContext:
    """Trust an authority and nobody else; the system's where none is given."""
    context = ssl.create_default_context()
    if roots:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=roots.decode("ascii"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
