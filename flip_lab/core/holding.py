"""What a node says that it holds, in hashes: nothing of the data itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A node's part of a data set that a scenario splits over its nodes.

    Attributes:
        partition_id: Which part, 0-based.
        partition_sha256: Hash of which examples those are, and which of them are for
            testing, see ``flip_lab.fl.partition.partition_digest``.
        data_sha256: Hash of the data set that they were taken from.
    """

    partition_id: int
    partition_sha256: str
    data_sha256: str
