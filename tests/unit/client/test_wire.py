"""Requests: who asks, what is asked again, and what comes back as which error."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from flip_lab.client.address import read_address
from flip_lab.client.answers import About, Events, Page, WholeRun
from flip_lab.client.answers_lab import Alert
from flip_lab.client.line import Line
from flip_lab.client.wire import Wire
from flip_lab.core import errors
from flip_lab.testing.desk import RUN, V1, Desk, problem


def test_the_token_travels_in_a_header(desk: Desk, wire: Wire) -> None:
    """It stands in no path that a proxy would write into its log."""
    desk.tell(
        "GET", "/alerts", httpx.Response(200, json={"items": [], "next_cursor": None})
    )
    list(wire.pages("/alerts", Page[Alert]))
    [asked] = desk.asked
    assert asked.headers["authorization"] == "Bearer secret"
    assert "secret" not in str(asked.url)


def test_what_has_not_changed_is_not_sent_again(desk: Desk, wire: Wire) -> None:
    """The second time the tag is shown, and the kept answer is read."""
    desk.tell(
        "GET",
        "/runs/one",
        httpx.Response(200, json=dict(RUN), headers={"ETag": '"a"'}),
        httpx.Response(304, headers={"ETag": '"a"'}),
    )
    first, second = (wire.get("/runs/one", WholeRun) for _ in range(2))
    assert first.model_dump_json() == second.model_dump_json()  # NaN equals nothing
    assert desk.asked[1].headers["if-none-match"] == '"a"'


def test_reading_is_tried_again(desk: Desk, wire: Wire) -> None:
    """A server that starts anew is asked until it answers."""
    desk.tell(
        "GET",
        "/runs/one",
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("gone"),
        httpx.Response(503, headers={"Retry-After": "0"}),
        httpx.Response(200, json=dict(RUN)),
    )
    assert wire.get("/runs/one", WholeRun).run_id == "one"
    assert len(desk.asked) == 4


def test_a_command_that_may_have_arrived_is_not_sent_again(desk: Desk, wire: Wire) -> None:
    """Two steps are not one: only what cannot have left is sent again."""
    desk.tell("POST", "/x", httpx.ConnectError("refused"), httpx.ReadError("gone"))
    with pytest.raises(errors.LabUnreachableError, match="gone"):
        wire.ask("POST", "/x", {})
    assert len(desk.asked) == 2


def test_a_server_that_stays_busy_is_told_of(desk: Desk, wire: Wire) -> None:
    """After the time that a request may take, the last answer counts."""
    desk.tell("GET", "/x", problem("FLIP-406", 503))
    with pytest.raises(errors.StoreBusyError):
        wire.ask("GET", "/x")
    assert len(desk.asked) > 2


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("FLIP-301", 404, errors.RunNotFoundError),
        ("FLIP-310", 409, errors.CommandRefusedError),
        ("FLIP-403", 422, errors.QueryError),
        ("FLIP-701", 401, errors.NotAuthenticatedError),
        ("FLIP-702", 403, errors.NotAllowedError),
        ("FLIP-999", 400, errors.ApiError),
    ],
)
def test_problems_become_the_errors_that_they_were(
    desk: Desk, wire: Wire, code: str, status: int, kind: type[errors.FlipLabError]
) -> None:
    """What can be caught locally can be caught here."""
    desk.tell("GET", "/x", problem(code, status, detail="what", fix="how", evidence="tail"))
    with pytest.raises(kind) as raised:
        wire.ask("GET", "/x")
    assert type(raised.value) is kind
    if kind is not errors.NotAuthenticatedError:  # it says how we show a token
        assert "what" in raised.value.what
        assert (raised.value.fix, raised.value.detail) == ("how", "tail")


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (httpx.Response(403, text="Forbidden"), errors.NotAuthenticatedError),
        (
            httpx.Response(302, headers={"Location": "/login?x"}),
            errors.NotAuthenticatedError,
        ),
        (httpx.Response(302, headers={"Location": "/else"}), errors.LabUnreachableError),
        (httpx.Response(500, text="proxy"), errors.LabUnreachableError),
        (httpx.Response(418, text="tea"), errors.RemoteVersionError),
        (httpx.Response(200, json={"run_id": 3}), errors.RemoteVersionError),
        (httpx.Response(200, text="<html>"), errors.RemoteVersionError),
    ],
)
def test_what_no_lab_says_is_told_apart(
    desk: Desk, wire: Wire, response: httpx.Response, kind: type[errors.FlipLabError]
) -> None:
    """Proxies, login pages and other versions each have a word of their own."""
    desk.tell("GET", "/runs/one", response)
    with pytest.raises(kind):
        wire.get("/runs/one", WholeRun)


def test_lists_are_read_to_their_end(desk: Desk, wire: Wire) -> None:
    """Cursors go back as they came; a limit ends it early."""

    def page(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("cursor", "0"))
        size = min(int(request.url.params["limit"]), 2)
        items = [_alert(number) for number in range(start, min(start + size, 5))]
        after = str(start + size) if start + size < 5 else None
        return httpx.Response(200, json={"items": items, "next_cursor": after})

    desk.tell("GET", "/alerts", page)
    for limit, found in ((None, 5), (3, 3), (0, 0)):
        alerts = [*wire.pages("/alerts", Page[Alert], limit=limit)]
        assert [each.server_round for each in alerts] == [*range(found)]


def test_filters_are_written_as_the_api_reads_them(desk: Desk, wire: Wire) -> None:
    """What is not given is left out; several values are given several times."""
    desk.tell(
        "GET", "/e", httpx.Response(200, json={"items": [], "reached": 0, "is_more": False})
    )
    wire.get(
        "/e", Events, after=3, kind=["state", "metric"], archived=True, q=None, n="a&b"
    )
    query = desk.asked[0].url.query.decode()
    assert query == "after=3&kind=state&kind=metric&archived=true&n=a%26b"


def test_a_path_of_its_own_is_found(desk: Desk) -> None:
    """Where a proxy takes the prefix off, the API stands right behind the path."""

    class Bare(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.path.startswith("/user/x/flip/"):
                return httpx.Response(404)
            moved = re.sub("^/user/x", "/flip", request.url.path)
            return desk.handle_request(httpx.Request("GET", f"http://x{moved}"))

    address = read_address("http://127.0.0.1/user/x", "t")
    assert Wire(Line(address, timeout_s=1.0, transport=Bare())).path == "/user/x/v1"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (httpx.Response(404, text="nginx"), errors.LabUnreachableError),
        (problem("FLIP-709", 404), errors.RemoteVersionError),
        (
            httpx.Response(200, json={"version": "9", "api": "v2"}),
            errors.RemoteVersionError,
        ),
        (httpx.ConnectError("refused"), errors.LabUnreachableError),
        (problem("FLIP-701", 401), errors.NotAuthenticatedError),
    ],
)
def test_what_is_no_lab_of_ours_is_told_at_once(
    desk: Desk, response: httpx.Response | Exception, kind: type[errors.FlipLabError]
) -> None:
    """Nobody gets a handle on a lab that does not answer."""
    desk.tell("GET", "/about", response)
    address = read_address("http://127.0.0.1:8765/flip", "secret")
    with pytest.raises(kind) as raised:
        Wire(Line(address, timeout_s=0.05, transport=desk))
    assert "secret" not in str(raised.value)


def test_what_is_served_is_known(wire: Wire) -> None:
    """The first answer says who we are over there."""
    about: About = wire.about
    assert (about.person, about.lab, wire.path) == ("ada", "/labs/mine", V1)


def _alert(number: int) -> dict[str, object]:
    names = ("run_id", "name", "experiment", "level", "code", "message")
    told = dict.fromkeys(names, "x")
    return {**told, "time_at": None, "sequence": -1, "server_round": number}


def test_a_certificate_that_nobody_trusts_has_a_remedy_of_its_own(desk: Desk) -> None:
    """Neither the port nor a tunnel is to blame."""
    failed = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    desk.tell("GET", "/about", failed)
    address = read_address("https://127.0.0.1/flip", "t")
    with pytest.raises(errors.LabUnreachableError) as raised:
        Wire(Line(address, timeout_s=0.05, transport=desk))
    assert "trust=" in raised.value.fix


def test_trust_needs_certificates(tmp_path: Path) -> None:
    """A file that is none is refused before anything is asked."""
    empty = tmp_path / "ca.crt"
    empty.write_text("nothing")
    for file in (empty, tmp_path / "nowhere.crt"):
        with pytest.raises(errors.InvalidValueError, match="crt"):
            Line(read_address("https://host"), timeout_s=1.0, trust=file)
