"""Those who mean ill: guesses, odd bodies, and changes at the same moment."""

from __future__ import annotations

import gc
import logging
from threading import Event, Thread

import pytest

from flip_lab.hub.database_nodes import NodeRecord
from flip_lab.node.signing import Request, signed_headers
from flip_lab.testing.hub_probe import Asked, ProbedHub, Signer

REPORT = "/flip/v1/device/report"
JSON = {"content-type": "application/json"}


def signed(signer: Signer, path: str, body: bytes) -> dict[str, str]:
    """Sign a request as a node does."""
    return {
        **JSON,
        **signed_headers(signer.key, Request(method="POST", target=path, body=body)),
    }


@pytest.mark.parametrize("path", ["/flip/v1/hub/nodes", REPORT, "/flip/v1/runs"])
def test_a_made_up_key_buys_no_more_guesses(
    hub: ProbedHub, signer: Signer, path: str
) -> None:
    """Who only claims to be a node waits as everybody does; a node need not."""
    hub.enrol(f"node-{signer.node_id}", signer)
    body = b'{"flip_lab": "1", "flower": "1"}'

    async def story(asked: Asked) -> None:
        asked.active.admission._window_s = 1e9  # nothing is forgiven meanwhile
        headers = {"authorization": "Bearer flip_x_y", "x-flip-key": "0" * 64}
        told = [
            (await asked.client.get(path, headers=headers)).status_code for _ in range(40)
        ]
        assert told[-1] in {405, 429}
        assert told.count(401) <= 20
        good = await asked.client.post(
            REPORT, content=body, headers=signed(signer, REPORT, body)
        )
        assert good.status_code == 200

    hub.play(story)


@pytest.mark.parametrize("odd", [r'"\ud800"', "NaN", "-Infinity"])
def test_no_node_blinds_those_who_look(hub: ProbedHub, signer: Signer, odd: str) -> None:
    """What it says of itself could not be written as an answer: it is refused."""
    hub.enrol(f"node-{signer.node_id}", signer)
    body = f'{{"flip_lab": {odd}, "flower": "1", "facts": {{"a": {odd}}}}}'.encode()

    async def story(asked: Asked) -> None:
        headers = signed(signer, REPORT, body)
        answer = await asked.client.post(REPORT, content=body, headers=headers)
        assert answer.status_code == 422
        admin = {"authorization": f"Bearer {hub.admin}"}
        made = f'{{"name": "odd", "config": {{"x": {odd}}}}}'
        answer = await asked.client.post(
            "/flip/v1/hub/enrolments", content=made, headers=JSON | admin
        )
        assert answer.status_code == 422
        for what in ("nodes", "enrolments", "deliveries"):
            shown = await asked.client.get(f"/flip/v1/hub/{what}", headers=admin)
            assert shown.status_code == 200

    hub.play(story)


def test_a_refused_deed_leaves_nothing_behind(
    hub: ProbedHub, caplog: pytest.LogCaptureFixture
) -> None:
    """In whose name it was done is over with the request, not when memory is swept."""

    async def story(asked: Asked) -> None:
        admin = {"authorization": f"Bearer {hub.admin}"}
        for kind in ("tokens", "nodes", "enrolments"):
            answer = await asked.client.delete(f"/flip/v1/hub/{kind}/no", headers=admin)
            assert answer.status_code == 404
        gc.collect()

    gc.collect()  # what other tests left is not ours
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        hub.play(story)
        gc.collect()
    assert not caplog.records


def test_a_revoked_node_stays_out_whoever_else_looks(
    hub: ProbedHub, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that was read before the node was revoked does not let it in again."""
    name = f"node-{signer.node_id}"
    hub.enrol(name, signer)

    async def story(asked: Asked) -> None:
        service = asked.active.service
        is_revoked, has_read = Event(), Event()
        read = service.database.nodes.list

        def slowly() -> list[NodeRecord]:
            """Give what was true a while ago, to whoever asks first."""
            found = read()
            if not has_read.is_set():
                has_read.set()
                is_revoked.wait(1)
            return found

        monkeypatch.setattr(service.database.nodes, "list", slowly)
        other = Thread(target=service.learn_nodes)
        other.start()
        assert has_read.wait(240)
        service.database.nodes.revoke(name)
        service.learn_nodes()
        is_revoked.set()
        other.join()
        node = service.keys.of_id(signer.node_id)
        assert node is not None
        assert not node.is_enrolled

    hub.play(story)
