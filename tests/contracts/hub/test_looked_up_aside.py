"""Who asks is looked up beside the event loop: nodes do not wait for a slow disk."""

from __future__ import annotations

import asyncio

import pytest
from flwr.proto.control_pb2 import ListRunsRequest

from flip_lab.hub.database_tokens import TokenRecord
from flip_lab.testing.hub_probe import Asked, ProbedHub

ASKED = (
    ("GET", "/flip/v1/hub"),
    ("GET", "/flip/v1/hub/deliveries"),
    ("POST", "/flip/v1/hub/tokens"),
    ("GET", "/flip/v1/runs"),  # an answer that is kept
    ("GET", "/flip/v1/models"),
    ("POST", "/flip/v1/runs"),
    ("DELETE", "/flip/v1/uploads/none"),
)


def test_no_token_is_looked_up_in_the_event_loop(
    hub: ProbedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads the database, and each minute writes to it, which others may hold."""
    token = hub.token("admin", "ada")
    looked = list[bool]()

    async def story(asked: Asked) -> None:
        access = asked.active.service.access
        tokens = asked.active.service.database.tokens
        check = tokens.check

        def checked(shown: str) -> TokenRecord | None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                looked.append(False)
            else:
                looked.append(True)
            return check(shown)

        monkeypatch.setattr(tokens, "check", checked)
        proof = {"authorization": f"Bearer {token}"}
        for method, path in ASKED:
            access._known.clear()
            found = await asked.client.request(method, path, headers=proof)
            assert found.status_code not in {401, 403}, path
        access._known.clear()
        await asked.drive(token, "/v1/control/list-runs", ListRunsRequest())

    hub.play(story)
    assert looked == [False] * (len(ASKED) + 1)
