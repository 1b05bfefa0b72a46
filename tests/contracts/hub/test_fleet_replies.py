"""Replies of nodes: taken at once, and the next call comes in the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import (
    PullMessagesRequest,
    PullMessagesResponse,
    PushMessagesRequest,
)
from flwr.proto.runtime_pb2 import PullAppMessagesRequest, PullAppMessagesResponse

from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.fleet_frames import framed, object_ids, unframed
from flip_lab.engines.flower.fleet_objects import deflated, inflated
from flip_lab.testing.hub_probe import Asked, ProbedHub, Signer
from flip_lab.testing.hub_probe_run import ProbedRun

PATIENCE_S = 240.0
CONTENT = RecordDict({"arrays": ArrayRecord([np.arange(6.0)])})
Sent = asyncio.Queue[MutableMapping[str, Any]]


def test_a_reply_brings_the_next_call(
    hub: ProbedHub, signer: Signer, long_wait: str
) -> None:
    """The hub says at once that it took the reply; the call follows when there is one."""
    install_fast_arrays()  # as a node does
    hub.enrol("busy", signer)
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        run = ProbedRun(asked, ada, "busy")
        await run.start()
        asked.active.service.state.acknowledge_node_heartbeat(signer.node_id, 30)
        call = await called(run, signer)
        pull = PullMessagesRequest(node=signer.node)
        given = message_in((await asked.fleet(signer, "flip-pull", pull)).content)
        sent: Sent = asyncio.Queue()
        got = given.metadata.message_id
        headers = signer.headers(x_flip_wait=long_wait, x_flip_got=got)
        body = reply_to(given, signer)
        pushing = asyncio.create_task(push_and_wait(asked, headers, body, sent))
        begun = await asyncio.wait_for(sent.get(), PATIENCE_S)
        assert (begun["status"], (b"x-flip-next", b"1") in begun["headers"]) == (200, True)
        asking = PullAppMessagesRequest(message_ids=[call])
        told = await run.ask("runtime/pull-messages", asking, PullAppMessagesResponse)
        assert len(told.messages_list) == 1, "the reply is here already"
        assert sent.empty()
        following = await called(run, signer)
        rest = await asyncio.wait_for(sent.get(), PATIENCE_S)
        assert message_in(rest["body"]).metadata.message_id == following
        await pushing

    hub.play(story)


def test_a_question_that_nobody_reads_keeps_no_call_from_the_next(
    hub: ProbedHub, signer: Signer, long_wait: str
) -> None:
    """A node whose network swallowed its line asks on another one; both are held."""
    install_fast_arrays()  # as a node does
    hub.enrol("roaming", signer)
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        service = asked.active.service
        service.learn_nodes()
        run = ProbedRun(asked, ada, "roaming")
        await run.start()
        service.state.acknowledge_node_heartbeat(signer.node_id, 30)
        pull = PullMessagesRequest(node=signer.node)
        questions = [
            asyncio.create_task(
                asked.fleet(signer, "flip-pull", pull, x_flip_wait=long_wait)
            )
            for _ in range(2)
        ]
        while _num_held(asked, signer) < 2:  # noqa: ASYNC110  # presence tells nobody
            await asyncio.sleep(0.01)
        call = await called(run, signer)
        for answer in await asyncio.wait_for(asyncio.gather(*questions), PATIENCE_S):
            assert message_in(answer.content).metadata.message_id == call

    hub.play(story)


def _num_held(asked: Asked, signer: Signer) -> int:
    seen = asked.active.service.presence.of(signer.node_id)
    return 0 if seen is None else seen.held


async def called(run: ProbedRun, signer: Signer) -> str:
    """Call a node; gives the message's id."""
    message = run.call_for(signer.node_id, CONTENT)
    await run.push(message)
    return message.metadata.message_id


def message_in(body: bytes) -> Message:
    """Read the answer to a question for the next message."""
    head, *contents = unframed(body)
    answer = PullMessagesResponse.FromString(head)
    [tree] = answer.message_object_trees
    return inflated(tree, dict(zip(object_ids(tree), contents, strict=True)))


def reply_to(message: Message, signer: Signer) -> bytes:
    """Answer a message as a node sends it."""
    reply = Message(CONTENT, reply_to=message)
    parts = deflated(reply)
    request = PushMessagesRequest(
        node=signer.node,
        messages_list=[message_to_proto(remove_content_from_message(reply))],
        message_object_trees=[parts.tree],
    )
    return framed([request.SerializeToString(), *parts.contents.values()])


async def push_and_wait(
    asked: Asked, headers: dict[str, str], body: bytes, sent: Sent
) -> None:
    """Push a reply, and ask for the next call with it; give what is sent as it comes."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/fleet/flip-push",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.8", 1),
    }

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("nobody hangs up")

    await asked.front(scope, receive, sent.put)
