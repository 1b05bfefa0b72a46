"""A declared ClientApp is an ordinary one that also says what it trains."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity  # noqa: TID251  # who builds messages
from torch import nn

from flip_lab.core.seeds import Stream
from flip_lab.fl import client_app
from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.declared import (
    ClientDeclaration,
    RunConfig,
    borrowed_model,
    declaration_of,
    declared_app,
    partition_stream,
)
from flip_lab.fl.training import LocalTraining, train

SETTINGS = LocalTraining(local_epochs=2, batch_size=4, learning_rate=0.1)


@dataclass(frozen=True, eq=False)
class Builder:
    """Builds models and counts them."""

    built: list[nn.Module] = field(default_factory=list[nn.Module])

    def __call__(self, run_config: RunConfig) -> nn.Module:
        """Build a small model."""
        self.built.append(nn.Sequential(nn.Linear(4, int(run_config["classes"]))))
        return self.built[-1]


def load(context: Context) -> tuple[Features, Labels]:
    """Load ten examples that depend on the partition."""
    rng = np.random.default_rng(int(context.node_config["partition-id"]))
    return rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, 2, 10)


def declare(**changes: object) -> ClientDeclaration:
    """Declare a small client."""
    options: dict[str, object] = {
        "build_model": Builder(),
        "load_train_data": load,
        "settings": SETTINGS,
    }
    return ClientDeclaration(**(options | changes))  # type: ignore[arg-type]


def start() -> dict[str, torch.Tensor]:
    """Give the weights that every message here carries."""
    return {"0.weight": torch.arange(8.0).reshape(2, 4) / 8, "0.bias": torch.zeros(2)}


def ask(
    app: ClientApp, *, partition_id: int = 3, config: Mapping[str, float] | None = None
) -> Message:
    """Let one client train."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    record = ConfigRecord({"server-round": 2, **(config or {})})
    content = RecordDict({"arrays": ArrayRecord(start()), "config": record})
    context = Context(
        run_id=1,
        node_id=1,
        node_config={"partition-id": partition_id},
        state=RecordDict(),
        run_config={"classes": 2, "seed": 5},
    )
    return app(Message(content, dst_node_id=1, message_type="train"), context)


def by_hand(settings: LocalTraining = SETTINGS) -> tuple[dict[str, torch.Tensor], float]:
    """Train what ``ask`` asks for with the loop itself."""
    model = nn.Sequential(nn.Linear(4, 2))
    model.load_state_dict(start())
    rng = np.random.default_rng(3)
    features = rng.normal(size=(10, 4)).astype(np.float32)
    stream = Stream(seed=5, server_round=2, node=3, phase="train")
    loss = train(
        model,
        features,
        rng.integers(0, 2, 10),
        settings=settings,
        generator=torch.Generator().manual_seed(stream.integer()),
    )
    return model.state_dict(), loss


def check_reply(reply: Message, settings: LocalTraining = SETTINGS) -> None:
    """Hold a reply against the loop."""
    state, loss = by_hand(settings)
    arrays = reply.content.array_records["arrays"].to_torch_state_dict()
    assert list(arrays) == list(state)
    assert all(torch.equal(arrays[name], state[name]) for name in state)
    metrics = dict(reply.content.metric_records["metrics"])
    assert metrics == {"train_loss": loss, "num-examples": 10}


def test_a_declared_app_trains_with_the_loop() -> None:
    """Its reply has the loop's weights, to the bit, and the metrics of the contract."""
    check_reply(ask(declared_app(declare())))


def test_the_message_comes_before_the_declaration() -> None:
    """A setting in the message wins; the others hold."""
    reply = ask(declared_app(declare()), config={"learning-rate": 0.01})
    check_reply(reply, LocalTraining(local_epochs=2, batch_size=4, learning_rate=0.01))


def test_settings_that_nobody_names_are_missed() -> None:
    """Without defaults the message must say everything."""
    with pytest.raises(TypeError, match="local_epochs"):
        ask(declared_app(declare(settings=None)))


def test_the_order_of_batches_can_come_from_another_stream() -> None:
    """The declaration names the stream."""

    def fixed(context: Context, server_round: int) -> Stream:
        assert (context.node_config["partition-id"], server_round) == (3, 2)
        return Stream(seed=99)

    first = ask(declared_app(declare(batch_stream=fixed)))
    arrays = first.content.array_records["arrays"].to_torch_state_dict()
    assert not torch.equal(arrays["0.weight"], by_hand()[0]["0.weight"])


def test_the_usual_stream_needs_no_configuration() -> None:
    """A node without a partition, in a run without a seed, draws from stream 0."""
    context = Context(
        run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={}
    )
    assert partition_stream(context, 4) == Stream(
        seed=0, server_round=4, node=0, phase="train"
    )


def test_an_app_carries_its_declaration_where_it_goes() -> None:
    """Also through a pickle by value, as apps of a notebook travel; others carry none."""
    declaration = declare()
    app = declared_app(declaration)
    assert declaration_of(app) is declaration
    twin = cloudpickle.loads(cloudpickle.dumps(app))
    assert declaration_of(twin) is not None
    check_reply(ask(twin))
    assert declaration_of(ClientApp()) is None
    assert declaration_of(client_app.app) is not None


def test_modifiers_see_the_messages_of_a_declared_app() -> None:
    """They are Flower's own and run around the training."""
    seen: list[str] = []

    def watch(
        message: Message, context: Context, call_next: Callable[..., Message]
    ) -> Message:
        seen.append(message.metadata.message_type)
        return call_next(message, context)

    check_reply(ask(declared_app(declare(), mods=[watch])))
    assert seen == ["train"]


def test_a_model_is_built_once_and_leaks_nothing() -> None:
    """Each client starts from what came with the message, whoever trained before."""
    builder = Builder()
    app = declared_app(declare(build_model=builder))
    replies = [ask(app, partition_id=partition_id) for partition_id in (3, 4, 3)]
    assert len(builder.built) == 1
    check_reply(replies[0])
    check_reply(replies[2])


def test_building_a_model_does_not_move_torchs_generator() -> None:
    """Otherwise the draws of a client would depend on who ran before it."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with borrowed_model(Builder(), {"classes": 2}):
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_no_model_is_lent_twice_at_a_time_nor_after_an_error() -> None:
    """Two borrowers get two models; one that an error left behind is dropped."""
    builder = Builder()
    with borrowed_model(builder, {"classes": 2}) as one:
        with borrowed_model(builder, {"classes": 2}) as two:
            assert one is not two
        with borrowed_model(builder, {"classes": 2}) as again:
            assert again is two
        with (
            pytest.raises(RuntimeError),
            borrowed_model(builder, {"classes": 2}),
        ):
            raise RuntimeError
        with borrowed_model(builder, {"classes": 2}) as fresh:
            assert fresh is not two
    with borrowed_model(builder, {"classes": 3}) as other:
        assert other not in {one, two, fresh}


def test_it_works_where_there_is_flower_only(tmp_path: Path) -> None:
    """A declared app needs nothing of ours but ``flip_lab.fl``: no engine is loaded."""
    code = (
        "import sys; import flip_lab.fl.declared, flip_lab.fl.choice;"
        "print([name for name in sys.modules if name.startswith('flip_lab.engines')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(client_app.__file__).parents[2]), "PATH": ""},
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "[]"
