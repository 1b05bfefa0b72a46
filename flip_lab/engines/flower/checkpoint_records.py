"""Flower's records as bytes and back, by its own protobuf: safe for what clients sent."""

from __future__ import annotations

from flwr.app import MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as ProtoRecordDict

from flip_lab.core.errors import CorruptArtifactError

_NAME = "metrics"


def records_to_bytes(records: RecordDict) -> bytes:
    """Write records; keys keep their order and numbers their type."""
    return recorddict_to_proto(records).SerializeToString()


def records_from_bytes(content: bytes) -> RecordDict:
    """Read records again.

    Raises:
        CorruptArtifactError: If the bytes hold none.
    """
    try:
        return recorddict_from_proto(ProtoRecordDict.FromString(content))
    except Exception as error:  # of protobuf, which has a family of its own
        raise CorruptArtifactError(
            f"A checkpoint holds records that cannot be read: {error}.",
            fix="An older checkpoint is taken in its place.",
        ) from error


def metrics_to_bytes(metrics: MetricRecord) -> bytes:
    """Write one record of metrics."""
    return records_to_bytes(RecordDict({_NAME: metrics}))


def metrics_from_bytes(content: bytes) -> MetricRecord:
    """Read one record of metrics again.

    Raises:
        CorruptArtifactError: If the bytes hold none.
    """
    return records_from_bytes(content).metric_records[_NAME]
