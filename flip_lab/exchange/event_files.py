# TensorBoard ships no types, and protobuf's classes are made at run time:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false
"""TensorBoard: a directory of event files for each run, scalars and hyper-parameters.

Values are written as 64-bit tensors, which TensorBoard reads as well as its usual 32 bits.
The records of a file are ``Event`` messages of TensorFlow’s; see ``tf_records``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flip_lab.core.errors import ForeignFormatError
from flip_lab.exchange import sidecar
from flip_lab.exchange.names import keys_of
from flip_lab.exchange.records import RunRecord, Series
from flip_lab.exchange.tf_records import framed, unframed

_PATTERN = "*tfevents*"
_NOTE = "note"
_VERSION = "brain.Event:2"
_KINDS = {bool: "bool_value", float: "number_value", str: "string_value"}
_STATUS = {"completed": 1, "failed": 2, "stopped": 2}  # hparams' success and failure


def write(records: Sequence[RunRecord], folder: Path) -> None:
    """Write runs, each into a directory that is called like it.

    Args:
        records: The runs.
        folder: An empty directory; ``tensorboard --logdir`` shows it.
    """
    for record in records:
        home = folder / record.run_id
        keys = keys_of(record.series)
        sidecar.write(record, keys, home)
        name = f"events.out.tfevents.{int(record.created_s)}.flip-lab"
        with (home / name).open("xb") as file:
            file.writelines(map(framed, _messages(record, keys)))


def _messages(record: RunRecord, keys: Mapping[str, Series]) -> Generator[bytes]:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.plugins.text.metadata import create_summary_metadata as text_metadata

    def event(time_s: float, summary: Any) -> bytes:  # noqa: ANN401  # a protobuf message
        return Event(wall_time=time_s, summary=summary).SerializeToString()

    begun_s = record.started_s or record.created_s
    yield Event(wall_time=begun_s, file_version=_VERSION).SerializeToString()
    yield event(begun_s, _session_start(record, begun_s))
    if record.note:
        entry = Summary.Value(tag=_NOTE, metadata=text_metadata(_NOTE, ""))
        entry.tensor.dtype = 7  # DT_STRING
        entry.tensor.string_val.append(record.note.encode())
        entry.tensor.tensor_shape.SetInParent()
        yield event(begun_s, Summary(value=[entry]))
    for key, series in keys.items():
        # TensorBoard reads the metadata of the first value and passes over the others'.
        metadata = create_summary_metadata(series.name, "")
        points = zip(series.rounds, series.times_s, series.values, strict=True)
        for server_round, time_s, value in points:
            entry = Summary.Value(tag=key, metadata=metadata)
            entry.tensor.dtype = 2  # DT_DOUBLE
            entry.tensor.double_val.append(value)
            entry.tensor.tensor_shape.SetInParent()
            yield Event(
                wall_time=time_s, step=server_round, summary=Summary(value=[entry])
            ).SerializeToString()
            metadata = None
    yield event(record.ended_s, _session_end(record))


def _session_start(record: RunRecord, begun_s: float) -> Any:  # noqa: ANN401  # protobuf
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData()
    info = data.session_start_info
    info.group_name, info.start_time_secs = record.run_id, begun_s
    for name, text in record.parameters.items():
        value = _typed(text)
        kind = _KINDS[type(value)]
        setattr(info.hparams[name], kind, value)
    return _hparams("session_start_info", data)


def _session_end(record: RunRecord) -> Any:  # noqa: ANN401  # a protobuf message
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData()
    data.session_end_info.status = _STATUS[record.state]
    data.session_end_info.end_time_secs = record.ended_s
    return _hparams("session_end_info", data)


def _hparams(tag: str, data: Any) -> Any:  # noqa: ANN401  # protobuf messages
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.metadata import create_summary_metadata

    entry = Summary.Value(tag=f"_hparams_/{tag}", metadata=create_summary_metadata(data))
    entry.tensor.dtype = 1  # DT_FLOAT; the plugin wants a tensor, and looks at none
    entry.tensor.float_val.append(0.0)
    entry.tensor.tensor_shape.SetInParent()
    return Summary(value=[entry])


def _typed(text: str) -> float | bool | str:
    """Give a parameter as a number where it is one, so that TensorBoard can plot it."""
    if text in {"true", "false"}:
        return text == "true"
    try:
        return float(text)
    except ValueError:
        return text


def read(path: Path) -> list[RunRecord]:
    """Read every run below a directory: each directory with event files is one.

    Args:
        path: The log directory, or one event file.

    Returns:
        The runs, by their directories' names. Only scalars and hyper-parameters are read.

    Raises:
        ForeignFormatError: If there is no event file.
        DamagedSourceError: If one is cut short or does not match its checksums.
    """
    files = [path] if path.is_file() else sorted(path.rglob(_PATTERN))
    if not files or not all("tfevents" in file.name for file in files):
        raise ForeignFormatError(
            f"{path} holds no TensorBoard event file.",
            fix="Give the directory that tensorboard --logdir shows; its files have "
            "'tfevents' in their names.",
        )
    root = path.parent if path.is_file() else path
    homes: dict[Path, list[Path]] = {}
    for file in files:
        homes.setdefault(file.parent, []).append(file)
    return [_run(root, home, inside) for home, inside in homes.items()]


@dataclass(kw_only=True)
class _Found:
    """What the event files of one directory told so far."""

    aside: sidecar.Sidecar
    series: dict[str, Series] = field(default_factory=dict[str, Series])
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    note: str = ""
    is_failed: bool = False
    times_s: list[float] = field(default_factory=list[float])

    def take(self, event: Any) -> None:  # noqa: ANN401  # a protobuf message
        self.times_s.append(event.wall_time)
        for value in event.summary.value:
            plugin = value.metadata.plugin_data.plugin_name
            if plugin == "hparams":
                self._take_hparams(value.metadata.plugin_data.content)
            elif plugin == "text" and value.tag == _NOTE and value.tensor.string_val:
                self.note = value.tensor.string_val[0].decode()
            elif (number := self._number(value, plugin)) is not None:
                if value.tag not in self.series:
                    self.series[value.tag] = self.aside.series(value.tag)
                self.series[value.tag].add(event.step, event.wall_time, number)

    def _number(self, value: Any, plugin: str) -> float | None:  # noqa: ANN401  # protobuf
        from tensorboard.util.tensor_util import make_ndarray

        kind = value.WhichOneof("value")
        if kind == "simple_value":
            return float(value.simple_value)
        if kind == "tensor" and (plugin == "scalars" or value.tag in self.series):
            array = make_ndarray(value.tensor)
            return float(array) if array.ndim == 0 else None
        return None

    def _take_hparams(self, content: bytes) -> None:
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        data = HParamsPluginData.FromString(content)
        kind = data.WhichOneof("data")
        if kind == "session_start_info":
            for name, value in data.session_start_info.hparams.items():
                form = value.WhichOneof("kind")
                self.parameters[name] = str(getattr(value, form)) if form else ""
        if kind == "session_end_info":
            self.is_failed = data.session_end_info.status == _STATUS["failed"]


def _run(root: Path, home: Path, files: Iterable[Path]) -> RunRecord:
    from tensorboard.compat.proto.event_pb2 import Event

    found = _Found(aside=sidecar.read(home / sidecar.FILE))
    for file in files:
        for message in unframed(file):
            found.take(Event.FromString(message))
    inside = home.relative_to(root).as_posix()
    name = home.absolute().name if inside == "." else inside
    times_s = found.times_s or [0.0]
    told: dict[str, Any] = {
        "run_id": "",
        "source": f"{name}@{min(times_s)!r}",
        "name": name,
        "experiment": root.absolute().name,
        "state": "failed" if found.is_failed else "completed",
        "created_s": min(times_s),
        "started_s": min(times_s),
        "ended_s": max(times_s),
        "parameters": found.parameters,
        "note": found.note,
    }
    return RunRecord(**{**told, **found.aside.run}, series=tuple(found.series.values()))
