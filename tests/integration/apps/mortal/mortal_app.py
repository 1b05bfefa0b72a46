"""A ClientApp that kills, hangs and overeats where it is told to; workers import it."""

from __future__ import annotations

import os
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from flip_lab.core.errors import AppImportError

app = ClientApp()


@dataclass(frozen=True, kw_only=True)
class MortalApp:
    """Where workers find the app.

    Attributes:
        on_import: What happens when a worker loads it: nothing, ``"raise"`` or ``"exit"``.
        spare: How many workers load it well before that; each leaves a file in ``notes``.
        notes: A directory.
    """

    on_import: str = ""
    spare: int = 0
    notes: str = ""

    def load_server_app(self) -> ServerApp:
        """Give a ServerApp that does nothing."""
        return ServerApp()

    def load_client_app(self) -> ClientApp:
        """Give the ClientApp, or fail as told."""
        if self.on_import:
            loaded = len(list(Path(self.notes).iterdir()))
            (Path(self.notes) / str(os.getpid())).touch()
            if loaded >= self.spare:
                if self.on_import == "exit":
                    os._exit(3)
                raise AppImportError("The app is broken.", fix="Mend it.")
        return app

    def fab_files(self) -> dict[str, bytes]:
        """Give nothing: it is never sent to real nodes."""
        return {}


def wish(message: Message, key: str) -> Any:  # noqa: ANN401  # a value of a config
    """Give what the message asks for; nothing where it does not say."""
    return message.content.config_records["config"].get(key)


def work(message: Message, context: Context) -> Message:
    """Add up the arrays, count in the state, say who did it."""
    counter = cast("MetricRecord", context.state.get("counter", MetricRecord({"calls": 0})))
    calls = cast("int", counter["calls"]) + 1
    context.state["counter"] = MetricRecord({"calls": calls})
    arrays = message.content.array_records.values()
    total = sum(float(a.numpy().sum()) for record in arrays for a in record.values())
    metrics = {"calls": calls, "total": total, "process-id": os.getpid()}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)


def is_victim(message: Message, context: Context) -> bool:
    """Whether the message means this partition."""
    return context.node_config["partition-id"] == wish(message, "victim")


@app.query("work")
def plain(message: Message, context: Context) -> Message:
    """Work for as long as the message says."""
    time.sleep(float(wish(message, "nap_s") or 0))
    return work(message, context)


@app.query("die")
def die(message: Message, context: Context) -> Message:
    """Kill the worker, each time or, where a file is named, once."""
    once = wish(message, "once")
    if is_victim(message, context) and not (once and Path(once).exists()):
        if once:
            Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(message, context)


@app.query("leave")
def leave(message: Message, context: Context) -> Message:
    """End the worker without a word."""
    if is_victim(message, context):
        os._exit(9)
    return work(message, context)


@app.query("hang")
def hang(message: Message, context: Context) -> Message:
    """Never answer, whatever is raised in here once; a file may be named that tells so."""
    if is_victim(message, context):
        if begun := wish(message, "begun"):
            Path(begun).touch()
        try:
            time.sleep(600)
        except TimeoutError:
            time.sleep(600)
    return work(message, context)


@app.query("carry")
def carry(message: Message, context: Context) -> Message:
    """Carry twenty megabytes of state along, and change them."""
    before = context.state.array_records.get("load")
    load = np.zeros(20 << 17) if before is None else before.to_numpy_ndarrays()[0]
    load += 1
    context.state["load"] = ArrayRecord([load])
    return work(message, context)


@app.query("fill")
def fill(message: Message, context: Context) -> Message:
    """Answer with as many bytes as the message says, all of them the partition's number."""
    size, partition_id = wish(message, "size"), int(context.node_config["partition-id"])
    arrays = ArrayRecord([np.full(size, partition_id % 256, dtype=np.uint8)])
    return Message(RecordDict({"arrays": arrays}), reply_to=message)


@app.query("eat")
def eat(message: Message, context: Context) -> Message:
    """Ask for more memory than the process may have."""
    if is_victim(message, context):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard))
        try:
            np.ones(1 << 30)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return work(message, context)


@app.query("odd")
def odd(message: Message, context: Context) -> Message:
    """Answer with something that no process can send."""
    reply = work(message, context)
    if is_victim(message, context):
        vars(reply)["hook"] = lambda: None
    return reply
