"""Bodies of Flower's calls: read, checked, answered, refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from flwr.proto.fleet_pb2 import ActivateNodeRequest, PushMessagesRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.error import ApiErrorCode, FlowerError
from flwr.supercore.error.catalog import API_ERROR_MAP
from flwr.supercore.runtime_version_compatibility import RuntimeVersionMetadata
from flwr.supercore.version import package_version
from google.protobuf.message import DecodeError

from flip_lab.core.errors import NotAllowedError, RequestError, VersionMismatchError
from flip_lab.engines.flower.superlink_calls import Call
from flip_lab.engines.flower.superlink_state import HubLinkState

_LOG = logging.getLogger(__name__)
_ANSWER_BYTES = 8 * 2**20
_LENGTH_BYTES = 4
FLOWER_VERSION = package_version
"""Of this process."""

_OURS = RuntimeVersionMetadata.from_local_component("SuperLink")
_INSTALL = f"flwr=={FLOWER_VERSION}"


def requests_in(call: Call, body: bytes) -> list[Any]:
    """Read a body.

    Raises:
        FlowerError: If it is not what the call takes.
    """
    try:
        parts = list(_framed(body)) if call.is_batch else [body]
        return [call.request.FromString(part) for part in parts]
    except (DecodeError, ValueError) as error:
        raise FlowerError(
            ApiErrorCode.INVALID_PROTOBUF_PAYLOAD, f"Unreadable body: {error}"
        ) from error


def answers_to(
    state: HubLinkState, call: Call, requests: Sequence[Any], task: Task | None = None
) -> bytes:
    """Answer what a body asked for.

    Raises:
        FlowerError: If Flower refuses.
        Exception: Whatever else goes wrong in Flower.
    """
    if not call.is_batch:
        return call.handler(state, requests[0], task).SerializeToString()
    answers = bytearray()
    for request in requests:
        answer = call.handler(state, request, task).SerializeToString()
        answers += len(answer).to_bytes(_LENGTH_BYTES)
        answers += answer
        if len(answers) >= _ANSWER_BYTES:
            break
    return bytes(answers)


def see_that_it_is_the_nodes(
    state: HubLinkState,
    request: Any,  # noqa: ANN401  # each kind of message has fields of its own
    node_id: int,
    public_key: bytes,
) -> None:
    """See that a node asks for itself, replies for itself, and of a run that is known.

    Flower checks the first only: whoever knows a call's id could answer it.

    Raises:
        NotAllowedError: If it speaks for another node.
        RequestError: If it does not bring exactly one reply.
        FlowerError: If the run is not known, such as after the hub was started again.
    """
    is_same = (
        request.public_key == public_key
        if isinstance(request, ActivateNodeRequest)
        else _node_id_in(request) == node_id
    )
    run_id = getattr(request, "run_id", None)
    if isinstance(request, PushMessagesRequest):
        if len(request.messages_list) != 1 or len(request.message_object_trees) != 1:
            raise RequestError(
                f"{len(request.messages_list)} replies came at once.",
                fix="Push one reply with its tree of objects.",
            )
        metadata = request.messages_list[0].metadata
        run_id = metadata.run_id
        is_same = is_same and metadata.src_node_id == node_id
    if not is_same:
        raise NotAllowedError(
            "A node asks in the name of another one.",
            fix="Let each node use its own key, and the id that activate-node gave it.",
        )
    if run_id is not None and run_id not in state.run_ids:
        raise FlowerError(
            ApiErrorCode.FLEET_RUN_STATUS_NOT_ALLOWED, f"Run {run_id} is not known here."
        )


def _node_id_in(request: Any) -> int:  # noqa: ANN401  # as above
    node = request.node if hasattr(request, "node") else request
    return int(node.node_id)


def see_that_versions_fit(headers: Mapping[str, str]) -> None:
    """See that the other side's Flower understands ours.

    Args:
        headers: Of its request, names in lower case.

    Raises:
        VersionMismatchError: If it does not.
    """
    theirs, trouble = RuntimeVersionMetadata.from_metadata(tuple(headers.items()))
    trouble = trouble or _OURS.check_compatibility(theirs)
    if trouble is not None:
        raise VersionMismatchError(
            f"Flower there and Flower here do not fit: {trouble}",
            fix=f"Install the hub's version on both sides: pip install {_INSTALL}.",
        )


def told(error: Exception) -> tuple[int, bytes]:
    """Give an error of Flower as its clients expect it: an HTTP status, and JSON.

    What is not meant for others goes to the log only.
    """
    if isinstance(error, FlowerError) and error.code in API_ERROR_MAP:
        known = API_ERROR_MAP[error.code]
        _LOG.info("%s", error)
        content = error.to_json(known.public_message)
        return known.http_status_code, json.dumps(content).encode()
    if isinstance(error, ValueError):  # how Flower and fleet_exchange refuse nonsense
        _LOG.info("A request was malformed: %s", error)
        return HTTPStatus.BAD_REQUEST, b'{"detail": "Malformed request."}'
    _LOG.error("Flower failed over a request.", exc_info=error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, b'{"detail": "Internal server error."}'


def _framed(body: bytes) -> Iterator[bytes]:
    """Take a body apart.

    Raises:
        ValueError: If it ends too soon.
    """
    at = 0
    while at < len(body):
        begin = at + _LENGTH_BYTES
        at = begin + int.from_bytes(body[at:begin])
        if at > len(body):
            raise ValueError("it ends in the middle of a message")
        yield body[begin:at]
