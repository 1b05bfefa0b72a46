"""What drivers leave behind at a hub: runs that nobody claims, apps that nobody runs."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from flwr.common.constant import Status, SubStatus
from flwr.server.superlink.linkstate.in_memory_linkstate import InMemoryLinkState

from flip_lab.core.clock import tick_s

UNCLAIMED_S = 120.0
"""How long a run may wait for its driver, which claims it as soon as it has started it."""

_UNDER_WAY = (Status.PENDING, Status.STARTING, Status.RUNNING)


class Leftovers:
    """Finds them; Flower keeps them for as long as its process lives.

    Args:
        state: What Flower keeps.

    Attributes:
        starting: Held while a run is started: its app is kept before the run is.
    """

    def __init__(self, state: InMemoryLinkState) -> None:
        """Have seen nothing yet."""
        self._state = state
        self._since: dict[int, float] = {}  # by task
        self.starting = Lock()

    def end_unclaimed(self) -> None:
        """End runs whose driver went between starting and claiming them."""
        now = tick_s()
        pending = self._state.get_tasks(statuses=[Status.PENDING])
        self._since = {t.task_id: self._since.get(t.task_id, now) for t in pending}
        for task_id, since_s in self._since.items():
            if now - since_s > UNCLAIMED_S:
                self._state.finish_task(task_id, SubStatus.FAILED, "Nobody claimed it.")

    def drop_apps(self, run_ids: Iterable[int]) -> None:
        """Let go of the apps of runs that are over, unless another run has the same.

        Args:
            run_ids: Runs that have just ended.
        """
        state = self._state
        with self.starting:
            under_way = state.get_tasks(statuses=_UNDER_WAY)
            needed = {task.fab_hash for task in under_way}
            over = {state.run_ids[run_id].run.fab_hash for run_id in run_ids}
            with state.lock_fab_store:
                for fab_hash in over - needed:
                    state.fab_store.pop(fab_hash, None)
