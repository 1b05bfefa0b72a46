"""A hub's door for devices, in this process: real TLS and tokens, without Flower's part."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from flip_lab.api.problems import problem_of
from flip_lab.core.clock import now_s
from flip_lab.core.errors import FlipLabError, NodeRevokedError
from flip_lab.hub.answers import EnrolmentMade
from flip_lab.hub.database import HubDatabase
from flip_lab.hub.enrolment import enrol, make_enrolment
from flip_lab.hub.preparing import prepare_hub
from flip_lab.hub.wishes import EnrolmentWish
from flip_lab.node.messages import EnrolAsk, Health, Report, ReportAnswer
from flip_lab.node.signing import Nonces, Proof, Request, verify
from flip_lab.node.trust import bundle_hash
from flip_lab.node.versions import versions_here


class DeviceHub:
    """Answers devices as a hub does; its clock and its version can be made wrong.

    Args:
        directory: Where the hub's directory shall be.

    Attributes:
        place: The hub's directory.
        database: Its database.
        ahead_s: How far its clock is ahead.
        flower: Its version of Flower.
        lost: How many answers to enrolments get lost on the way.
    """

    def __init__(self, directory: Path) -> None:
        """Make a hub, and listen."""
        self.place = prepare_hub(directory, hosts=["hub.test"], name="clinics").place
        self.database = HubDatabase(self.place)
        self.ahead_s = 0.0
        self.flower = versions_here().flower
        self.lost = 0
        self._nonces = Nonces()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.serve_as(self.place.server_certificate, self.place.server_key)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self._server.server_port}"

    def serve_as(self, certificate: Path, key: Path) -> None:
        """Show another certificate from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._context = context

    def enrolment(self, name: str = "st-mary", **wish: object) -> EnrolmentMade:
        """Make a token for a device; its kit names this door."""
        asked = EnrolmentWish.model_validate({"name": name, **wish})
        made = make_enrolment(self.place, self.database, asked)
        return made.model_copy(update={"address": self.address})

    def token(self, name: str = "st-mary", **wish: object) -> str:
        """Make a token for a device."""
        return self.enrolment(name, **wish).token

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self.database.close()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> bytes:
        """Answer one request."""
        if path == "/health":
            here, time_s = versions_here(), now_s() + self.ahead_s
            told = Health(
                status="ok", time_s=time_s, version=here.flip_lab, flower=self.flower
            )
            return told.model_dump_json().encode()
        if path == "/flip/v1/device/ca":
            return self.place.authorities.read_bytes()
        if path == "/flip/v1/device/enroll":
            asked = EnrolAsk.model_validate_json(body)
            done = enrol(self.place, self.database, asked).model_dump_json().encode()
            if self.lost:
                self.lost -= 1
                raise ConnectionError
            return done
        return self._report(headers, body)

    def _report(self, headers: dict[str, str], body: bytes) -> bytes:
        proof = Proof.of(headers)
        node = self.database.nodes.of_key(proof.fingerprint)
        if node is None or node.status == "revoked":
            raise NodeRevokedError("This node was revoked.", fix="Ask why.")
        asked = Request(method="POST", target="/flip/v1/device/report", body=body)
        skew_s = verify(proof, node.public_key, asked, self._nonces)
        self.database.nodes.seen(
            node.fingerprint, Report.model_validate_json(body).model_dump()
        )
        told = ReportAnswer(
            time_s=now_s(),
            clock_skew_s=skew_s,
            bundle=bundle_hash(self.place.authorities.read_bytes()),
            tags=list(node.tags),
            config=dict(node.config),
        )
        return told.model_dump_json().encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            """One connection: TLS is spoken here, so that a stranger blocks nobody else."""

            def setup(self) -> None:
                """Speak TLS first."""
                self.request = hub._context.wrap_socket(self.request, server_side=True)
                super().setup()

            def finish(self) -> None:
                """Close what TLS made of the connection: the server knows the bare one."""
                with suppress(OSError):
                    super().finish()
                self.request.close()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as there
                """Print nothing."""
                del format, args

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                try:
                    status, content = 200, hub.answer(self.path, headers, body)
                except FlipLabError as error:
                    problem = problem_of(error)
                    status, content = problem["status"], orjson.dumps(problem)
                except ConnectionError:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _serve  # noqa: N815  # as the base class calls them

        return Handler


@pytest.fixture
def device_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceHub]:
    """Give a hub's door for devices."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(ThreadingHTTPServer, "handle_error", lambda *_: None)
    hub = DeviceHub(tmp_path / "hub")
    yield hub
    hub.close()
