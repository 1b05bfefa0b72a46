"""The process of one side, spoken to by pipe: ``python engine_side.py SIDE WORKLOAD``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module

import torch
from engine_gate import Gate, private_pipes
from engine_workloads import WORKLOADS, Workload

ENGINES = ("in_process", "processes", "ray", "vectorised")
_OTHERS = {
    "limit": ("engine_limit", "two_processes"),
    "one_process_loop": ("engine_limit", "one_process"),
    "flwr": ("engine_flwr", "run"),
    "pfl": ("engine_pfl", "run"),
}
SIDES = (*_OTHERS, *ENGINES)
"""Every side's name; the first is what the others are measured by."""


def _find(side: str) -> Callable[[Workload, Gate], None]:
    if side in ENGINES:
        return partial(import_module("engine_ours").run, side)
    module, function = _OTHERS[side]
    return getattr(import_module(module), function)


def main(side: str, workload_name: str) -> None:
    """Be one side until the pipe closes."""
    workload = WORKLOADS[workload_name]
    gate = Gate(workload, *private_pipes())
    torch.set_num_threads(1)
    _find(side)(workload, gate)


if __name__ == "__main__":
    main(*sys.argv[1:])
