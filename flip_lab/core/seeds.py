"""Streams of random numbers: one for every (seed, round, node, phase), no other.

A draw depends on what is drawn and never on which process draws it or when, so a run
gives the same bits on one worker or many, in process or on devices.

Source: NumPy's ``SeedSequence`` (O'Neill 2015, "Developing a seed_seq alternative").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

SERVER = 2**32 - 1
"""The node number of the server's own streams; no partition has it."""

_BITS = 2**32 - 1
_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875  # the constants of seed_seq_fe128
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_LEFT, _RIGHT = 0xCA01F9DD, 0x4973F715
_HASHED_BEFORE = 16  # words that the pool took in from the seed: each changes the constant
_POOL_SIZE = 4


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
        return np.random.SeedSequence(entropy=self.seed, spawn_key=self._key())

    def _key(self) -> tuple[int, int, int]:
        return self.server_round, self.node, crc32(self.phase.encode())

    def integer(self) -> int:
        """Give one seed for a foreign generator, in ``[0, 2**32)``."""
        key = self._key()
        if self.seed >> 32 * _POOL_SIZE or any(word & ~_BITS for word in key):
            return int(self.sequence().generate_state(1, np.uint32)[0])
        return _first_word(self.seed, key)

    def generator(self) -> np.random.Generator:
        """Give a new NumPy generator at the start of the stream."""
        return np.random.default_rng(self.sequence())


def _first_word(seed: int, key: Sequence[int]) -> int:
    """Give the first word that ``SeedSequence(seed, spawn_key=key)`` generates.

    It comes from one of the pool's four words, and that depends on no other once the seed
    is in: a small part of the work, for each client call.

    Args:
        seed: At most four words.
        key: Numbers of one word each.
    """
    mixed = _first_of_pool(seed)
    for place, word in enumerate(key):
        before, after = _constants(place)
        hashed = (word ^ before) * after & _BITS
        hashed ^= hashed >> 16
        mixed = (_LEFT * mixed - _RIGHT * hashed) & _BITS
        mixed ^= mixed >> 16
    drawn = (mixed ^ _INIT_B) * (_INIT_B * _MULT_B & _BITS) & _BITS
    return drawn ^ drawn >> 16


@lru_cache(maxsize=64)
def _first_of_pool(seed: int) -> int:
    return int(np.random.SeedSequence(seed).pool[0])


@lru_cache(maxsize=8)
def _constants(place: int) -> tuple[int, int]:
    """Give the hash's constant before and after it takes a word of the key in."""
    before = _INIT_A * pow(_MULT_A, _HASHED_BEFORE + _POOL_SIZE * place, 2**32) & _BITS
    return before, before * _MULT_A & _BITS
