"""The balancer in front of hubs: leads to the first that is ready, and away from it."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from flip_lab.testing.credentials import write_server_certificates
from flip_lab.testing.network_balancer import Balancer


@dataclass(kw_only=True)
class StandIn:
    """A server with TLS that says its name, and whether it is ready."""

    name: str
    address: str = ""
    status: int = 503
    times_asked: int = 0
    thread: threading.Thread = field(default_factory=threading.Thread)


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[list[StandIn]]:
    """Give two servers, neither of them ready."""
    files = write_server_certificates(tmp_path, host="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    servers: list[ThreadingHTTPServer] = []
    made = [StandIn(name="first"), StandIn(name="second")]
    for one in made:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(one))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        one.address = f"127.0.0.1:{server.server_port}"
        one.thread = threading.Thread(target=server.serve_forever, daemon=True)
        one.thread.start()
        servers.append(server)
    yield made
    for one, server in zip(made, servers, strict=True):
        server.shutdown()
        server.server_close()
        one.thread.join()


def handler_of(one: StandIn) -> type[BaseHTTPRequestHandler]:
    """Make the handler of a stand-in."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Say whether it is ready, or its name."""
            body, is_check = one.name.encode(), self.path == "/ready"
            self.send_response(one.status if is_check else 200)
            one.times_asked += is_check
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            """Print nothing."""

    return Handler


def test_connections_lead_to_the_hub_that_is_ready(
    stand_ins: list[StandIn], tmp_path: Path, until: Callable[[Callable[[], bool]], None]
) -> None:
    """None, the second, and still the second; the first once the second is not ready."""
    first, second = stand_ins
    authority = tmp_path / "ca.crt"
    trust = ssl.create_default_context(cafile=authority)
    addresses = [first.address, second.address]
    with (
        Balancer(addresses, authority) as balancer,
        httpx.Client(verify=trust, trust_env=False) as client,
    ):

        def asked() -> str:
            return client.get(f"https://{balancer.address}/name").text

        with pytest.raises(httpx.TransportError):
            asked()
        second.status = 200
        until(lambda: balancer.active == second.address)
        assert asked() == "second"
        first.status = 200
        once = first.times_asked
        until(lambda: first.times_asked >= once + 3)  # a whole look at it while it is ready
        assert asked() == "second"
        second.status = 503
        until(lambda: balancer.active == first.address)
        # the connection that was kept open is closed; a fresh one leads to the other hub
        answers = {asked_again(asked) for _ in range(2)}
        assert answers == {"first"}


def asked_again(ask: Callable[[], str]) -> str:
    """Ask twice if need be: a kept connection may turn out to be closed."""
    try:
        return ask()
    except httpx.TransportError:
        return ask()
