"""The door of nodes: signed, each once, each for itself; and waits that end."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, RecordDict
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import Metadata as ProtoMetadata
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse

from flip_lab.hub import presence as presence_module
from flip_lab.testing.hub_probe import Asked, ProbedHub, Signer
from flip_lab.testing.hub_probe_run import ProbedRun

PATIENCE_S = 240.0
CONTENT = RecordDict({"arrays": ArrayRecord([np.arange(6.0)])})


def test_a_revoked_node_is_refused_by_name(hub: ProbedHub, signer: Signer) -> None:
    """From the moment the database says so, with a word that tells what to do."""
    hub.enrol("leaving", signer)

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        activate = ActivateNodeRequest(public_key=signer.pem, heartbeat_interval=10)
        assert (await asked.fleet(signer, "activate-node", activate)).is_success
        assert signer.node_id in asked.active.service.presence.online()
        hub.revoke("leaving")
        asked.active.service.learn_nodes()
        answer = await asked.fleet(signer, "activate-node", activate)
        assert (answer.status_code, answer.json()["code"]) == (401, "FLIP-802")
        assert "'leaving' was revoked" in answer.json()["detail"]
        assert signer.node_id not in asked.active.service.presence.online()

    hub.play(story)


def test_a_node_keeps_its_id_and_comes_back_by_a_heartbeat(
    hub: ProbedHub, signer: Signer
) -> None:
    """At the next start of the hub the key is known, and nobody must activate again."""
    hub.enrol("steady", signer)
    beat = SendNodeHeartbeatRequest(node=signer.node, heartbeat_interval=10)

    async def story(asked: Asked) -> None:
        assert (await asked.fleet(signer, "send-node-heartbeat", beat)).is_success
        assert signer.node_id in asked.active.service.presence.online()

    hub.play(story)
    hub.play(story)


def test_a_node_speaks_for_itself_alone(hub: ProbedHub, signer: Signer) -> None:
    """It neither pulls another one's calls nor answers them."""
    other = Signer()
    hub.enrol("honest", other)
    hub.enrol("curious", signer)

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        pull = PullMessagesRequest(node=other.node)
        metadata = ProtoMetadata(src_node_id=other.node_id, run_id=1)
        push = PushMessagesRequest(
            node=signer.node,
            messages_list=[ProtoMessage(metadata=metadata)],
            message_object_trees=[ObjectTree()],
        )
        activate = ActivateNodeRequest(public_key=other.pem, heartbeat_interval=10)
        for name, request in (
            ("pull-messages", pull),
            ("push-messages", push),
            ("activate-node", activate),
        ):
            answer = await asked.fleet(signer, name, request)
            assert (answer.status_code, answer.json()["code"]) == (403, "FLIP-702"), name

    hub.play(story)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", {}, 400),
        (b"", {"content-type": "application/json"}, 415),
        (b"", {"x-flip-wait": "soon"}, 422),
        (b"", {"x-flip-wait": "nan"}, 422),
        (b"x" * (2**20 + 1), {}, 413),
        (b"", {"content-length": "1" * 20}, 413),
    ],
)
def test_what_cannot_be_is_refused(
    hub: ProbedHub, signer: Signer, body: bytes, headers: dict[str, str], status: int
) -> None:
    """With a status that says why, and without a word of what went wrong within."""
    hub.enrol(f"odd-{status}-{len(body)}-{len(headers)}-{len(str(headers))}", signer)

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        told = signer.headers() | headers
        path = "/v1/fleet/pull-messages"
        answer = await asked.client.post(path, content=body, headers=told)
        assert answer.status_code == status, answer.text
        assert "Traceback" not in answer.text

    hub.play(story)


def test_a_call_is_handed_out_when_all_of_it_is_there(
    hub: ProbedHub, signer: Signer, long_wait: str
) -> None:
    """The wait of its node ends with the last object, and no earlier."""
    hub.enrol("patient", signer)
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        run = ProbedRun(asked, ada, "whole")
        await run.start()
        asked.active.service.state.acknowledge_node_heartbeat(signer.node_id, 30)
        pull = PullMessagesRequest(node=signer.node)
        waiting = asyncio.create_task(
            asked.fleet(signer, "pull-messages", pull, x_flip_wait=long_wait)
        )
        rest = await run.push(run.call_for(signer.node_id, CONTENT), leave=1)
        at_once = await asked.fleet(signer, "pull-messages", pull)
        assert not PullMessagesResponse.FromString(at_once.content).messages_list
        assert not waiting.done()
        await run.push_objects(rest)
        answer = await asyncio.wait_for(waiting, PATIENCE_S)
        given = PullMessagesResponse.FromString(answer.content).messages_list
        assert len(given) == 1
        assert given[0].metadata.dst_node_id == signer.node_id
        again = await asked.fleet(signer, "pull-messages", pull)
        assert not PullMessagesResponse.FromString(again.content).messages_list

    hub.play(story)


def test_a_broken_connection_is_a_lost_node(
    hub: ProbedHub, signer: Signer, long_wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its driver gets an error for the call, and is rung; a sign of life forgives."""
    monkeypatch.setattr(presence_module, "GRACE_S", 0.0)
    hub.enrol("fragile", signer)
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        service = asked.active.service
        service.learn_nodes()
        run = ProbedRun(asked, ada, "lost")
        await run.start()
        beat = SendNodeHeartbeatRequest(node=signer.node, heartbeat_interval=10)
        await asked.fleet(signer, "send-node-heartbeat", beat)
        service.presence.tick()
        call = run.call_for(signer.node_id, CONTENT)
        await run.push(call)
        await break_while_held(asked, signer.headers(x_flip_wait=long_wait), beat)
        seen = service.bells.news(("run", run.run_id))
        service.presence.tick()
        assert signer.node_id not in service.presence.online()
        assert service.bells.news(("run", run.run_id)) != seen
        asking = PullAppMessagesRequest(message_ids=[call.metadata.message_id])
        told = await run.ask("runtime/pull-messages", asking, PullAppMessagesResponse)
        assert [each.error.code for each in told.messages_list] == [5]
        pull = PullMessagesRequest(node=signer.node)
        assert (await asked.fleet(signer, "pull-messages", pull)).is_success
        assert signer.node_id in service.presence.online()

    hub.play(story)


@pytest.mark.parametrize("session", ["", "s1"])
def test_a_node_that_is_killed_as_it_comes_is_lost(
    hub: ProbedHub, signer: Signer, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    """One of ours asks at once for calls; a stock node takes its time, and may."""
    monkeypatch.setattr(presence_module, "GRACE_S", 0.0)
    hub.enrol(f"stillborn-{session}", signer)

    async def story(asked: Asked) -> None:
        presence = asked.active.service.presence
        asked.active.service.learn_nodes()
        activate = ActivateNodeRequest(public_key=signer.pem, heartbeat_interval=10)
        more = {"x_flip_session": session} if session else {}
        assert (await asked.fleet(signer, "activate-node", activate, **more)).is_success
        presence.tick()
        assert (signer.node_id in presence.online()) is not bool(session)
        beat = SendNodeHeartbeatRequest(node=signer.node, heartbeat_interval=10)
        await asked.fleet(signer, "send-node-heartbeat", beat)
        presence.tick()
        assert signer.node_id in presence.online(), "a sign of life forgives"

    hub.play(story)


async def break_while_held(
    asked: Asked, headers: dict[str, str], beat: SendNodeHeartbeatRequest
) -> None:
    """Send a heartbeat that asks to be held, and close the connection meanwhile."""
    breaks = asyncio.Event()
    body = beat.SerializeToString()
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/fleet/send-node-heartbeat",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.8", 1),
    }

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await breaks.wait()
        return {"type": "http.disconnect"}

    async def send(_: MutableMapping[str, Any]) -> None:
        raise AssertionError("nobody is there to hear it")

    held = asyncio.create_task(asked.front(scope, receive, send))
    presence = asked.active.service.presence
    while (seen := presence.of(beat.node.node_id)) is None or not seen.held:  # noqa: ASYNC110  # it tells nobody
        await asyncio.sleep(0.01)
    breaks.set()
    await asyncio.wait_for(held, PATIENCE_S)


@pytest.mark.parametrize("session", ["", "s1"])
def test_a_node_that_starts_again_gets_what_it_never_confirmed(
    hub: ProbedHub, signer: Signer, session: str
) -> None:
    """Also when Flower would still take it for online, and refuse it."""
    hub.enrol(f"phoenix-{session}", signer)
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        run = ProbedRun(asked, ada, f"again {session}")
        await run.start()
        activate = ActivateNodeRequest(public_key=signer.pem, heartbeat_interval=10)
        more = {"x_flip_session": session} if session else {}
        pull = PullMessagesRequest(node=signer.node)

        async def taken() -> int:
            answer = await asked.fleet(signer, "pull-messages", pull)
            return len(PullMessagesResponse.FromString(answer.content).messages_list)

        assert (await asked.fleet(signer, "activate-node", activate, **more)).is_success
        await run.push(run.call_for(signer.node_id, CONTENT))
        assert await taken() == 1
        assert (await asked.fleet(signer, "activate-node", activate, **more)).is_success
        assert await taken() == (0 if session else 1)

    hub.play(story)


def test_nodes_of_another_flower_are_told(hub: ProbedHub, signer: Signer) -> None:
    """An activation says which Flower runs there; one that does not fit is refused."""
    hub.enrol("elderly", signer)
    versions = {
        "flwr-package-name": "flwr",
        "flwr-package-version": "1.20.0",
        "flwr-component-name": "SuperNode",
    }

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        activate = ActivateNodeRequest(public_key=signer.pem, heartbeat_interval=10)
        told = signer.headers() | versions
        answer = await asked.client.post(
            "/v1/fleet/activate-node", content=activate.SerializeToString(), headers=told
        )
        assert (answer.status_code, answer.json()["code"]) == (426, "FLIP-804"), answer.text

    hub.play(story)


def test_an_unknown_run_is_over(hub: ProbedHub, signer: Signer) -> None:
    """What a node still holds from before the hub was started again is no fault of it."""
    hub.enrol("late", signer)

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        metadata = ProtoMetadata(src_node_id=signer.node_id, run_id=4711)
        push = PushMessagesRequest(
            node=Node(node_id=signer.node_id),
            messages_list=[ProtoMessage(metadata=metadata)],
            message_object_trees=[ObjectTree()],
        )
        answer = await asked.fleet(signer, "push-messages", push)
        assert (answer.status_code, answer.json()["code"]) == (403, 2007), answer.text

    hub.play(story)
