"""What every engine keeps, as tests: subclass ``EngineContract`` and say which engine.

For pytest, in a file of your own::

    class TestMyEngine(EngineContract):
        @classmethod
        def engine(cls) -> Engine:
            return MyEngine()
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from flip_lab.core.errors import FlipLabError
from flip_lab.testing.opened_engine import PATIENCE_S
from flip_lab.testing.steering_contract import SteeringContract

_TEN_MB = 10 << 20


class EngineContract(SteeringContract):
    """Tests that hold for any engine; the Grid is opened once for all of them.

    A subclass gives ``engine``, and its own ``make_job`` where the engine needs one.
    """

    # --- helpers ------------------------------------------------------------------

    def naps(self, naps_s: Sequence[float]) -> list[Message]:
        """Build one echo message a node; node ``i`` answers after ``naps_s[i]`` seconds."""
        return [
            Message(_config({"nap-s": nap_s}), node, "query.echo")
            for node, nap_s in zip(self.nodes(), naps_s, strict=False)
        ]

    def draws(self, phase: str, server_round: int) -> list[list[float]]:
        """Let every node draw; one list of three numbers for each."""
        replies = self.ask(f"{phase}.draw", group=str(server_round))
        return [_numbers(reply, "draws") for reply in replies]

    # --- nodes --------------------------------------------------------------------

    def test_nodes_are_listed_in_the_order_of_their_partitions(self) -> None:
        """Cohorts are sampled from this list: it must be the same each time."""
        nodes = self.nodes()
        assert [self.grid.partition_of(node) for node in nodes] == [0, 1, 2, 3]
        assert nodes == self.nodes()

    def test_a_client_knows_its_partition_and_the_run_configuration(self) -> None:
        """What an unmodified app reads from its Context."""
        replies = self.ask("query.whoami")
        assert [dict(reply.content.config_records["node"]) for reply in replies] == [
            {"partition-id": partition_id, "num-partitions": self.job.num_nodes}
            for partition_id in range(4)
        ]
        for reply in replies:
            assert dict(reply.content.config_records["run"]) == dict(self.job.run_config)

    def test_a_message_to_nobody_is_a_coded_error(self) -> None:
        """A wrong node id must not end in waiting for ever."""
        try:
            self.grid.push_messages([Message(RecordDict(), 12345, "query.whoami")])
        except FlipLabError as error:
            assert "12345" in error.what  # noqa: PT017  # a suite without pytest inside
        else:
            raise AssertionError("a message to an unknown node was accepted")

    # --- replies ------------------------------------------------------------------

    def test_replies_come_in_the_order_of_dispatch(self) -> None:
        """Never in order of arrival: sums of floats depend on it."""
        messages = self.naps([0.6, 0.4, 0.2, 0.0])
        replies = list(self.grid.send_and_receive(messages, timeout=PATIENCE_S))
        assert [reply.metadata.reply_to_message_id for reply in replies] == [
            message.metadata.message_id for message in messages
        ]
        assert [reply.metadata.src_node_id for reply in replies] == self.nodes()

    def test_after_the_timeout_there_is_what_has_come(self) -> None:
        """Stragglers do not hold a round up, and their replies can still be pulled."""
        messages = self.naps([0.0, 4.0, 4.0])  # however long this process sleeps meanwhile
        replies = list(self.grid.send_and_receive(messages, timeout=0.8))
        ids = [message.metadata.message_id for message in messages]
        came = [reply.metadata.reply_to_message_id for reply in replies]
        assert came == [each for each in ids if each in came]
        assert len(came) < len(ids)  # which ones come first is the engine's choice
        assert self.pull(set(ids) - set(came)) == set(ids) - set(came)

    def test_a_hand_written_loop_pushes_and_pulls(self) -> None:
        """Each reply is handed over once."""
        ids = list(self.grid.push_messages(self.naps([0.0, 0.1, 0.0, 0.1])))
        assert len(set(ids)) == len(self.nodes())
        assert self.pull(set(ids)) == set(ids)
        assert list(self.grid.pull_messages(ids)) == []

    def test_a_client_that_raises_answers_with_its_traceback(self) -> None:
        """The error names what was raised and where; the others are not touched by it."""
        replies = self.ask("query.fail", _config({"partition-id": 1}))
        assert [reply.has_error() for reply in replies] == [False, True, False, False]
        reason = replies[1].error.reason or ""
        assert reason.startswith("ValueError: this partition fails on purpose")
        assert "in fail_on_one" in reason
        assert replies[1].metadata.src_node_id == self.nodes()[1]

    # --- records ------------------------------------------------------------------

    def test_every_client_gets_records_of_its_own(self) -> None:
        """A round's messages share one content; a mod may take entries out of it."""
        shared = _config({"token": "t"})
        replies = self.ask("query.take", shared)
        assert [reply.content.config_records["taken"]["token"] for reply in replies] == [
            "t"
        ] * 4
        assert dict(shared.config_records["config"]) == {"token": "t"}

    def test_large_arrays_come_back_bit_for_bit(self) -> None:
        """Ten megabytes to every node and back."""
        sent = np.random.default_rng(0).random(_TEN_MB // 8)
        for reply in self.ask("query.echo", RecordDict({"arrays": ArrayRecord([sent])})):
            [back] = reply.content.array_records["arrays"].to_numpy_ndarrays()
            assert back.tobytes() == sent.tobytes()

    def test_odd_arrays_come_back_as_they_were(self) -> None:
        """Half precision, integers, booleans, no dimension, no element, not a number."""
        sent = {
            "half": np.array([1.5, np.nan, np.inf, -0.0], dtype=np.float16),
            "long": np.array([[2**62, -(2**62)]], dtype=np.int64),
            "flags": np.array([True, False]),
            "scalar": np.array(3.5),
            "empty": np.zeros((0, 3), dtype=np.float32),
        }
        record = ArrayRecord({name: Array(array) for name, array in sent.items()})
        for reply in self.ask("query.echo", RecordDict({"arrays": record})):
            back = reply.content.array_records["arrays"]
            assert list(back) == list(sent)
            for name, array in sent.items():
                found = back[name].numpy()
                assert (found.dtype, found.shape) == (array.dtype, array.shape)
                assert found.tobytes() == array.tobytes()

    # --- state --------------------------------------------------------------------

    def test_state_stays_with_the_node_and_a_failed_call_leaves_none(self) -> None:
        """``context.state`` lives from round to round; what raised is rolled back."""
        self.ask("query.forget")
        assert self._counts(fail=False) == [1, 1, 1, 1]
        assert all(reply.has_error() for reply in self._count(fail=True))
        assert self._counts(fail=False) == [2, 2, 2, 2]

    def test_state_that_a_client_empties_is_gone(self) -> None:
        """Forgetting counts as a change too."""
        self._count(fail=False)
        self.ask("query.forget")
        assert self._counts(fail=False) == [1, 1, 1, 1]

    def _count(self, *, fail: bool) -> list[Message]:
        return self.ask("query.count", _config({"fail": fail}))

    def _counts(self, *, fail: bool) -> list[float]:
        return [_numbers(reply, "calls")[0] for reply in self._count(fail=fail)]

    # --- random numbers -----------------------------------------------------------

    def test_draws_depend_on_seed_round_partition_and_phase_alone(self) -> None:
        """Whatever ran before and wherever: the streams of the run's seed, again."""
        for phase, server_round in (("train", 1), ("evaluate", 1), ("train", 2)):
            assert self.draws(phase, server_round) == [
                self.expected(phase, server_round, partition_id)
                for partition_id in range(4)
            ]

    def test_no_two_streams_are_alike(self) -> None:
        """Another round, partition or phase gives other numbers."""
        drawn = self.draws("train", 1) + self.draws("train", 2) + self.draws("evaluate", 1)
        numbers = [number for each in drawn for number in each]
        assert len(set(numbers)) == len(numbers)

    def test_clients_leave_the_generators_of_the_server_alone(self) -> None:
        """The server's own draws must not depend on how many clients ran before."""
        before = _generators()
        self.draws("train", 3)
        assert _generators() == before


def _config(values: Mapping[str, float | str]) -> RecordDict:
    return RecordDict({"config": ConfigRecord(dict(values))})


def _numbers(reply: Message, name: str) -> list[float]:
    value = reply.content.metric_records["metrics"][name]
    return list(value) if isinstance(value, list) else [value]


def _generators() -> tuple[object, str, bytes]:
    """Give the state of the three global generators, to compare."""
    numpy_state = repr(np.random.get_state(legacy=False))  # noqa: NPY002  # apps draw from it
    return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()
