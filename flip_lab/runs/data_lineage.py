"""Which data a run learnt from, and who held which of it, as hashes.

In simulation the run process looks for itself. Real nodes tell with their replies what
they hold, and the hashes go on record once all parts of the data are accounted for: they
are what was there, not what should have been.
"""

from __future__ import annotations

import logging
from threading import Lock

from flip_lab.core.events import EventKind
from flip_lab.core.holding import Holding
from flip_lab.core.ports import Emit
from flip_lab.core.scenario import Scenario
from flip_lab.fl.data.catalog import scenario_dataset
from flip_lab.fl.data.dataset import data_fingerprint
from flip_lab.fl.partition import joined_digests, partition_fingerprint

_LOG = logging.getLogger("flip_lab.run")


def record_simulated(scenario: Scenario, emit: Emit) -> None:
    """Record what the nodes of a simulation hold."""
    body = {
        "data_sha256": data_fingerprint(scenario_dataset(scenario.data)),
        "partition_sha256": partition_fingerprint(scenario),
    }
    emit(EventKind.LINEAGE, body, server_round=0)


class HeldByNodes:
    """Collects what real nodes say that they hold; safe to tell from several threads.

    Nothing is recorded of a run in which a part of the data had no node, nor of one whose
    nodes took their parts from different data.

    Args:
        num_partitions: How many parts there are.
        emit: Where the hashes go.
    """

    def __init__(self, num_partitions: int, emit: Emit) -> None:
        """Nobody has said anything yet."""
        self._num_partitions = num_partitions
        self._emit = emit
        self._lock = Lock()
        self._held: dict[int, Holding] = {}

    def hear(self, holding: Holding) -> None:
        """Take in what a node holds; the newest word on a part counts."""
        parts = range(self._num_partitions)
        with self._lock:
            if holding.partition_id not in parts:
                return
            if self._held.get(holding.partition_id) == holding:
                return
            self._held[holding.partition_id] = holding
            if len(self._held) < len(parts):
                return
            every = [self._held[part] for part in parts]
            data = {each.data_sha256 for each in every}
            if len(data) > 1:
                _LOG.warning("The nodes took their parts from different data: %s.", data)
                return
            body = {
                "data_sha256": data.pop(),
                "partition_sha256": joined_digests(e.partition_sha256 for e in every),
            }
        self._emit(EventKind.LINEAGE, body, server_round=0)
