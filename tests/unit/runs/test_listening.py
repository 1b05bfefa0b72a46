"""What code logs, on record: numbers as metrics, the rest as events, images as blobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

import flip_lab
from flip_lab.core.callback import Callback
from flip_lab.core.errors import AppImportError, InvalidValueError, StoreError
from flip_lab.core.events import ClientFact, EventKind, MetricSeries, RunEvent
from flip_lab.core.listening import listening
from flip_lab.core.logged import Logged
from flip_lab.core.ports import Artifact, ArtifactStore
from flip_lab.engines.base import Reply
from flip_lab.engines.flower.messages import become_server
from flip_lab.runs.callbacks import RunCallbacks
from flip_lab.runs.checkpoints import Checkpoints
from flip_lab.runs.groups import Group
from flip_lab.runs.inputs import Prepared
from flip_lab.runs.kept_callbacks import (
    load_callbacks,
    with_callbacks,
    with_kept_callbacks,
)
from flip_lab.runs.launch import Place, blank_spec
from flip_lab.runs.listening import RunListener
from flip_lab.runs.recorder import Recorder
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import open_lab

FACT = ClientFact(
    phase="train",
    node_id=103,
    partition_id=3,
    num_examples=8,
    started_s=0.0,
    duration_s=1.0,
    bytes_down=1,
    bytes_up=1,
    metrics={"loss": 0.5},
)


class Sink:
    """Keeps events in memory."""

    def __init__(self) -> None:
        self.events: list[RunEvent] = []

    def append(self, events: Iterable[RunEvent]) -> None:
        """Keep events."""
        self.events += events

    def append_metrics(self, series: MetricSeries, *, time_s: float) -> None:
        """Series are not for this test."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go."""


class Told:
    """A run with a listener, and what it has on record."""

    def __init__(self, blobs: ArtifactStore, *, is_known: bool = False) -> None:
        self.sink, self.noted = Sink(), dict[str, float]()
        self.recorder = Recorder("r1", self.sink)
        self.listener = RunListener(
            self.recorder, blobs, note=self.noted.update, is_known=is_known
        )
        self.recorder.add_follower(self.listener.follow)

    def round(self, server_round: int, phase: str = "train") -> None:
        """Begin a round and send its messages."""
        begun = {"num_rounds": 3}
        self.recorder.emit(EventKind.ROUND_STARTED, begun, server_round=server_round)
        sent = {"phase": phase, "node_ids": [], "partition_ids": []}
        self.recorder.emit(EventKind.DISPATCHED, sent, server_round=server_round)

    def facts(self, *kinds: EventKind) -> list[tuple[int, Mapping[str, Any]]]:
        """Give the round and body of facts of some kinds."""
        self.recorder.flush()
        return [(e.server_round, e.body) for e in self.sink.events if e.kind in kinds]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    """Give the kept files of a new lab."""
    return Blobs(open_lab(tmp_path / "lab"))


def reply_with(logged: Mapping[str, Logged]) -> Reply:
    """Give a reply beside which something was logged."""
    become_server(5)
    sent = Message(RecordDict(), dst_node_id=103, message_type="train")
    sent.metadata.__dict__["_message_id"] = "m1"
    records = {"arrays": ArrayRecord([np.ones(2)]), "m": MetricRecord({"loss": 0.5})}
    message = Message(RecordDict(records), reply_to=sent)
    return Reply(message=message, started_s=0.0, duration_s=1.0, logged=logged)


def test_numbers_of_the_server_are_metrics_of_the_phase_under_way(blobs: Blobs) -> None:
    """They have a scope of their own, and conditions see those of a round."""
    told = Told(blobs)
    with listening(told.listener):
        flip_lab.log(before=1)
        told.round(1)
        flip_lab.log(during=2)
        told.round(2, "evaluate")
        flip_lab.log(during=3)
    assert [(at, *body.values()) for at, body in told.facts(EventKind.METRIC)] == [
        (0, "train", "server", "before", 1.0),
        (1, "train", "server", "during", 2.0),
        (2, "evaluate", "server", "during", 3.0),
    ]
    assert told.noted == {"during": 3.0}


def test_other_things_of_the_server_have_no_node(blobs: Blobs) -> None:
    """An image's bytes are in the lab's files, its hash is on record."""
    told = Told(blobs)
    picture = flip_lab.image(np.zeros((2, 3)))
    with listening(told.listener):
        flip_lab.log(p=picture, h=flip_lab.histogram([1.0], bins=[0, 2]))
    [(_, image), (_, histogram)] = told.facts(EventKind.LOGGED)
    assert blobs.get(image["sha256"]) == picture.png
    assert (image["type"], image["node_id"], image["partition_id"]) == ("image", None, None)
    assert "sha256" not in histogram
    assert histogram["value"]["counts"] == [1]


def test_a_client_s_things_name_their_node(blobs: Blobs) -> None:
    """Numbers are in the fact already, so they make no event of their own."""
    told = Told(blobs)
    logged = {"n": 1.0, "c": flip_lab.confusion_matrix([[1]])}
    told.listener.replied(
        replace(FACT, metrics={"loss": 0.5, "n": 1.0}), reply_with(logged), 4
    )
    [(at, body)] = told.facts(EventKind.LOGGED, EventKind.METRIC, EventKind.WARNING)
    assert at == 4
    assert (body["phase"], body["node_id"], body["partition_id"]) == ("train", 103, 3)
    assert (body["name"], body["type"]) == ("c", "confusion_matrix")


def test_a_number_that_the_reply_says_otherwise_is_a_warning_once(blobs: Blobs) -> None:
    """The reply's counts; the same number, NaN included, is no contradiction."""
    told = Told(blobs)
    told.listener.replied(FACT, reply_with({"num-examples": 8.0}), 1)
    for value in (0.5, 0.7, 0.8):
        told.listener.replied(FACT, reply_with({"loss": value}), 1)
    nan = replace(FACT, metrics={"x": float("nan")})
    told.listener.replied(nan, reply_with({"x": float("nan")}), 1)
    [(_, body)] = told.facts(EventKind.WARNING)
    assert body["code"] == "FLIP-313"
    assert "'loss' as 0.7" in body["message"]


def test_an_image_that_cannot_be_kept_does_not_end_the_run() -> None:
    """A full disk is a warning."""

    class Full:
        """Has no room."""

        def put(self, content: bytes) -> Artifact:
            """Refuse."""
            raise StoreError(f"no room for {len(content)} bytes", fix="Free some.")

        def get(self, sha256: str) -> bytes:
            """Nothing was put."""
            raise NotImplementedError(sha256)

    told = Told(Full())
    with listening(told.listener):
        flip_lab.log(p=flip_lab.image(np.zeros((2, 2))), h=flip_lab.histogram([1]))
    assert [body["name"] for _, body in told.facts(EventKind.LOGGED)] == ["h"]
    assert told.facts(EventKind.WARNING)[0][1]["code"] == "FLIP-400"


def test_a_run_taken_up_does_not_log_its_beginning_twice(blobs: Blobs) -> None:
    """Its ServerApp runs again up to the round that it goes on from."""
    told = Told(blobs, is_known=True)
    with listening(told.listener):
        flip_lab.log(a=1, h=flip_lab.histogram([1]))
        told.round(3)
        flip_lab.log(b=1)
    names = [b["name"] for _, b in told.facts(EventKind.METRIC, EventKind.LOGGED)]
    assert names == ["b"]


class Seen(Callback):
    """Remembers what it was told, and draws random numbers."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def on_round_begin(self, server_round: int) -> None:
        """Draw, too."""
        np.random.random()  # noqa: NPY002  # as apps do
        self.told.append(("begin", server_round))
        flip_lab.log(drawn=1)

    def on_reply(self, fact: ClientFact, reply: Any) -> None:  # noqa: ANN401  # as declared
        """Change what was given."""
        self.told.append(("reply", fact.partition_id, len(reply.content)))
        reply.content.clear()

    def on_round_end(
        self, server_round: int, metrics: Mapping[str, float], arrays: Mapping[str, Any]
    ) -> None:
        """Try to write."""
        self.told.append(("end", server_round, dict(metrics), sorted(arrays)))
        for array in arrays.values():
            array[0] = 1


def metric(told: Told, name: str, value: float, scope: str) -> None:
    """Record a metric of round 1."""
    body = {"phase": "train", "scope": scope, "name": name, "value": value}
    told.recorder.emit(EventKind.METRIC, body, server_round=1)


def test_callbacks_are_told_and_change_nothing(blobs: Blobs) -> None:
    """Copies, arrays that are read only, generators put back; a raise is a warning."""
    told, seen = Told(blobs), Seen()
    model = ArrayRecord([np.zeros(2)])
    calls = RunCallbacks([seen, Callback()], told.recorder, told.listener, lambda: model)
    told.recorder.add_follower(calls.follow)
    np.random.seed(3)  # noqa: NPY002, TID251  # what apps draw from
    expected = np.random.random()  # noqa: NPY002  # as above
    np.random.seed(3)  # noqa: NPY002, TID251  # as above
    told.round(1)
    reply = reply_with({})
    calls.replied(FACT, reply, 1)
    metric(told, "loss", 0.25, "federated")
    metric(told, "loss", 0.5, "central")
    told.recorder.emit(EventKind.ROUND_ENDED, {"duration_s": 1.0}, server_round=1)
    assert np.random.random() == expected  # noqa: NPY002  # as above
    assert len(reply.message.content) == 2
    np.testing.assert_array_equal(model.to_numpy_ndarrays()[0], [0, 0])
    metrics = {"drawn": 1.0, "loss": 0.25, "loss_central": 0.5}
    assert seen.told == [("begin", 1), ("reply", 3, 2), ("end", 1, metrics, ["0"])]
    [(at, warning)] = told.facts(EventKind.WARNING)
    assert (at, warning["code"]) == (1, "FLIP-314")
    assert "Seen.on_round_end raised" in warning["message"]
    assert "read-only" in warning["message"]
    told.round(2)
    assert len(seen.told) == 3  # it raised once


def blank() -> Prepared:
    """Give a run that unpacks nothing."""
    place = Place(engine="in_process", federation=None, workers=1)
    spec = blank_spec(place, Checkpoints(), Group(experiment=None))
    return Prepared(spec=spec, unpack=lambda _: "hash")


def test_callbacks_are_kept_by_value_and_repeated(tmp_path: Path) -> None:
    """As they were at the launch, with the state they had; a rerun has the same."""

    class Local(Callback):
        """A class that no other process can import."""

        def __init__(self, number: int) -> None:
            self.number = number

    one, two, three = (tmp_path / name for name in "abc")
    for folder in (one, two, three):
        folder.mkdir()
    assert with_callbacks(blank(), [Local(7)]).unpack(one) == "hash"
    with_kept_callbacks(blank(), one).unpack(two)
    [found] = load_callbacks(two)
    assert vars(found) == {"number": 7}
    with_kept_callbacks(blank(), three).unpack(three)
    assert load_callbacks(three) == []


def test_what_is_no_callback_or_cannot_travel_is_refused(tmp_path: Path) -> None:
    """Before anything is written; a pickle that cannot be read ends the run at once."""

    class Open(Callback):
        """Holds a file, which cannot be pickled."""

        def __init__(self) -> None:
            self.file = (tmp_path / "x").open("w", encoding="utf-8")

    with pytest.raises(InvalidValueError, match="no callback"):
        with_callbacks(blank(), [Open])  # pyright: ignore[reportArgumentType]  # the class
    held = Open()
    with held.file, pytest.raises(InvalidValueError, match="cannot travel"):
        with_callbacks(blank(), [held])
    (tmp_path / "callbacks.pkl").write_bytes(b"no pickle")
    with pytest.raises(AppImportError, match="could not be rebuilt"):
        load_callbacks(tmp_path)
