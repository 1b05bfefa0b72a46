"""Streams of random numbers: one for every (seed, round, node, phase), no other.

A draw depends on what is drawn and never on which process draws it or when, so a run
gives the same bits on one worker or many, in process or on devices.

Source: NumPy's ``SeedSequence`` (O'Neill 2015, "Developing a seed_seq alternative").
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np

SERVER = 2**32 - 1
"""The node number of the server's own streams; no partition has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The name of one stream of random numbers.

    Attributes:
        seed: The run's seed, 0 or above.
        server_round: Round number; 0 before the first round.
        node: Partition of the node that draws, or ``SERVER``.
        phase: What the numbers are for, such as ``"train"``.
    """

    seed: int
    server_round: int = 0
    node: int = SERVER
    phase: str = "setup"

    def sequence(self) -> np.random.SeedSequence:
        """Give the stream's seed sequence, to spawn or to draw seeds from."""
        key = (self.server_round, self.node, crc32(self.phase.encode()))
        return np.random.SeedSequence(entropy=self.seed, spawn_key=key)

    def integer(self) -> int:
        """Give one seed for a foreign generator, in ``[0, 2**32)``."""
        return int(self.sequence().generate_state(1, np.uint32)[0])

    def generator(self) -> np.random.Generator:
        """Give a new NumPy generator at the start of the stream."""
        return np.random.default_rng(self.sequence())
