"""A federation in a loop: enough to run our apps without any engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flwr.app import ArrayRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity  # noqa: TID251  # engines must set it

from flip_lab.core.scenario import Scenario
from flip_lab.fl import client_app, server_app
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.models import build_model
from flip_lab.fl.scenarios import scenario_to_json
from flip_lab.fl.training import LocalTraining


class LoopGrid(Grid):
    """Calls the ClientApp for one message after the other and keeps what it answers."""

    def __init__(self, scenario: Scenario) -> None:
        """Make one node for each partition."""
        # Process-global in Flower; every engine sets them before it runs an app.
        TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
        self.num_partitions = scenario.data.num_partitions
        self.contexts = {
            100 + i: make_context(scenario, {"partition-id": i}, node_id=100 + i)
            for i in range(self.num_partitions)
        }
        self.replies: list[Message] = []

    def set_run(self, run: Any) -> None:  # noqa: ANN401  # Flower's private type
        """Do nothing: there is one run."""

    @property
    def run(self) -> Any:  # noqa: ANN401  # Flower's private type
        """Nobody asks."""
        raise NotImplementedError

    def create_message(self, *_: object, **__: object) -> Message:
        """Nobody asks; strategies make their own messages."""
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        """List the nodes."""
        return list(self.contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Nobody asks; strategies send and receive."""
        raise NotImplementedError(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Nobody asks; strategies send and receive."""
        raise NotImplementedError(message_ids)

    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,
    ) -> list[Message]:
        """Let every client answer; each gets its own copy of the records."""
        del timeout  # nothing here takes time
        replies: list[Message] = []
        # Strategies shuffle the nodes; sums of floats want an order, as engines keep it.
        for message in sorted(messages, key=lambda each: each.metadata.dst_node_id):
            content = RecordDict({key: rec.copy() for key, rec in message.content.items()})
            message.content = content
            context = self.contexts[message.metadata.dst_node_id]
            replies.append(client_app.app(message=message, context=context))
        self.replies += replies
        return replies


def make_context(
    scenario: Scenario, node_config: dict[str, Any], *, node_id: int = 1
) -> Context:
    """Make what Flower hands to an app."""
    return Context(
        run_id=1,
        node_id=node_id,
        node_config=node_config,
        state=RecordDict(),
        run_config={"scenario": scenario_to_json(scenario)},
        series_id=1,
    )


def run_in_loop(scenario: Scenario) -> dict[str, float]:
    """Run a scenario and give the federated evaluation metrics of its last round."""
    grid = LoopGrid(scenario)
    server_app.app(grid=grid, context=make_context(scenario, {}))
    last = [
        reply.content.metric_records["metrics"]
        for reply in grid.replies[-scenario.data.num_partitions :]
        if reply.metadata.message_type == MessageType.EVALUATE
    ]
    return _mean(last)


def _mean(records: list[MetricRecord]) -> dict[str, float]:
    """Average by number of examples, by hand rather than by Flower."""
    total = sum(float(str(record["num-examples"])) for record in records)
    return {
        name: sum(float(str(r[name])) * float(str(r["num-examples"])) for r in records)
        / total
        for name in records[0]
        if name != "num-examples"
    }


@pytest.fixture
def federate() -> Callable[[Scenario], dict[str, float]]:
    """Give the function that runs a scenario in this process."""
    return run_in_loop


@pytest.fixture
def ask() -> Callable[..., Message]:
    """Give the function that sends one message to one client."""
    return ask_client


def ask_client(
    scenario: Scenario,
    message_type: str,
    *,
    partition_id: int | None,
    server_round: int = 1,
    settings: LocalTraining | None = None,
) -> Message:
    """Let a client answer one message with the scenario's initial model."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    model = build_model(scenario, load_dataset(scenario.data.dataset))
    config = (settings or LocalTraining.from_spec(scenario.train)).to_config()
    config["server-round"] = server_round
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "config": config})
    node_config = {} if partition_id is None else {"partition-id": partition_id}
    return client_app.app(
        message=Message(content, dst_node_id=1, message_type=message_type),
        context=make_context(scenario, node_config),
    )
