"""What is recorded of a client: of its reply, or of its silence."""

from __future__ import annotations

from dataclasses import dataclass

from flwr.app import ArrayRecord

from flip_lab.core.events import ClientFact
from flip_lab.core.logged import numbers_in
from flip_lab.core.policy import LATE, NEVER_CAME
from flip_lab.engines.base import Reply
from flip_lab.engines.flower.messages import (
    NO_REPLY,
    WEIGHT_KEYS,
    arrays_digest,
    payload_bytes,
    reply_metrics,
)
from flip_lab.engines.flower.updates import update_metrics


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """What to remember of a message until its reply comes.

    Attributes:
        node_id: The node it went to.
        phase: ``"train"``, ``"evaluate"`` or ``"query"``.
        server_round: The round it belongs to.
        bytes_down: Bytes that it carries.
        sent_s: When it was sent, seconds since the Unix epoch.
    """

    node_id: int
    phase: str
    server_round: int
    bytes_down: int
    sent_s: float


def replied_fact(
    dispatch: Dispatch, reply: Reply, partition_id: int, sent: ArrayRecord | None
) -> ClientFact:
    """Give the fact of a reply that came.

    Args:
        dispatch: The message that it answers.
        reply: The reply, with or without an error.
        partition_id: The partition of the node; -1 when unknown.
        sent: The arrays that went out, if the norm of a training update is recorded, too.
    """
    message, reported = reply.message, reply_metrics(reply.message)
    metrics = {**numbers_in(reply.logged), **reported}
    weights = [metrics.pop(key) for key in WEIGHT_KEYS if key in reported]
    failed = message.has_error()
    if sent is not None and dispatch.phase == "train" and not failed:
        metrics |= update_metrics(message, sent)
    return ClientFact(
        phase=dispatch.phase,
        node_id=dispatch.node_id,
        partition_id=partition_id,
        num_examples=weights[0] if weights else 0,
        started_s=reply.started_s,
        duration_s=reply.duration_s,
        bytes_down=dispatch.bytes_down,
        bytes_up=payload_bytes(message),
        metrics=metrics,
        error_code=message.error.code if failed else 0,
        error=(message.error.reason or "no reason given") if failed else "",
        digest=reply.digest or arrays_digest(message),
    )


def silent_fact(dispatch: Dispatch, partition_id: int, now_s: float) -> ClientFact:
    """Give the fact of a reply that never came.

    Args:
        dispatch: The message that nobody answered.
        partition_id: The partition of the node; -1 when unknown.
        now_s: When the waiting ended, seconds since the Unix epoch.
    """
    waited_s = now_s - dispatch.sent_s
    return ClientFact(
        phase=dispatch.phase,
        node_id=dispatch.node_id,
        partition_id=partition_id,
        num_examples=0,
        started_s=dispatch.sent_s,
        duration_s=waited_s,
        bytes_down=dispatch.bytes_down,
        bytes_up=0,
        error_code=NO_REPLY,
        error=f"No reply within the strategy's timeout; waited {waited_s:.1f} s.",
    )


def late_fact(
    dispatch: Dispatch, partition_id: int, *, closed_s: float, reply: Reply | None
) -> ClientFact:
    """Give the fact of a client whose round had closed without it.

    Args:
        dispatch: The message.
        partition_id: The partition of the node; -1 when unknown.
        closed_s: When the round closed, seconds since the Unix epoch.
        reply: What came at last; ``None`` when nothing ever did.
    """
    closed = f"its round had closed {max(closed_s - dispatch.sent_s, 0.0):.1f} s after"
    if reply is None:
        told = f"{NEVER_CAME}, and {closed} it was asked."
    else:
        told = f"Late: it took {reply.duration_s:.1f} s; {closed} it was asked."
    return ClientFact(
        phase=dispatch.phase,
        node_id=dispatch.node_id,
        partition_id=partition_id,
        num_examples=0,
        started_s=dispatch.sent_s if reply is None else reply.started_s,
        duration_s=closed_s - dispatch.sent_s if reply is None else reply.duration_s,
        bytes_down=dispatch.bytes_down,
        bytes_up=0 if reply is None else payload_bytes(reply.message),
        error_code=LATE,
        error=told,
    )
