"""The door of drivers: runs that they started, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
from flwr.app import ArrayRecord, RecordDict
from flwr.proto.control_pb2 import (
    ListRunsRequest,
    ListRunsResponse,
    StartRunRequest,
    StopRunRequest,
    StopRunResponse,
)
from flwr.proto.runtime_pb2 import (
    AcquireTaskRequest,
    GetNodesRequest,
    PullAppMessagesRequest,
    PushTaskOutputRequest,
    PushTaskOutputResponse,
)
from google.protobuf.message import Message

from flip_lab.hub.database import HubDatabase
from flip_lab.testing.hub_probe import Asked, ProbedHub, Signer
from flip_lab.testing.hub_probe_run import ProbedRun

PATIENCE_S = 240.0


def test_only_who_started_a_run_claims_and_drives_it(hub: ProbedHub) -> None:
    """Another researcher gets neither its task nor its messages, nor stops it."""
    ada, bob = hub.token("researcher", "ada"), hub.token("researcher", "bob")

    async def story(asked: Asked) -> None:
        run = ProbedRun(asked, ada)
        await run.start()
        claim = AcquireTaskRequest(agentapp_fab_hashes=[run.fab.hash_str])
        stop = StopRunRequest(run_id=run.run_id)
        thief = ProbedRun(asked, bob)
        thief.task_token = run.task_token
        for path, request in (
            ("/v1/runtime/acquire-task", claim),
            ("/v1/runtime/get-nodes", GetNodesRequest()),
            ("/v1/control/stop-run", stop),
        ):
            answer = await thief.drive(path, request)
            assert answer.status_code == 403, (path, answer.text)
        assert (await run.drive("/v1/runtime/get-nodes", GetNodesRequest())).is_success
        boss = ProbedRun(asked, hub.admin)
        stopped = await boss.ask("control/stop-run", stop, StopRunResponse)
        assert stopped.success

    hub.play(story)
    with HubDatabase(hub.place) as database:
        newest = database.runs.list(limit=1)[0]
        assert newest.person == "ada"


@pytest.mark.parametrize(
    "request_",
    [
        AcquireTaskRequest(supported_task_types=["flwr-serverapp"]),
        AcquireTaskRequest(agentapp_fab_hashes=["a" * 64, "b" * 64]),
        AcquireTaskRequest(),
    ],
)
def test_nobody_claims_whatever_there_is(hub: ProbedHub, request_: Message) -> None:
    """An executor of Flower's, which takes anybody's run, gets none."""
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        run = ProbedRun(asked, ada)
        await run.ask("control/start-run", run.start_request, ListRunsResponse)
        answer = await run.drive("/v1/runtime/acquire-task", request_)
        assert answer.status_code == 403

    hub.play(story)


@pytest.mark.parametrize(
    "request_",
    [
        StartRunRequest(app_spec="@somebody/app"),
        StartRunRequest(connector_ids=[1]),
        StartRunRequest(),
    ],
)
def test_a_run_needs_its_app_and_nothing_from_elsewhere(
    hub: ProbedHub, request_: Message
) -> None:
    """Flower would fetch an app over the network, in the name of the hub."""

    async def story(asked: Asked) -> None:
        answer = await ProbedRun(asked, hub.admin).drive("/v1/control/start-run", request_)
        assert answer.json()["code"] == "FLIP-703"

    hub.play(story)


def test_a_wait_for_replies_ends_when_the_run_does(hub: ProbedHub, long_wait: str) -> None:
    """Somebody stops the run; whoever waits for replies is told at once."""
    ada = hub.token("researcher", "ada")

    async def story(asked: Asked) -> None:
        run = ProbedRun(asked, ada)
        await run.start()
        pull = "/v1/runtime/pull-messages"
        first = await run.drive(pull, PullAppMessagesRequest())
        seen = first.headers["x-flip-news"]
        waiting = asyncio.create_task(
            run.drive(
                pull,
                PullAppMessagesRequest(),
                **{"x-flip-wait": long_wait, "x-flip-seen": seen},
            )
        )
        await asyncio.sleep(0.05)
        assert not waiting.done()
        stop = StopRunRequest(run_id=run.run_id)
        await run.ask("control/stop-run", stop, StopRunResponse)
        answer = await asyncio.wait_for(waiting, PATIENCE_S)
        assert answer.headers["x-flip-news"] != seen
        assert (await run.drive(pull, PullAppMessagesRequest())).status_code == 401

    hub.play(story)


def test_a_run_that_ended_is_kept_with_its_outcome(hub: ProbedHub, signer: Signer) -> None:
    """And what it had in memory goes."""
    ada = hub.token("researcher", "ada")
    hub.enrol("keeper", signer)

    async def story(asked: Asked) -> None:
        asked.active.service.learn_nodes()
        run = ProbedRun(asked, ada, "ending")
        await run.start()
        state = asked.active.service.state
        state.acknowledge_node_heartbeat(signer.node_id, 30)
        await run.push(run.call_for(signer.node_id, RecordDict({"a": ArrayRecord()})))
        assert len(state.object_store)
        done = PushTaskOutputRequest(sub_status="completed")
        await run.ask("runtime/push-task-output", done, PushTaskOutputResponse)
        assert state.sweep() == [run.run_id]
        assert (state.outcome(run.run_id), len(state.object_store)) == ("completed", 0)
        listed = await run.ask("control/list-runs", ListRunsRequest(), ListRunsResponse)
        assert run.run_id in listed.run_dict

    hub.play(story)
