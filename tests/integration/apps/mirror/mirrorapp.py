"""Writes down what a run process looks like from inside, and takes a nap."""

# An app as users write them, which looks at its process in ways that our code may not:
# ruff: noqa: ANN001, ANN201, ARG001, PTH109, PTH208, T201

import atexit
import gc
import importlib
import json
import logging
import os
import random
import resource
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server_app, client_app = ServerApp(), ClientApp()
VARIABLE = b"FLIP_LAB_RUN_LOCK"  # a cold start's own


def open_files():
    """Give what the standard descriptors lead to."""
    return {name: os.path.realpath(f"/proc/self/fd/{name}") for name in ("0", "1", "2")}


def signals():
    """Give how each signal is taken."""
    taken = {}
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        taken[int(number)] = getattr(handler, "__name__", str(handler))
    return taken


def process_in_proc():
    """Give what ``ps`` would show."""
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    pairs = Path("/proc/self/environ").read_bytes().split(b"\0")
    return {
        "command": [os.fsdecode(word) for word in words],
        "environ": sorted(os.fsdecode(p) for p in pairs if not p.startswith(VARIABLE)),
    }


@server_app.main()
def main(grid, context):
    """Write ``mirror.json``."""
    module = str(context.run_config["stamp-module"])
    facts = {
        **process_in_proc(),
        "environment": dict(os.environ),
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "main": str(sys.modules["__main__"].__file__),
        "directory": os.getcwd(),
        "umask": f"{os.umask(0):o}",
        "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(os.listdir("/proc/self/task")),
        "signals": signals(),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "files": open_files(),
        "limits": [resource.getrlimit(resource.RLIMIT_NOFILE)],
        "hash": hash("a"),
        "draws": [random.random(), np.random.random(), torch.rand(1).item()],
        "torch_threads": torch.get_num_threads(),
        "gc": [gc.isenabled(), gc.get_threshold()],
        "handlers": [str(handler) for handler in logging.getLogger().handlers],
        "streams": [
            (s.encoding, s.errors, s.line_buffering, getattr(s, "write_through", None))
            for s in (sys.stdout, sys.stderr)
        ],
        "timezone": time.tzname,
        "mods": sorted(name for name in sys.modules if name.startswith("mirror")),
        "stamp": importlib.import_module(module).STAMP if module else "",
        "parent": os.getppid(),
    }
    Path("mirror.json").write_text(json.dumps(facts))
    atexit.register(Path("left.txt").write_text, "in good order")
    print("a word from the mirror")
    time.sleep(float(context.run_config["nap-s"]))
