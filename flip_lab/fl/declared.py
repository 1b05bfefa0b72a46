"""Clients declared as data, so that an engine may train many of them at once.

An ordinary ClientApp is a function that an engine can only call. A declared one says how
the model is built, which examples the node trains on and in which order: it behaves the
same when it is called (by Flower itself, too), and an engine that looks inside trains a
whole batch of clients together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import torch
from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MetricRecord,
    MetricRecordValues,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import nn

from flip_lab.core.seeds import Stream
from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.training import LocalTraining, train

RunConfig: TypeAlias = Mapping[str, bool | int | float | str]
ModelBuilder: TypeAlias = Callable[[RunConfig], nn.Module]

_ATTRIBUTE = "flip_lab_declaration"


def partition_stream(context: Context, server_round: int) -> Stream:
    """Name the stream that orders a node's batches in one round.

    Its seed is ``seed`` of the run configuration, 0 where that names none; its node is
    the partition, 0 where the node has none.
    """
    return Stream(
        seed=int(context.run_config.get("seed", 0)),
        server_round=server_round,
        node=int(context.node_config.get("partition-id", 0)),
        phase="train",
    )


@dataclass(frozen=True, kw_only=True)
class ClientDeclaration:
    """What a client trains, and on what.

    Attributes:
        build_model: Builds the model from the run's configuration; it gives scores of
            shape ``(batch, num_classes)``, each example's from that example alone. Models
            are kept and used again with other weights, so ``state_dict()`` must hold all
            that changes in training.
        load_train_data: Loads the features, shape ``(num_examples, …)``, float32, and the
            labels, shape ``(num_examples,)``, int64 and 0-based, that the node trains on.
            They are never written to.
        settings: What to do in a round; the entries of the message's ``"config"`` record
            (``learning-rate`` and so on) come first. ``None`` if they say all of it.
        batch_stream: Names the random stream that orders the batches, from the Context
            and the round.
    """

    build_model: ModelBuilder
    load_train_data: Callable[[Context], tuple[Features, Labels]]
    settings: LocalTraining | None = None
    batch_stream: Callable[[Context, int], Stream] = partition_stream

    def generator_for(self, context: Context, server_round: int) -> torch.Generator:
        """Give the generator that orders the node's batches in a round."""
        stream = self.batch_stream(context, server_round)
        return torch.Generator().manual_seed(stream.integer())


def declared_app(declaration: ClientDeclaration, *, mods: Sequence[Mod] = ()) -> ClientApp:
    """Make a ClientApp that trains what is declared.

    It answers ``train`` messages that carry the model as ``"arrays"`` and the settings as
    ``"config"``, as Flower's strategies send them. The reply holds the trained ``"arrays"``
    and the ``"metrics"`` ``train_loss`` and ``num-examples``. Add ``evaluate`` and
    ``query`` functions as to any app.

    Args:
        declaration: What its clients train.
        mods: Flower's modifiers around every message; an app that has any is called
            message by message on every engine.
    """
    app = ClientApp(mods=list(mods))

    @app.train()
    def train_declared(message: Message, context: Context) -> Message:  # pyright: ignore[reportUnusedFunction]  # the app calls it
        settings, server_round = read_order(declaration, message)
        features, labels = declaration.load_train_data(context)
        generator = declaration.generator_for(context, server_round)
        with borrowed_model(declaration.build_model, context.run_config) as model:
            model.load_state_dict(received_state(message))
            train_loss = train(
                model, features, labels, settings=settings, generator=generator
            )
            arrays = ArrayRecord(model.state_dict())  # a copy: the model is used again
        metrics = MetricRecord(train_metrics(train_loss, len(labels)))
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    vars(app)[_ATTRIBUTE] = declaration
    return app


def declaration_of(app: ClientApp) -> ClientDeclaration | None:
    """Give what an app declares; ``None`` for an app that was written out."""
    return vars(app).get(_ATTRIBUTE)


def read_order(
    declaration: ClientDeclaration, message: Message
) -> tuple[LocalTraining, int]:
    """Give what a train message asks for, and its round; 0 where it names none.

    Raises:
        TypeError: If neither the message nor the declaration says all of it.
    """
    config = message.content.config_records.get("config", ConfigRecord())
    settings = LocalTraining.from_config(config, default=declaration.settings)
    return settings, int(str(config.get("server-round", 0)))


def received_state(message: Message) -> dict[str, torch.Tensor]:
    """Give the weights that came with a message, by the names of ``state_dict()``."""
    return dict(message.content.array_records["arrays"].to_torch_state_dict())


def train_metrics(train_loss: float, num_examples: int) -> dict[str, MetricRecordValues]:
    """Give what a client reports; the same however many clients trained together."""
    return {"train_loss": train_loss, "num-examples": num_examples}


@contextmanager
def borrowed_model(
    build_model: ModelBuilder, run_config: RunConfig
) -> Generator[nn.Module]:
    """Lend a model of this process, with whatever weights it has; load your own.

    Building one costs as much as training a small one. One that is left by an error is
    not used again, and no model is lent twice at a time.
    """
    idle = _idle_models(build_model, tuple(sorted(run_config.items())))
    try:
        model = idle.pop()
    except IndexError:
        # Whether a model was at hand must not change what the app draws after this.
        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]  # untyped in torch
            model = build_model(run_config)
    yield model
    idle.append(model)


@lru_cache(maxsize=8)
def _idle_models(
    build_model: ModelBuilder, run_config: tuple[tuple[str, object], ...]
) -> list[nn.Module]:
    """Keep the models that nobody has borrowed, for the last few runs of this process."""
    del build_model, run_config  # they are the key
    return []
