"""What a node answers: the client's reply with its facts, or an error in bounds."""

from __future__ import annotations

from flwr.app import Error, Message

from flip_lab.core.errors import FlipLabError
from flip_lab.engines.flower.facts import Facts, add_facts
from flip_lab.engines.flower.messages import CLIENT_RAISED, error_reply
from flip_lab.node.calling import SiteOutcome


def reply_of(
    message: Message, outcome: SiteOutcome, *, logs_tail_lines: int, with_facts: bool
) -> Message:
    """Give the reply that leaves the site.

    Args:
        message: What is answered.
        outcome: What came of the call.
        logs_tail_lines: Lines of a failed client's traceback that may leave.
        with_facts: Whether somebody takes the facts off again.
    """
    if outcome.reply is None:
        return error_reply(message, _reason(outcome, logs_tail_lines))
    if with_facts and outcome.reply.has_content():
        facts = Facts(
            started_s=outcome.started_s,
            duration_s=outcome.duration_s,
            logged=outcome.logged,
            holding=outcome.holding,
        )
        add_facts(outcome.reply, facts)
    return outcome.reply


def _reason(outcome: SiteOutcome, logs_tail_lines: int) -> str:
    if not outcome.detail:
        return outcome.failure
    if logs_tail_lines == 0:
        return (
            f"{outcome.failure} Its traceback is in the site's node.log; the site sends "
            "none of it (logs-tail-lines = 0)."
        )
    tail = "\n".join(outcome.detail.splitlines()[-logs_tail_lines:])
    return f"{outcome.failure}\n{tail}"


def refusal(message: Message, error: FlipLabError) -> Message:
    """Answer that the node will not, with code and fix."""
    told = f"[{error.code}] {error.what} Fix: {error.fix}"
    return Message(Error(code=CLIENT_RAISED, reason=told), reply_to=message)
