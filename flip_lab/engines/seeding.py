"""Global random generators, set from a run's streams and put back afterwards.

Unmodified apps draw from the global generators of ``random``, NumPy and torch. Seeding
those around each call makes an app's draws depend on (seed, round, node, phase) alone.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

from flip_lab.core.seeds import Stream


def seed_globals(stream: Stream) -> None:
    """Set the three global generators to the start of a stream."""
    seed = stream.integer()
    random.seed(seed)
    np.random.seed(seed)  # noqa: TID251  # foreign code draws from the global generator
    torch.default_generator.manual_seed(seed)  # torch.manual_seed asks each kind of device
    if torch.version.cuda is not None:
        torch.cuda.manual_seed_all(seed)  # waits for the first use of a GPU, if need be


@contextmanager
def kept_generators() -> Generator[None]:
    """Put the global generators back after the block, whatever was drawn in it.

    The server of an in-process run shares the process with its clients; without this its
    own draws would depend on how many clients ran before. Generators of a GPU are seeded
    but not put back: a server that draws on a GPU must seed itself.
    """
    python, torch_ = random.getstate(), torch.get_rng_state()
    numpy_ = np.random.get_state()  # what foreign code draws from
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_)  # as above
        torch.set_rng_state(torch_)
