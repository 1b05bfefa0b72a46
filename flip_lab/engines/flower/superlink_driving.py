"""What drivers ask, read with care: only their own app, only their own run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from flwr.common.config import get_fab_config
from flwr.proto.control_pb2 import StartRunRequest, StopRunRequest
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TASK_TOKEN_HEADER
from flwr.supercore.error import ApiErrorCode, FlowerError

from flip_lab.core.errors import NotAllowedError, RequestError
from flip_lab.engines.flower.superlink_calls import CONTROL
from flip_lab.engines.flower.superlink_state import HubLinkState

DriverTask: TypeAlias = Task
"""What a driver has claimed: the one task of its run."""

_TAKEN = {"fab", "override_config"}


@dataclass(frozen=True, kw_only=True)
class StartedRun:
    """A run that was just started.

    Attributes:
        flower_run_id: Flower's id.
        fab_sha256: Hash of its app, 64 hexadecimal digits.
        run_id: Our id, if the app says it; else empty.
        answer: What the driver is told.
    """

    flower_run_id: int
    fab_sha256: str
    run_id: str
    answer: bytes


def started_run(state: HubLinkState, request: StartRunRequest) -> StartedRun:
    """Start a run of the app that a request brings.

    Raises:
        RequestError: If it brings none, or asks for more than to run it: Flower would
            fetch apps from elsewhere, and keep secrets of other services.
        FlowerError: If Flower does not take the app.
    """
    asked = {field.name for field, _ in request.ListFields()}
    if not request.fab.content or asked - _TAKEN:
        raise RequestError(
            f"A run is asked for with {', '.join(sorted(asked)) or 'nothing'}.",
            fix="Send the app itself (fab), and override_config at most.",
        )
    response = CONTROL["/v1/control/start-run"].handler(state, request, None)
    content = request.fab.content
    return StartedRun(
        flower_run_id=int(getattr(response, "run_id", 0)),
        fab_sha256=hashlib.sha256(content).hexdigest(),
        run_id=_run_id_in(content),
        answer=response.SerializeToString(),
    )


def claimed_fab(request: AcquireTaskRequest) -> str:
    """Give the app whose run a driver claims, by its hash.

    Raises:
        NotAllowedError: If it claims more than one, or whatever there is.
    """
    hashes = list(request.agentapp_fab_hashes)
    if len(hashes) != 1 or request.supported_task_types:
        raise NotAllowedError(
            "At a hub one claims one's own run, by the hash of its app.",
            fix="Drive runs with FLIP Lab; flower-superexec has nothing to do here.",
        )
    return hashes[0]


def stopped_run(request: StopRunRequest) -> int:
    """Give the run that a request would stop."""
    return request.run_id


def task_of(state: HubLinkState, headers: Mapping[str, str]) -> DriverTask:
    """Find the task that a driver has claimed.

    Args:
        state: Where.
        headers: Of its request, names in lower case.

    Raises:
        FlowerError: If its token is not good, or no longer.
    """
    token = headers.get(TASK_TOKEN_HEADER, "")
    task = state.get_task_by_token(token) if token else None
    if task is None:
        raise FlowerError(
            ApiErrorCode.RUNTIME_AUTHENTICATION_FAILED, "A task's token is not good."
        )
    return task


def _run_id_in(content: bytes) -> str:
    """Give the id of ours that an app carries, if it is one of ours."""
    tool: dict[str, Any] = get_fab_config(content).get("tool", {})
    ours: Any = tool.get("flip-lab")
    run_id = cast("dict[str, Any]", ours).get("run") if isinstance(ours, dict) else None
    return run_id if isinstance(run_id, str) else ""
