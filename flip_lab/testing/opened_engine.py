"""What the tests of an engine stand on: a Grid that is opened once for all of them."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from flwr.app import Message, RecordDict

from flip_lab.core.clock import tick_s
from flip_lab.engines.base import Engine, EngineGrid, Job, Reply
from flip_lab.testing.probe_app import ProbeApp

PATIENCE_S = 120.0
"""How long tests wait for what will come."""

_NUM_ASKED = 4


class OpenedEngine:
    """An engine with an open Grid; a subclass says which, and what its job is."""

    grid: ClassVar[EngineGrid]
    job: ClassVar[Job]
    _open: ClassVar[ExitStack]

    @classmethod
    def engine(cls) -> Engine:
        """Give the engine under test.

        Raises:
            NotImplementedError: If the subclass does not say which.
        """
        raise NotImplementedError

    @classmethod
    def make_job(cls) -> Job:
        """Give the job: 24 nodes, two workers, the probe app."""
        return Job(
            run_id="contract",
            seed=7,
            num_nodes=24,
            run_config={"learning-rate": 0.5, "rounds": 3, "name": "probe", "fast": True},
            app=ProbeApp(),
            answers_describe=False,
            workers=2,
            work_dir=Path.cwd(),
        )

    @classmethod
    def setup_class(cls) -> None:
        """Open the Grid."""
        cls.job = cls.make_job()
        cls._open = ExitStack()
        cls.grid = cls._open.enter_context(cls.engine().open(cls.job))

    @classmethod
    def teardown_class(cls) -> None:
        """Close the Grid, and all that it started."""
        cls._open.close()

    # --- helpers ------------------------------------------------------------------

    def nodes(self) -> list[int]:
        """List the nodes that most tests ask: the first four."""
        return self.everybody()[:_NUM_ASKED]

    def everybody(self) -> list[int]:
        """List all nodes."""
        return list(self.grid.get_node_ids())

    def ask(
        self, action: str, content: RecordDict | None = None, *, group: str = ""
    ) -> list[Message]:
        """Send the very same records to four nodes and give the replies."""
        shared = RecordDict() if content is None else content
        messages = [Message(shared, node, action, group_id=group) for node in self.nodes()]
        return list(self.grid.send_and_receive(messages, timeout=PATIENCE_S))

    def pull(self, wanted: set[str]) -> set[str]:
        """Ask again and again until all of these are there, or patience ends."""
        found: set[str] = set()
        end_s = tick_s() + PATIENCE_S
        while found != wanted and tick_s() < end_s:
            found |= {
                reply.metadata.reply_to_message_id
                for reply in self.grid.pull_messages(wanted - found)
            }
            time.sleep(0.02)
        return found

    def collect(self, wanted: set[str], *, at_least: int | None = None) -> list[Reply]:
        """Wait for replies.

        Args:
            wanted: Ids of the messages; those that are answered are taken out.
            at_least: How many to wait for; ``None`` for all.
        """
        goal = len(wanted) if at_least is None else at_least
        found: list[Reply] = []
        end_s = tick_s() + PATIENCE_S
        while len(found) < goal and tick_s() < end_s:
            new = self.grid.await_replies(wanted, timeout_s=0.5)
            wanted -= {reply.message.metadata.reply_to_message_id for reply in new}
            found += new
        return found
