"""What is kept of a break, and how a notebook reads it."""

# plotly ships no types
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

from flip_lab.core.errors import NothingToInspectError, StoreNotWritableError
from flip_lab.engines.flower.messages import become_server, stamp
from flip_lab.runs import inspection_writing
from flip_lab.runs.inspection import Inspection, read_inspection
from flip_lab.runs.inspection_writing import write_inspection

become_server(1)

SENT = ArrayRecord(
    {"w": Array(np.array([1, 1, 1], np.float32)), "b": Array(np.zeros(1, np.float32))}
)


def _asked(partition: int) -> Message:
    message = Message(RecordDict(), partition + 2**63, "train")
    stamp(message, f"message-{partition}")
    return message


def _reply(partition: int, *values: float, loss: float = 1.0) -> Message:
    arrays = ArrayRecord(
        {
            "w": Array(np.array(values, np.float32)),
            "b": Array(np.full(1, partition, np.float32)),
        }
    )
    metrics = MetricRecord({"train_loss": loss, "num-examples": 10 + partition})
    content = RecordDict({"arrays": arrays, "metrics": metrics})
    return Message(content, reply_to=_asked(partition))


REPLIES = [
    _reply(0, 4, 5, 1),
    _reply(1, 1, 1, 2, loss=math.nan),
    _reply(2, math.nan, 1, 1, loss=math.inf),
    Message(Error(code=1, reason="out of memory\nline 2"), reply_to=_asked(3)),
    Message(RecordDict({"m": MetricRecord({"note": 1})}), reply_to=_asked(4)),
]


def _kept(run_dir: Path, replies: list[Message] = REPLIES, **more: Any) -> Inspection:  # noqa: ANN401  # arguments
    write_inspection(
        run_dir,
        **{
            "server_round": 4,
            "because": "train_loss is nan: partition 1, round 4",
            "replies": replies,
            "sent": SENT,
            "partition_of": lambda node: node - 2**63,
            "durations_s": {0: 0.5, 1: 2.0},
            **more,
        },
    )
    return read_inspection(run_dir)


def test_numbers_of_all_replies_are_there(tmp_path: Path) -> None:
    """Norms worked by hand: (3, 4, 0 | 0) and (0, 0, 1 | 1)."""
    found = _kept(tmp_path)
    assert (found.server_round, found.failures) == (4, 1)
    assert found.because == "train_loss is nan: partition 1, round 4"
    frame = found.clients.set_index("partition_id")
    assert list(frame.columns[:6]) == [
        "node_id",
        "num_examples",
        "update_norm",
        "drift",
        "cosine",
        "duration_s",
    ]
    assert list(frame["node_id"]) == [2**63 + at for at in range(5)]
    np.testing.assert_allclose(
        frame["update_norm"], [5, math.sqrt(2), math.nan, math.nan, math.nan]
    )
    np.testing.assert_allclose(
        frame["train_loss"], [1, math.nan, math.inf, math.nan, math.nan]
    )
    np.testing.assert_allclose(frame["duration_s"][:3], [0.5, 2.0, math.nan])
    assert frame["error"][3] == "out of memory\nline 2"
    assert frame["note"][4] == 1
    assert (frame["error"][[0, 1, 2, 4]] == "").all()


def test_arrays_are_those_that_were_sent_and_replied(tmp_path: Path) -> None:
    """By partition or by node id; an update is the difference."""
    found = _kept(tmp_path)
    assert list(found.sent) == ["w", "b"]  # the model's order
    np.testing.assert_array_equal(found.sent["w"], [1, 1, 1])
    np.testing.assert_array_equal(found.arrays(0)["w"], [4, 5, 1])
    np.testing.assert_array_equal(found.update(0)["w"], [3, 4, 0])
    np.testing.assert_array_equal(found.update(2**63 + 1)["b"], [1])
    np.testing.assert_array_equal(found.arrays(2)["w"], [math.nan, 1, 1])
    weights = np.array([10, 11]) / 21  # who diverged is not in the mean
    np.testing.assert_allclose(
        found.mean_update["w"], weights @ [[3, 4, 0], [0, 0, 1]], rtol=1e-6
    )


def test_norms_array_by_array(tmp_path: Path) -> None:
    """Which layer moved is often the answer."""
    frame = _kept(tmp_path).by_layer(1)
    assert frame[["layer", "update_norm"]].to_numpy().tolist() == [["w", 1.0], ["b", 1.0]]
    np.testing.assert_allclose(frame["sent_norm"], [math.sqrt(3), 0])
    assert len(_kept(tmp_path).by_layer()) == 6


@pytest.mark.parametrize(
    ("who", "words"),
    [(3, "it failed"), (4, "are not kept"), (99, "no reply of 99")],
)
def test_what_is_not_there_is_said(tmp_path: Path, who: int, words: str) -> None:
    """A client that failed, one without arrays, and one that was never asked."""
    with pytest.raises(NothingToInspectError, match=words):
        _kept(tmp_path).arrays(who)


def test_a_round_without_arrays(tmp_path: Path) -> None:
    """The numbers are kept all the same."""
    found = _kept(tmp_path, sent=None)
    assert found.sent == {}
    assert found.mean_update == {}
    assert found.note == "No arrays were sent in this round."
    assert found.clients["update_norm"].isna().all()
    assert found.by_layer().empty


def test_only_the_newest_break_is_kept(tmp_path: Path) -> None:
    """An older one says that its arrays are gone; its numbers it has in memory."""
    older = _kept(tmp_path)
    newer = _kept(tmp_path, server_round=5)
    assert newer.server_round == 5
    with pytest.raises(NothingToInspectError, match="round 4 are gone"):
        older.arrays(0)
    assert len(older.clients) == 5
    assert len(list((tmp_path / "inspect").iterdir())) == 2


def test_nothing_kept_and_nothing_readable(tmp_path: Path) -> None:
    """No break yet; a torn file; one of a newer version."""
    with pytest.raises(NothingToInspectError, match="was not stopped at a break"):
        read_inspection(tmp_path)
    _kept(tmp_path)
    path = tmp_path / "inspect" / "replies.json"
    body = json.loads(path.read_bytes())
    path.write_text(json.dumps({**body, "format": 99}))
    with pytest.raises(NothingToInspectError, match="newer version"):
        read_inspection(tmp_path)
    path.write_text("{")
    with pytest.raises(NothingToInspectError, match="cannot be read"):
        read_inspection(tmp_path)


def test_of_more_arrays_than_there_is_room_for_the_farthest_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the sent arrays, the mean and two clients of 16 bytes each."""
    monkeypatch.setattr(inspection_writing, "MOST_BYTES", 4 * 16)
    found = _kept(tmp_path)
    assert found.note == (
        "Arrays are kept of 2 clients, those farthest off: there is no room for 1 more."
    )
    assert np.isnan(found.arrays(2)["w"][0])
    found.arrays(0)
    with pytest.raises(NothingToInspectError, match="no room for 1 more"):
        found.arrays(1)
    assert len(found.by_layer(1)) == 2


def test_no_room_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers are what matters most."""
    monkeypatch.setattr(inspection_writing, "MOST_BYTES", 31)
    found = _kept(tmp_path)
    assert found.note == "No arrays are kept: there is no room for them."
    assert found.sent == {}
    assert [path.name for path in (tmp_path / "inspect").iterdir()] == ["replies.json"]


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_disk_that_fills_up_costs_the_arrays_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Nothing half-written stays behind."""
    save: Callable[..., None] = safetensors.numpy.save_file
    left = [save] * after + [_full]

    def save_until_full(arrays: object, path: Path) -> None:
        left.pop(0)(arrays, path)

    monkeypatch.setattr(safetensors.numpy, "save_file", save_until_full)
    found = _kept(tmp_path)
    assert "No space left" in found.note
    assert len(found.clients) == 5
    assert [path.name for path in (tmp_path / "inspect").iterdir()] == ["replies.json"]


def test_a_disk_that_takes_nothing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is for the run to record; an older break is not shown in its place."""
    _kept(tmp_path)

    def refuse(path: Path, content: bytes) -> None:
        assert content
        raise StoreNotWritableError(f"{path} cannot be written.", fix="Free some space.")

    monkeypatch.setattr(inspection_writing, "write_atomic", refuse)
    with pytest.raises(StoreNotWritableError):
        _kept(tmp_path)
    assert list((tmp_path / "inspect").iterdir()) == []


def test_it_says_what_it_is(tmp_path: Path) -> None:
    """In text, always alike: the failed client first, then the diverged, then by drift."""
    found = _kept(tmp_path)
    text = repr(found)
    assert text == repr(read_inspection(tmp_path))
    lines = text.splitlines()
    assert lines[0] == "Round 4: train_loss is nan: partition 1, round 4"
    assert lines[1] == "5 replies, 1 failed"
    assert lines[2].split() == [
        "client",
        "num_examples",
        "update_norm",
        "drift",
        "cosine",
        "duration_s",
        "error",
    ]
    order = [line.split()[1] for line in lines[3:]]
    assert order[0] == "3"
    assert order.index("2") < order.index("0") < order.index("1")
    assert "out of memory" in lines[3]
    assert "line 2" not in text


def test_html_shows_text_as_text(tmp_path: Path) -> None:
    """An error may hold anything; of many clients ten are shown."""
    evil = Message(Error(code=1, reason="<script>alert(1)</script>"), reply_to=_asked(0))
    page = _kept(tmp_path, [evil], because="<b>")._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    many = _kept(tmp_path, [_reply(at, at, 1, 1) for at in range(60)])
    assert "60 replies, the 10 farthest off" in repr(many)
    assert many._repr_html_().count("<tr>") == 11


def test_it_draws_itself(tmp_path: Path) -> None:
    """The failed client is in neither figure, the diverged one in both."""
    found = _kept(tmp_path)
    updates, layers = found.figure(), found.layer_figure(theme="dark")
    assert updates.layout.title.text == "Updates of round 4"
    assert {trace.name for trace in updates.data} >= {"update", "diverged (NaN or ∞)"}
    assert {trace.name for trace in layers.data} >= {"norm", "diverged"}
