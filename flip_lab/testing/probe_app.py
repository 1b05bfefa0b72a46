"""A ClientApp that does on purpose what real ones do by accident; see ``EngineContract``.

What a client shall do is the action of the message: ``query.echo`` gives its records back.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable
from flwr.serverapp import ServerApp

_PROJECT = """
[project]
name = "flip-probe"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "flip-lab"

[tool.flwr.app.components]
serverapp = "flip_probe.apps:server_app"
clientapp = "flip_probe.apps:app"
"""
_MODULE = "from flip_lab.testing.probe_app import app as app, server_app as server_app\n"

app = ClientApp()
server_app = ServerApp()


@dataclass(frozen=True, kw_only=True)
class ProbeApp:
    """Where every process finds the apps of this module; an ``AppSource``."""

    def load_server_app(self) -> ServerApp:
        """Give a ServerApp that does nothing: the suite plays the server."""
        return server_app

    def load_client_app(self) -> ClientApp:
        """Give the ClientApp."""
        return app

    def fab_files(self) -> dict[str, bytes]:
        """Give a tiny app that imports ours; nodes have ``flip_lab`` installed."""
        files = {
            "pyproject.toml": _PROJECT,
            "flip_probe/__init__.py": "",
            "flip_probe/apps.py": _MODULE,
        }
        return {path: text.encode() for path, text in files.items()}


def greedy_mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Take an entry out of the message, as Flower's own mods do with theirs."""
    token = message.content.config_records["config"].pop("token")
    message.content["taken"] = ConfigRecord({"token": token})
    return call_next(message, context)


def _answer(message: Message, **metrics: Any) -> Message:  # noqa: ANN401  # numbers or lists
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)


def _wish(message: Message, key: str) -> float:
    return cast("float", message.content.config_records["config"][key])


def _nap(message: Message) -> None:
    config = message.content.config_records.get("config", ConfigRecord())
    time.sleep(float(str(config.get("nap-s", 0.0))))


@app.query("echo")
def echo(message: Message, context: Context) -> Message:
    """Give all records back, after as many seconds as ``config.nap-s`` says."""
    del context
    _nap(message)
    return Message(message.content, reply_to=message)


@app.query("whoami")
def whoami(message: Message, context: Context) -> Message:
    """Give the node's and the run's configuration."""
    answer = RecordDict()
    answer["node"] = ConfigRecord(dict(context.node_config))
    answer["run"] = ConfigRecord(dict(context.run_config))
    return Message(answer, reply_to=message)


@app.query("take", mods=[greedy_mod])
def take(message: Message, context: Context) -> Message:
    """Give the token back that the mod has taken."""
    del context
    return Message(RecordDict({"taken": message.content["taken"]}), reply_to=message)


@app.query("count")
def count(message: Message, context: Context) -> Message:
    """Count calls in the node's state; raise after it where ``config.fail`` says so."""
    counter = cast("MetricRecord", context.state.get("counter", MetricRecord({"calls": 0})))
    calls = cast("int", counter["calls"]) + 1
    context.state["counter"] = MetricRecord({"calls": calls})
    if _wish(message, "fail"):
        raise RuntimeError("the client counted and then fell over")
    return _answer(message, calls=calls)


@app.query("forget")
def forget(message: Message, context: Context) -> Message:
    """Empty the node's state."""
    context.state.clear()
    return _answer(message, calls=0)


@app.query("fail")
def fail_on_one(message: Message, context: Context) -> Message:
    """Raise on the partition that ``config.partition-id`` names."""
    if context.node_config["partition-id"] == _wish(message, "partition-id"):
        raise ValueError("this partition fails on purpose")
    return _answer(message, fine=1)


def draw() -> list[float]:
    """Draw from the three global generators."""
    return [random.random(), float(np.random.random()), float(torch.rand(1))]  # noqa: NPY002, S311  # the global generators are what is looked at


@app.train("draw")
def draw_in_training(message: Message, context: Context) -> Message:
    """Draw, after as many seconds as ``config.nap-s`` says."""
    del context
    _nap(message)
    return _answer(message, draws=draw())


@app.evaluate("draw")
def draw_in_evaluation(message: Message, context: Context) -> Message:
    """Draw."""
    del context
    return _answer(message, draws=draw())
