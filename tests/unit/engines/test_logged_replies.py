"""What clients log travels beside their replies, however calls are carried out."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.run import Run
from torch import nn

import flip_lab
from flip_lab.core.events import ClientFact, EventKind, Json
from flip_lab.core.listening import Notes, listening
from flip_lab.core.logged import Logged
from flip_lab.core.ports import Control
from flip_lab.engines.base import EngineGrid, Reply
from flip_lab.engines.clients import ClientCall, ClientSetting, call_client
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.gate import Gate
from flip_lab.engines.run_grid import RunGrid
from flip_lab.engines.together import carry_out_together
from flip_lab.fl.declared import ClientDeclaration, RunConfig, declared_app
from flip_lab.fl.training import LocalTraining

SETTING = ClientSetting(run_number=7, seed=3, num_nodes=20, run_config={"seed": 3})


def build(run_config: RunConfig) -> nn.Module:
    """Build a small model."""
    del run_config
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


def load(context: Context) -> tuple[Any, Any]:
    """Load a few examples, and tell of it."""
    partition_id = int(context.node_config["partition-id"])
    flip_lab.log(num_loaded=4 + partition_id)
    rng = np.random.default_rng(partition_id)
    return rng.random((4, 4), np.float32), rng.integers(0, 2, 4)


def calls_of(content: RecordDict) -> list[ClientCall]:
    """Ask three clients to train from one content."""
    become_server(SETTING.run_number)
    calls: list[ClientCall] = []
    for partition_id in range(3):
        message = Message(content, dst_node_id=100 + partition_id, message_type="train")
        stamp(message, f"m{partition_id}")
        call = ClientCall(
            message=message,
            partition_id=partition_id,
            server_round=1,
            phase="train",
            state=RecordDict(),
        )
        calls.append(call)
    return calls


def test_a_client_that_raises_has_said_something_before() -> None:
    """Its words are its own: the server around it does not hear them."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del message, context
        flip_lab.log(loss=3, loss_history=flip_lab.histogram([1, 2]))
        flip_lab.log(loss=4)
        raise ValueError("boom")

    server = Notes()
    with listening(server):
        outcome = call_client(app, calls_of(RecordDict())[0], SETTING)
    assert outcome.error.startswith("ValueError")
    assert set(outcome.logged) == {"loss", "loss_history"}
    assert outcome.logged["loss"] == 4.0
    assert server.facts == {}


def test_a_client_that_logs_nothing_sends_nothing_more() -> None:
    """An empty field costs a few bytes of a pickle."""
    app = ClientApp()
    outcome = call_client(app, calls_of(RecordDict())[0], SETTING)
    assert outcome.logged == {}
    assert len(pickle.dumps(outcome)) < len(pickle.dumps(vars(outcome))) + 200


def test_clients_that_train_together_keep_their_words_apart() -> None:
    """Where data are declared, loading them is the app's own code."""
    install_fast_arrays()
    declaration = ClientDeclaration(
        build_model=build,
        load_train_data=load,
        settings=LocalTraining(local_epochs=1, batch_size=2, learning_rate=0.1),
    )
    content = RecordDict(
        {
            "arrays": ArrayRecord(build({}).state_dict()),
            "config": ConfigRecord({"server-round": 1}),
        }
    )
    outcomes = carry_out_together(
        declared_app(declaration), calls_of(content), SETTING, Gate()
    )
    logged = {each.message_id: each.logged for each in outcomes}
    assert logged == {f"m{each}": {"num_loaded": 4.0 + each} for each in range(3)}


class OneNode(EngineGrid):
    """A node that answers with metrics, and logs beside them."""

    def __init__(self, metrics: Mapping[str, float], logged: Mapping[str, Logged]) -> None:
        self._run = become_server(5)
        self._metrics, self._logged = metrics, logged
        self._sent: dict[str, Message] = {}

    @property
    def run(self) -> Run:
        """Flower's description of the run."""
        return self._run

    def get_node_ids(self) -> Iterable[int]:
        """List the node."""
        return [7]

    def partition_of(self, node_id: int) -> int:
        """Give its partition."""
        return node_id - 7

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Keep messages until they are asked for."""
        for number, message in enumerate(messages):
            stamp(message, f"m{number}")
            self._sent[f"m{number}"] = message
        return list(self._sent)

    def await_replies(self, message_ids: Iterable[str], *, timeout_s: float) -> list[Reply]:
        """Answer what was asked."""
        del timeout_s
        found = [self._sent.pop(each) for each in message_ids if each in self._sent]
        records = RecordDict({"metrics": MetricRecord(dict(self._metrics))})
        return [
            Reply(
                message=Message(records, reply_to=message),
                started_s=1.0,
                duration_s=1.0,
                logged=self._logged,
            )
            for message in found
        ]


class Bench(Control):
    """A RunGrid around the node, and the facts that it tells."""

    def __init__(self, inner: OneNode) -> None:
        self.facts: list[Mapping[str, Any]] = []
        self.grid = RunGrid(inner, emit=self._emit, control=self, seed=1)

    def _emit(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        del server_round
        if kind is EventKind.CLIENT:
            self.facts.append(body)

    def stop_requested(self) -> bool:
        """Nobody stops it."""
        return False


def test_logged_numbers_are_metrics_that_replace_none() -> None:
    """The weight of a reply is the reply's, whatever a client logs under its name."""
    logged = {
        "loss": 9.0,
        "num-examples": 1000.0,
        "extra": 2.0,
        "h": flip_lab.histogram([1]),
    }
    bench = Bench(OneNode({"loss": 0.5, "num-examples": 8}, logged))
    heard: list[tuple[ClientFact, Reply, int]] = []
    bench.grid.on_reply = lambda *told: heard.append(told)
    bench.grid.begin_round(4, 9)
    message = Message(RecordDict(), dst_node_id=7, message_type="train")
    list(bench.grid.send_and_receive([message]))
    [fact] = bench.facts
    assert fact["num_examples"] == 8
    assert fact["metrics"] == {"loss": 0.5, "extra": 2.0}
    [(told, reply, server_round)] = heard
    assert told.body() == fact
    assert reply.logged is logged
    assert server_round == 4
