"""Imports what run processes need; a process that has done it can be copied.

Only packages, never a user's module. None of these may start a thread or touch a GPU, for
neither survives a copy.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module

_NEEDED = (
    "flip_lab.runs.process",
    "flip_lab.runs.warm",
    "flip_lab.runs.conduct",
    "flip_lab.engines.auto",
    "flip_lab.engines.in_process",
    "flip_lab.engines.process_worker",
    "flip_lab.engines.processes",
    "flip_lab.engines.together",
    "flip_lab.fl.server_app",
    "flip_lab.fl.client_app",
    "flip_lab.fl.vectorised",
    "torch._dynamo",  # the first optimiser of a process imports it, for a second or two
)
_WELCOME = (  # of extras that may not be installed
    "cloudpickle",
    "pandas",
    "sklearn.datasets",
    "flwr_datasets.partitioner",
    "flip_lab.engines.ray",
    "ray",
)


def _load() -> None:
    # Counting GPUs by the CUDA runtime would leave copies without them; NVML does no harm.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # a copy has its launcher's variables
    for name in _NEEDED:
        import_module(name)
    path = [*sys.path]
    for name in _WELCOME:
        with suppress(ImportError):
            import_module(name)
    sys.path[:] = path  # Ray adds a folder with copies of other packages
    if sys.modules["torch"].cuda.is_initialized():
        raise SystemExit("An import has initialised CUDA; a copy could not use it.")


_load()
