"""Calls carried out together answer as calls carried out one by one."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from flip_lab.engines import together
from flip_lab.engines.clients import ClientCall, ClientOutcome, ClientSetting, call_client
from flip_lab.engines.flower.arrays import install_fast_arrays
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.engines.gate import Gate
from flip_lab.engines.together import carry_out_together
from flip_lab.fl import choice, vectorised
from flip_lab.fl.choice import WAYS
from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.declared import ClientDeclaration, RunConfig, declared_app
from flip_lab.fl.training import LocalTraining
from flip_lab.fl.vectorised import State, Trained
from flip_lab.fl.vectorised_batches import ClientData

SETTING = ClientSetting(run_number=7, seed=3, num_nodes=20, run_config={"seed": 3})
SETTINGS = LocalTraining(local_epochs=2, batch_size=4, learning_rate=0.05, momentum=0.5)
SIZES = (9, 4, 17, 1, 8, 12)


def build(run_config: RunConfig) -> nn.Module:
    """Build a small chain."""
    del run_config
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))


def load(context: Context) -> tuple[Features, Labels]:
    """Load a number of examples that depends on the partition."""
    partition_id = int(context.node_config["partition-id"])
    rng = np.random.default_rng(partition_id)
    size = SIZES[partition_id % len(SIZES)]
    features = rng.normal(0, 0.5, (size, 4, 4)).astype(np.float32)
    return features, rng.integers(0, 3, size)


def app_of(
    load_train_data: Callable[[Context], tuple[Features, Labels]] = load,
    **options: object,
) -> ClientApp:
    """Declare an app, and let it count how many examples it tests."""
    declaration = ClientDeclaration(
        build_model=build, load_train_data=load_train_data, settings=SETTINGS
    )
    app = declared_app(declaration, **options)  # type: ignore[arg-type]

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": len(load(context)[1])})
        return Message(RecordDict({"metrics": metrics}), reply_to=message)

    return app


def content_of(seed: int = 1, **config: float) -> RecordDict:
    """Give what the messages of a round share."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        arrays = ArrayRecord(build({}).state_dict())
    return RecordDict(
        {"arrays": arrays, "config": ConfigRecord({"server-round": 2, **config})}
    )


def calls_of(
    num_calls: int = 6,
    *,
    content: RecordDict | None = None,
    message_type: str = "train",
    state: RecordDict | None = None,
) -> list[ClientCall]:
    """Ask that many clients."""
    become_server(SETTING.run_number)
    shared = content or content_of()
    calls: list[ClientCall] = []
    for partition_id in range(num_calls):
        message = Message(shared, dst_node_id=100 + partition_id, message_type=message_type)
        stamp(message, f"{message_type}-{id(shared)}-{partition_id}")
        calls.append(
            ClientCall(
                message=message,
                partition_id=partition_id,
                server_round=2,
                phase=message_type,
                state=state or RecordDict(),
            )
        )
    return calls


def together_of(
    app: ClientApp, calls: Sequence[ClientCall], gate: Gate | None = None
) -> list[ClientOutcome]:
    """Carry out calls together; give the outcomes in the order of the calls."""
    found = {
        outcome.message_id: outcome
        for outcome in carry_out_together(app, calls, SETTING, gate or Gate())
    }
    ids = [call.message.metadata.message_id for call in calls]
    return [found[message_id] for message_id in ids if message_id in found]


def arrays_of(outcome: ClientOutcome) -> dict[str, torch.Tensor]:
    """Give the weights of a reply."""
    assert outcome.reply is not None, outcome.error
    return dict(outcome.reply.content.array_records["arrays"].to_torch_state_dict())


def check_same(ours: Sequence[ClientOutcome], theirs: Sequence[ClientOutcome]) -> None:
    """Hold outcomes against those of single calls."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.message_id == other.message_id
        assert (mine.error == "") == (other.error == "")
        if other.reply is None or mine.reply is None:
            assert mine.reply is other.reply is None
            continue
        assert mine.reply.metadata.dst_node_id == other.reply.metadata.dst_node_id
        assert mine.reply.metadata.src_node_id == other.reply.metadata.src_node_id
        reply_to = mine.reply.metadata.reply_to_message_id
        assert reply_to == other.reply.metadata.reply_to_message_id == mine.message_id
        assert mine.state is not None
        weights, expected = arrays_of(mine), arrays_of(other)
        assert list(weights) == list(expected)
        for name, value in expected.items():
            assert float((weights[name] - value).abs().max()) < 1e-6
        metrics = dict(mine.reply.content.metric_records["metrics"])
        wanted = dict(other.reply.content.metric_records["metrics"])
        assert metrics == pytest.approx(wanted, abs=1e-6)
        assert len(mine.digest) == len(other.digest)


@pytest.fixture(autouse=True)
def stacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Choose the stacked way; gives the sizes of the groups that it trained."""
    install_fast_arrays()  # as workers do
    sizes: list[int] = []

    def watched(
        model: nn.Module,
        start: State,
        clients: Sequence[ClientData],
        settings: LocalTraining,
    ) -> list[Trained]:
        sizes.append(len(clients))
        return WAYS["stacked"](model, start, clients, settings)

    monkeypatch.setattr(choice, "_EXPERIENCE", {})
    monkeypatch.setattr(together, "choose_way", lambda *_: "stacked")
    monkeypatch.setattr(together, "WAYS", {"stacked": watched})
    return sizes


def test_a_batch_is_trained_together_and_answers_like_single_calls(
    stacked: list[int],
) -> None:
    """Same order, same metrics, same weights within a millionth; shares of one time."""
    calls, app = calls_of(), app_of()
    ours = together_of(app, calls)
    assert stacked == [6]
    check_same(ours, [call_client(app, call, SETTING) for call in calls])
    ours.sort(key=lambda each: each.started_s)
    ends = [each.started_s + each.duration_s for each in ours]
    starts = [each.started_s for each in ours[1:]]
    assert all(
        end == pytest.approx(begun) for end, begun in zip(ends, starts, strict=False)
    )


def test_groups_share_weights_and_settings(stacked: list[int]) -> None:
    """Messages with other contents are other groups, and a single one is none."""
    app = app_of()
    one = calls_of(3)
    other = calls_of(2, content=content_of(2, **{"learning-rate": 0.01}))
    single = calls_of(1, content=content_of(3))
    calls = [one[0], other[0], single[0], one[1], other[1], one[2]]
    ours = together_of(app, calls)
    assert stacked == [3, 2]
    check_same(ours, [call_client(app, call, SETTING) for call in calls])


def test_other_phases_and_other_apps_go_one_by_one(stacked: list[int]) -> None:
    """What is not declared training is called as ever."""
    app = app_of()
    tested = together_of(app, calls_of(message_type="evaluate"))
    counts = [
        outcome.reply.content.metric_records["metrics"]["num-examples"]
        for outcome in tested
        if outcome.reply
    ]
    assert counts == list(SIZES)
    plain = ClientApp()

    @plain.train()
    def train(message: Message, context: Context) -> Message:
        del context
        return Message(RecordDict(), reply_to=message)

    outcomes = together_of(plain, calls_of())
    assert all(outcome.error == "" for outcome in outcomes)
    assert stacked == []


def test_modifiers_and_lifespans_see_each_message(stacked: list[int]) -> None:
    """Such apps are called message by message."""
    seen: list[str] = []

    def watch(
        message: Message, context: Context, call_next: Callable[..., Message]
    ) -> Message:
        seen.append("modifier")
        return call_next(message, context)

    together_of(app_of(mods=[watch]), calls_of(3))
    app = app_of()

    @app.lifespan()
    def lifespan(context: Context) -> Iterator[None]:
        del context
        seen.append("lifespan")
        yield

    together_of(app, calls_of(3))
    assert seen == ["modifier"] * 3 + ["lifespan"] * 3
    assert stacked == []


def missing(context: Context) -> tuple[Features, Labels]:
    """Fail to load partition 1."""
    if context.node_config["partition-id"] == 1:
        raise FileNotFoundError("no such site")
    return load(context)


def empty(context: Context) -> tuple[Features, Labels]:
    """Give partition 1 no example."""
    features, labels = load(context)
    kept = 0 if context.node_config["partition-id"] == 1 else len(labels)
    return features[:kept], labels[:kept]


def oddly_shaped(context: Context) -> tuple[Features, Labels]:
    """Give partition 1 images that the model does not take."""
    features, labels = load(context)
    wrong = context.node_config["partition-id"] == 1
    return (features[:, :2] if wrong else features), labels


def badly_labelled(context: Context) -> tuple[Features, Labels]:
    """Give partition 1 a class that does not exist."""
    features, labels = load(context)
    return features, labels + 3 * (context.node_config["partition-id"] == 1)


@pytest.mark.parametrize("load_data", [missing, empty, oddly_shaped, badly_labelled])
def test_an_error_of_one_client_hits_only_that_client(
    load_data: Callable[[Context], tuple[Features, Labels]],
) -> None:
    """The others train; the one that cannot says why, as in a call of its own."""
    app, calls = app_of(load_data), calls_of()
    ours = together_of(app, calls)
    theirs = [call_client(app, call, SETTING) for call in calls]
    check_same(ours, theirs)
    assert [outcome.error != "" for outcome in ours] == [False, True] + [False] * 4
    assert ours[1].state is None
    assert ours[1].error.splitlines()[0] == theirs[1].error.splitlines()[0]


def test_settings_that_are_missing_are_each_clients_error() -> None:
    """A message that does not say enough fails every call, and says what is missing."""
    declaration = ClientDeclaration(build_model=build, load_train_data=load)
    outcomes = together_of(declared_app(declaration), calls_of(2))
    assert all("local_epochs" in outcome.error for outcome in outcomes)


def test_loading_sees_the_context_and_the_streams_of_a_single_call() -> None:
    """Also data that are drawn from the global generators are the same; state is kept."""

    def drawn(context: Context) -> tuple[Features, Labels]:
        features, labels = load(context)
        with suppress(KeyError):
            assert context.state["kept"]["rounds"] == 1
        assert context.node_config["num-partitions"] == 20
        context.state["kept"] = MetricRecord({"rounds": 2})
        os.chdir("/")
        noise = np.random.normal(size=features.shape)  # noqa: NPY002  # as apps do
        return features + noise.astype(np.float32), labels

    before, app = Path.cwd(), app_of(drawn)
    calls = calls_of(state=RecordDict({"kept": MetricRecord({"rounds": 1})}))
    ours = together_of(app, calls)
    assert Path.cwd() == before
    check_same(ours, [call_client(app, call, SETTING) for call in calls])
    assert all(each.state and each.state["kept"]["rounds"] == 2 for each in ours)
    assert all(call.state["kept"]["rounds"] == 1 for call in calls)


def test_a_closed_gate_ends_a_batch_between_its_pieces(
    stacked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who trains is finished; the others, trained by the loop or not, are not begun.

    Not even where the gate is open again at the next look: they are given back.
    """
    looks = count(1)

    class Flicker(Gate):
        """Closed at the one look before the second piece, after six clients' data."""

        @property
        def is_open(self) -> bool:
            """Count the looks."""
            return next(looks) != 6 + 2

    monkeypatch.setattr(together, "chunk_size", lambda *_: 2)
    calls = [*calls_of(6), *calls_of(2, message_type="evaluate")]
    found = together_of(app_of(), calls, Flicker())
    assert stacked == [2]
    longest = [calls[0], calls[2]]  # of five and three batches
    assert [each.message_id for each in found] == [
        call.message.metadata.message_id for call in longest
    ]


def test_a_gate_that_is_closed_while_data_are_loaded_lets_nobody_train(
    stacked: list[int],
) -> None:
    """Loading can take long, too."""
    gate, loaded = Gate(), list[int]()

    def closing(context: Context) -> tuple[Features, Labels]:
        loaded.append(int(context.node_config["partition-id"]))
        gate.close()
        return load(context)

    assert together_of(app_of(closing), calls_of(), gate) == []
    assert loaded == [0]
    assert stacked == []


def test_pieces_give_what_the_whole_group_gives(
    stacked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are those that the way itself would make, so every bit is the same."""
    app, calls = app_of(), calls_of()
    monkeypatch.setattr(vectorised, "_LARGEST_CHUNK", 4)
    ours = together_of(app, calls)
    assert stacked == [3, 3]
    monkeypatch.setattr(together, "chunk_size", lambda *_: 6)
    assert [each.digest for each in together_of(app, calls)] == [
        each.digest for each in ours
    ]
    assert stacked == [3, 3, 6]


def test_clients_see_the_run_configuration_that_their_calls_carry(
    stacked: list[int],
) -> None:
    """Those that load data, and those that build models: one is kept for each."""
    built: list[object] = []

    def build_as_told(run_config: RunConfig) -> nn.Module:
        built.append(run_config["width"])
        width = int(run_config["width"])
        return nn.Sequential(nn.Flatten(), nn.Linear(16, width), nn.Linear(width, 3))

    setting = replace(SETTING, run_config={"seed": 3, "width": 6})
    app = declared_app(
        ClientDeclaration(
            build_model=build_as_told, load_train_data=load, settings=SETTINGS
        )
    )
    for overlay, width in (({}, 6), ({"width": 5}, 5), ({}, 6), ({"width": 5}, 5)):
        arrays = ArrayRecord(build_as_told({"width": width}).state_dict())
        content = RecordDict(
            {"arrays": arrays, "config": ConfigRecord({"server-round": 1})}
        )
        calls = [replace(call, overlay=overlay) for call in calls_of(3, content=content)]
        outcomes = [*carry_out_together(app, calls, setting, Gate())]
        assert [outcome.error for outcome in outcomes] == [""] * 3
    assert stacked == [3] * 4
    assert built == [6, 6, 5, 5, 6, 5]  # by this test each time, by clients once


def test_a_group_that_is_left_to_the_loop_gives_the_loops_bits(
    stacked: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where training together does not pay, or fails, nothing is left of it."""
    app, calls = app_of(), calls_of()
    expected = [call_client(app, call, SETTING) for call in calls]
    monkeypatch.setattr(together, "choose_way", lambda *_: "in_turn")
    found = together_of(app, calls)
    assert [each.digest for each in found] == [each.digest for each in expected]
    monkeypatch.setattr(together, "choose_way", lambda *_: "broken")
    with caplog.at_level(logging.DEBUG, logger=together.__name__):
        found = together_of(app, calls)
    assert [each.digest for each in found] == [each.digest for each in expected]
    assert "one by one" in caplog.text
    monkeypatch.setattr(together, "is_left_to_loop", lambda *_: True)
    together_of(app, calls)
    assert stacked == []
