"""The environment of every Python process that computes something for a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import flip_lab

_FIXED = {
    # sums of floats depend on the number of threads
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # a thread that pandas would start through Arrow; who has threads cannot be copied
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    # memory of a client's arrays is kept for the next client instead of cleared anew
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
    "PYTHONHASHSEED": "0",  # the order of sets
    "PYTHONUNBUFFERED": "1",  # a log that can be read while the run goes on
}


def process_environment(launcher: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the launcher's environment with what makes a run repeatable.

    Args:
        launcher: The launcher's variables; ``None`` takes those of this process.

    Returns:
        All variables. This very FLIP Lab comes first on ``PYTHONPATH``.
    """
    given = os.environ if launcher is None else launcher
    root = str(Path(flip_lab.__file__).parent.parent)
    old = [part for part in given.get("PYTHONPATH", "").split(os.pathsep) if part]
    path = [root, *(part for part in old if part != root)]
    return {**given, **_FIXED, "PYTHONPATH": os.pathsep.join(path)}
