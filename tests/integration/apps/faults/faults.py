"""A ClientApp that dies, hangs and draws, to order; one module, easy to copy."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

app = ClientApp()
server_app = ServerApp()
NAME = "the first app"


def _wish(message: Message, key: str) -> object:
    return message.content.config_records["config"][key]


def _is_chosen(message: Message, context: Context) -> bool:
    return context.node_config["partition-id"] == _wish(message, "partition")


def _is_due(message: Message, context: Context) -> bool:
    """Whether to die now: the first time only, where a marker file is named."""
    marker = str(_wish(message, "marker"))
    if not _is_chosen(message, context) or (marker and Path(marker).exists()):
        return False
    if marker:
        Path(marker).touch()
    return True


def _well(message: Message, **said: str | int) -> Message:
    return Message(RecordDict({"said": ConfigRecord(dict(said))}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Draw from every generator, add it to what the node drew before, give two arrays."""
    time.sleep(float(str(message.content.config_records["config"].get("nap", 0.0))))
    small = np.array([random.random(), np.random.random(), torch.rand(1).item()])
    before = context.state.array_records.get("sum")
    if before is not None:
        small += before.to_numpy_ndarrays()[0]
    context.state["sum"] = ArrayRecord([small])
    large = np.random.random(10_000).astype(np.float32)
    return Message(RecordDict({"arrays": ArrayRecord([small, large])}), reply_to=message)


@app.query("whoami")
def whoami(message: Message, context: Context) -> Message:
    """Say which app this is, and where."""
    del context
    variable = os.environ.get("OF_THE_FIRST_RUN", "")
    return _well(message, app=NAME, pid=os.getpid(), variable=variable)


@app.query("echo")
def echo(message: Message, context: Context) -> Message:
    """Give everything back."""
    del context
    return Message(message.content, reply_to=message)


@app.query("nap")
def nap(message: Message, context: Context) -> Message:
    """Sleep for a while."""
    del context
    time.sleep(float(str(_wish(message, "nap"))))
    return _well(message)


@app.query("kill")
def kill(message: Message, context: Context) -> Message:
    """Be killed, as the kernel does it when memory runs out."""
    if _is_due(message, context):
        os.kill(os.getpid(), signal.SIGKILL)
    return _well(message)


@app.query("exit")
def exit_(message: Message, context: Context) -> Message:
    """End the process, as a crash in a library does."""
    if _is_due(message, context):
        os._exit(3)
    return _well(message)


@app.query("memory")
def memory(message: Message, context: Context) -> Message:
    """Run into a limit on memory, and be killed for it."""
    if _is_due(message, context):
        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = size * resource.getpagesize() + (64 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            hoard = [bytearray(16 << 20) for _ in range(1000)]
        except MemoryError:
            os.abort()
        return _well(message, bytes=len(hoard))
    return _well(message)


@app.query("hoard")
def hoard(message: Message, context: Context) -> Message:
    """Take memory, keep it for a while, and hope that nobody minds."""
    if _is_due(message, context):
        taken = np.ones(int(str(_wish(message, "bytes"))) // 8)
        time.sleep(20)
        return _well(message, size=len(taken))
    return _well(message)


@app.query("sleep")
def sleep(message: Message, context: Context) -> Message:
    """Hang in a way that a signal ends, behind handlers that catch what they can."""
    while _is_chosen(message, context):
        try:
            time.sleep(1000)
        except Exception:  # noqa: BLE001, S110  # apps do this
            pass
    return _well(message)


@app.query("freeze")
def freeze(message: Message, context: Context) -> Message:
    """Hang in a way that nothing in this process ends."""
    if _is_chosen(message, context):
        os.kill(os.getpid(), signal.SIGSTOP)
    return _well(message)


@app.query("unsendable")
def unsendable(message: Message, context: Context) -> Message:
    """Answer with something that cannot be pickled."""
    reply = _well(message)
    if _is_chosen(message, context):
        reply.__dict__["hook"] = lambda: None
    return reply
