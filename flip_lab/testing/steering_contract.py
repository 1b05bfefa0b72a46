"""What every engine keeps while its run is steered: pauses, other values; as tests."""

from __future__ import annotations

from typing import ClassVar, cast
from unittest import SkipTest

from flwr.app import ConfigRecord, Message, RecordDict

from flip_lab.core.clock import now_s
from flip_lab.core.errors import CommandRefusedError
from flip_lab.core.seeds import Stream
from flip_lab.engines.base import Reply
from flip_lab.engines.seeding import kept_generators, seed_globals
from flip_lab.testing.opened_engine import OpenedEngine
from flip_lab.testing.probe_app import draw

_NAP_S = 0.12  # longer than any engine may take to tell its clients of a pause
_CROWD = 24


class SteeringContract(OpenedEngine):
    """Tests that hold for any engine; a part of ``EngineContract``.

    Attributes:
        starts_clients: Whether the engine itself starts clients. Devices start theirs when
            a message comes, and were told the run configuration once and for all: their
            engine need not heed the gate, and refuses ``reconfigure``.
    """

    starts_clients: ClassVar[bool] = True

    # --- pauses -------------------------------------------------------------------

    def test_no_client_starts_while_the_gate_is_closed(self) -> None:
        """Those at work finish and are heard; the others come later, as if nothing was."""
        self._need_to_start_clients()
        messages: list[Message] = []
        replies: list[Reply] = []
        wanted = set[str]()
        try:
            while len(wanted) < _CROWD // 4:  # else all were done before it was closed
                self.job.gate.open()
                crowd = self._crowd(_NAP_S)
                messages += crowd
                wanted |= {*self.grid.push_messages(crowd)}
                replies += self.collect(wanted, at_least=1)
                self.job.gate.close()
                closed_s = now_s()
                replies += self._rest_of_those_at_work(wanted)
                began_later = [reply for reply in replies if reply.started_s > closed_s]
                assert len(began_later) <= self.job.workers  # they had passed it already
        finally:
            self.job.gate.open()
        replies += self.collect(wanted)
        self._check_draws(messages, replies)

    def test_what_is_sent_during_a_pause_is_carried_out_after_it(self) -> None:
        """Nothing comes before, however short the clients are; all of it afterwards."""
        self._need_to_start_clients()
        messages = self._crowd(0.0)
        try:
            self.job.gate.close()
            wanted = {*self.grid.push_messages(messages)}
            assert self.grid.await_replies(wanted, timeout_s=0.5) == []
        finally:
            self.job.gate.open()
        self._check_draws(messages, self.collect(wanted))

    def test_a_pause_may_come_again_and_again(self) -> None:
        """Whenever it comes: each message is answered once, and rightly."""
        self._need_to_start_clients()
        messages = self._crowd(0.01)
        wanted = {*self.grid.push_messages(messages)}
        replies: list[Reply] = []
        try:
            while wanted:
                replies += self.collect(wanted, at_least=min(3, len(wanted)))
                self.job.gate.close()
                replies += self.collect(wanted, at_least=0)
                self.job.gate.open()
        finally:
            self.job.gate.open()
        self._check_draws(messages, replies)

    def _need_to_start_clients(self) -> None:
        if not self.starts_clients:
            raise SkipTest("devices start their clients themselves")

    def _crowd(self, nap_s: float) -> list[Message]:
        """Ask all nodes to draw after a nap; several times each where there are few."""
        config = ConfigRecord({"nap-s": nap_s, "server-round": 5})
        content = RecordDict({"config": config})
        nodes = self.everybody()
        times = -(-_CROWD // len(nodes))
        return [Message(content, node, "train.draw") for node in nodes * times]

    def _rest_of_those_at_work(self, wanted: set[str]) -> list[Reply]:
        """Collect until nothing comes any more."""
        found: list[Reply] = []
        while new := self.grid.await_replies(wanted, timeout_s=5 * _NAP_S):
            wanted -= {reply.message.metadata.reply_to_message_id for reply in new}
            found += new
        return found

    def _check_draws(self, messages: list[Message], replies: list[Reply]) -> None:
        """See that each message has one answer, with the numbers of the run's streams."""
        found = {
            each.message.metadata.reply_to_message_id: each.message for each in replies
        }
        assert len(found) == len(replies) == len(messages)
        for message in messages:
            reply = found[message.metadata.message_id]
            node_id = message.metadata.dst_node_id
            assert reply.metadata.src_node_id == node_id
            metrics = reply.content.metric_records["metrics"]
            assert metrics["draws"] == self.expected(
                "train", 5, self.grid.partition_of(node_id)
            )

    def expected(self, phase: str, server_round: int, partition_id: int) -> list[float]:
        """Say what a node draws."""
        stream = Stream(
            seed=self.job.seed, server_round=server_round, node=partition_id, phase=phase
        )
        with kept_generators():
            seed_globals(stream)
            return draw()

    # --- other values of the run configuration ------------------------------------

    def test_a_client_sees_the_run_configuration_of_when_its_message_was_sent(self) -> None:
        """Also where the message waited, for a pause to end or for its node."""
        changes = {"learning-rate": 0.25, "added": "yes"}
        if not self.starts_clients:
            self._check_refusal(changes)
            return
        before, after = dict(self.job.run_config), {**self.job.run_config, **changes}
        try:
            self.job.gate.close()
            old = [*self._send_whoami(), *self._send_whoami()]
            self.grid.reconfigure(changes)
            new = self._send_whoami()
            self.job.gate.open()
            seen = self._seen({*old, *new})
            self.grid.reconfigure({})
            last = self._send_whoami()
            seen |= self._seen({*last})
        finally:
            self.job.gate.open()
            self.grid.reconfigure({})
        assert [seen[key] for key in old] == [before] * len(old)
        assert [seen[key] for key in new] == [after] * len(new)
        assert [seen[key] for key in last] == [before] * len(last)

    def _check_refusal(self, changes: dict[str, float | str]) -> None:
        try:
            self.grid.reconfigure(changes)
        except CommandRefusedError as error:
            assert "learning-rate" in error.what  # noqa: PT017  # a suite without pytest inside
        else:
            raise AssertionError("devices cannot be told other values")

    def _send_whoami(self) -> list[str]:
        messages = [Message(RecordDict(), node, "query.whoami") for node in self.nodes()]
        return list(self.grid.push_messages(messages))

    def _seen(self, wanted: set[str]) -> dict[str, dict[str, object]]:
        """Give the run configuration that the client of each message saw."""
        return {
            reply.message.metadata.reply_to_message_id: cast(
                "dict[str, object]", dict(reply.message.content.config_records["run"])
            )
            for reply in self.collect(wanted)
        }
