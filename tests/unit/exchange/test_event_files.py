# protobuf makes its classes at run time:
# pyright: reportAttributeAccessIssue=false
"""TensorBoard's event files, read by TensorBoard and by us."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flip_lab.core.errors import DamagedSourceError, ForeignFormatError
from flip_lab.exchange import event_files, sidecar
from flip_lab.exchange.names import keys_of
from flip_lab.exchange.records import RunRecord, Series

pytest.importorskip("tensorboard", reason="needs pip install 'flip-lab[tensorboard]'")


@pytest.fixture
def written(record: RunRecord, tmp_path: Path) -> Path:
    """Give a log directory with the run."""
    folder = tmp_path / "logs"
    folder.mkdir()
    event_files.write([record], folder)
    return folder


def test_a_run_comes_back_bit_for_bit(
    record: RunRecord,
    written: Path,
    curves: Callable[[RunRecord], Any],
    told: Callable[[RunRecord], dict[str, object]],
) -> None:
    """Values, rounds and times are what they were, and so is the rest."""
    (again,) = event_files.read(written)
    assert curves(again) == curves(record)
    assert told(again) == told(record)
    assert [each.times_s for each in again.series] == [e.times_s for e in record.series]


def test_tensorboard_reads_it(record: RunRecord, written: Path) -> None:
    """TensorBoard's own reader shows every point and every setting."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    seen = EventAccumulator(
        str(written / record.run_id),
        size_guidance={"tensors": 0},
        purge_orphaned_data=False,
    ).Reload()
    for key, series in keys_of(record.series).items():
        points = seen.Tensors(key)
        assert [point.step for point in points] == series.rounds
        assert [point.wall_time for point in points] == series.times_s
        values = [point.tensor_proto.double_val[0] for point in points]
        assert list(map(repr, values)) == list(map(repr, series.values))
    settings = seen.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = HParamsPluginData.FromString(settings).session_start_info
    assert start.hparams["strategy.name"].string_value == "FedAvg"
    assert math.isclose(start.hparams["train.learning_rate"].number_value, 0.1)
    assert "note" in seen.PluginTagToContent("text")


def test_what_others_wrote_is_read(tmp_path: Path) -> None:
    """The older way of writing scalars, in 32 bits and without a sidecar."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "board" / "run a"))
    for step in range(3):
        value = Summary.Value(tag="train/loss", simple_value=step / 2)
        writer.add_event(
            Event(wall_time=1e9 + step, step=step, summary=Summary(value=[value]))
        )
    writer.close()
    (run,) = event_files.read(tmp_path / "board")
    (series,) = run.series
    assert (run.name, run.experiment, run.run_id) == ("run a", "board", "")
    assert series.identity == ("train", "central", "train/loss")
    assert series.values == [0.0, 0.5, 1.0]
    assert series.rounds == [0, 1, 2]


def test_every_cut_is_noticed(written: Path) -> None:
    """A file that breaks off anywhere inside its last record is refused."""
    (file,) = written.rglob("*tfevents*")
    whole = file.read_bytes()
    last = following = 0
    while following < len(whole):  # length, its checksum, the message, its checksum
        last = following
        following += 16 + int.from_bytes(whole[last : last + 8], "little")
    for length in range(last + 1, len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(DamagedSourceError, match="cut short"):
            event_files.read(written)


def test_a_flipped_bit_is_noticed(written: Path) -> None:
    """Checksums are looked at."""
    (file,) = written.rglob("*tfevents*")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(DamagedSourceError):
        event_files.read(written)


def test_a_directory_without_event_files_is_refused(tmp_path: Path) -> None:
    """The message says what to look for."""
    with pytest.raises(ForeignFormatError, match="tfevents"):
        event_files.read(tmp_path)


@pytest.mark.slow
def test_a_hundred_thousand_points(record: RunRecord, tmp_path: Path) -> None:
    """None is left out or changed."""
    count = 100_000
    series = Series(
        phase="train",
        scope="federated",
        name="loss",
        rounds=list(range(count)),
        times_s=[1e9 + at / 7 for at in range(count)],
        values=[1 / (1 + at) for at in range(count)],
    )
    folder = tmp_path / "many"
    folder.mkdir()
    run = RunRecord(**{**vars(record), "series": (series,)})
    event_files.write([run], folder)
    (again,) = event_files.read(folder)
    assert again.series == (series,)
    assert (folder / record.run_id / sidecar.FILE).stat().st_size < 10_000
