"""Feeds the actors of a Ray session; replaces those that die, hang or lose their machine.

Replies come by socket from actors of this machine, through Ray from others, and wake the
run process; nothing polls. Calls are pure, so what an actor did not finish is carried out
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import getLogger
from threading import RLock
from typing import Any

from flip_lab.core.clock import tick_s
from flip_lab.core.errors import AppImportError, EngineError, FlipLabError
from flip_lab.engines.base import Job
from flip_lab.engines.clients import ClientCall, ClientOutcome, lost_call
from flip_lab.engines.dispatch import MAX_ATTEMPTS, Backlog
from flip_lab.engines.ray_crew import ADOPTION, SERVICE, Crew, Member
from flip_lab.engines.ray_lease import Leases
from flip_lab.engines.ray_worker import too_long

_GRACE_S = 5.0  # for a client to be interrupted by its actor, before we end that
_LATE_S = 2.0  # the run waits no longer for other actors once one is there
_SILENCE_S = 5.0  # without news for so long, ask whether the session is there
_RECOVERY_S = 120.0  # without any actor for so long, the session cannot be used
_log = getLogger("flip_lab.engines.ray")


class RayExecutor:
    """Carries out client calls in leased actors; see ``Backlog`` for who gets what.

    Args:
        ray: The ``ray`` module, connected.
        job: The run.
        leases: Where actors come from.
    """

    def __init__(self, ray: Any, job: Job, leases: Leases) -> None:  # noqa: ANN401  # an optional package
        """Lease the actors and load the app in each.

        Raises:
            AppImportError: If the ClientApp cannot be loaded in an actor.
            EngineStartError: If no actor finds a place.
        """
        self._ray = ray
        self._leases = leases
        self._gate = job.gate
        self._timeout_s = job.client_timeout_s
        self._lock = RLock()
        self._heard_s = self._served_s = tick_s()
        self._suspects: set[str] = set()
        self._stillborn = 0
        self._calls: dict[str, ClientCall] = {}
        self._crew = Crew(ray, job, leases)
        self._contents = self._crew.contents
        self._backlog = Backlog(len(self._crew.members))
        try:
            self._await_first()
        except BaseException:
            self.close()
            raise

    def _await_first(self) -> None:
        """Wait until one actor has loaded the app, and a little longer for the others."""
        begun_s = float("inf")
        members = self._crew.members
        while tick_s() - begun_s < _LATE_S and not all(each.is_ready for each in members):
            self._hear_all(_LATE_S)
            if any(each.is_ready for each in members):
                begun_s = min(begun_s, tick_s())

    # --- the executor's two sides ---------------------------------------------------

    def submit(self, calls: Sequence[ClientCall]) -> None:
        """Queue calls and feed the actors that have nothing to do.

        Raises:
            EngineError: If the Ray session is gone.
        """
        with self._lock:
            self._check_session(now=True)
            for call in calls:
                self._contents.expect(call.message.content)
                self._calls[_id(call)] = call
            self._backlog.add(calls)
            self._feed()

    def completed(self, *, timeout_s: float) -> list[ClientOutcome]:
        """Wait for replies, feed the actors and replace those that died or hang.

        Raises:
            EngineError: If the Ray session is gone.
        """
        end_s = tick_s() + timeout_s
        while True:
            outcomes = self._hear_all(end_s - tick_s())
            if outcomes or tick_s() >= end_s:
                return outcomes

    def _hear_all(self, timeout_s: float) -> list[ClientOutcome]:
        self._crew.wait(min(timeout_s, self._patience_s()))
        with self._lock:
            outcomes = [each for one in self._crew.news() for each in self._hear(*one)]
            outcomes += self._stop_hanging()
            for outcome in outcomes:
                call = self._calls.pop(outcome.message_id, None)
                self._suspects.discard(outcome.message_id)
                if call is not None:
                    self._contents.settle(call.message.content)
            self._check_session()
            self._feed()
        return outcomes

    def _feed(self) -> None:
        """Give one batch each in turn, so that nobody takes another's share."""
        ticket = self._gate.ticket()
        while ticket is not None and sum(
            self._feed_one(number, ticket) for number in range(len(self._crew.members))
        ):
            pass

    def _feed_one(self, number: int, ticket: int) -> bool:
        member = self._crew.members[number]
        if not member.is_ready or (member.batches and self._suspects):
            return False  # nothing waits behind a call that may have killed its actor
        batch = self._backlog.take(number)
        if batch:
            self._crew.give(number, batch, ticket)
        return bool(batch)

    # --- news -----------------------------------------------------------------------

    def _hear(
        self, number: int, batch: int, result: Callable[[], Any]
    ) -> list[ClientOutcome]:
        if not self._crew.is_current(number, batch):
            return []
        self._heard_s = tick_s()
        try:
            answer = result()
        except self._ray.exceptions.RayError as error:
            if batch == ADOPTION:
                self._note_stillborn(error)
            return self._replace(number, _summary(error))
        if batch == ADOPTION:
            return self._begin(number, answer)
        if batch == SERVICE:
            return self._replace(number, "hung up")
        self._served_s = self._heard_s
        outcomes: list[ClientOutcome]
        outcomes, hung = answer
        self._backlog.finished(number, [each.message_id for each in outcomes])
        if hung:
            cause = "was stopped: its client took too long"
            return [*outcomes, *self._replace(number, cause)]
        left = self._crew.members[number].answered(batch)[len(outcomes) :]
        self._backlog.put_back(number, [_id(call) for call in left])
        self._backlog.batch_over(number)
        return outcomes

    def _begin(self, number: int, problem: FlipLabError | None) -> list[ClientOutcome]:
        """Take an actor on whose app is loaded; one that cannot load it fails calls."""
        if problem is None:
            self._crew.begin(number)
            self._stillborn = 0
            self._served_s = self._heard_s
            return []
        raise AppImportError(
            "The ClientApp could not be loaded in a Ray worker.",
            fix="Mend the app; the cause stands below.",
            detail=str(problem),
        )

    def _note_stillborn(self, error: Exception) -> None:
        self._stillborn += 1
        if self._stillborn >= MAX_ATTEMPTS * len(self._crew.members):
            raise EngineError(
                "Ray workers end while they load the ClientApp.",
                fix="Look at what the app does on import; it may end its process.",
                detail=str(error),
            )

    def _replace(self, number: int, cause: str) -> list[ClientOutcome]:
        """Put another actor in one's place; give the calls that are lost for good."""
        self._check_session(now=True)
        name = self._crew.members[number].slot.name
        _log.warning("The Ray worker %s %s; another one repeats its clients.", name, cause)
        held = {_id(call) for call in self._backlog.holds(number)}
        given_up = self._backlog.died(number)
        self._suspects |= held
        self._crew.replace(number)
        error = f"The worker process {cause}, {MAX_ATTEMPTS} times with this client."
        return [lost_call(call, error) for call in given_up]

    # --- what does not come ---------------------------------------------------------

    def _limit_s(self, worker: Member) -> float:
        """Give the seconds that an actor may spend on its oldest batch."""
        if self._timeout_s is None or not worker.oldest:
            return float("inf")
        return self._timeout_s * len(worker.oldest) + _GRACE_S

    def _patience_s(self) -> float:
        """Give the seconds until something must be looked after, news or not."""
        ends_s = (worker.since_s + self._limit_s(worker) for worker in self._crew.members)
        return max(0.0, min(_SILENCE_S, min(ends_s) - tick_s()))

    def _stop_hanging(self) -> list[ClientOutcome]:
        """End actors that do not even answer that they stopped a client."""
        outcomes: list[ClientOutcome] = []
        for number, worker in enumerate(self._crew.members):
            lasts_s = tick_s() - worker.since_s
            if lasts_s <= self._limit_s(worker):
                continue
            if len(worker.oldest) == 1:
                [call] = worker.oldest
                self._backlog.drop(number, _id(call))
                error = too_long(self._timeout_s)
                outcomes.append(lost_call(call, error, duration_s=lasts_s))
            outcomes += self._replace(number, "does not answer")
        return outcomes

    def _check_session(self, *, now: bool = False) -> None:
        """Find out whether the session is gone: nobody tells, and Ray would wait for it.

        Raises:
            EngineError: If it is, or no actor has come back for a long time.
        """
        if not now and tick_s() - self._heard_s < _SILENCE_S:
            return
        self._heard_s = tick_s()
        if not self._leases.is_session_alive():
            raise EngineError(
                "The Ray session has ended in the middle of the run.",
                fix="Start it again and launch the run again, or use another engine.",
            )
        idle = not any(worker.is_ready for worker in self._crew.members)
        if idle and tick_s() - self._served_s > _RECOVERY_S:
            raise EngineError(
                f"All Ray workers are gone and none came back within {_RECOVERY_S:.0f} s; "
                f"{self._leases.resources()}.",
                fix="Look at the session (ray status); it may have lost its machines.",
            )

    def close(self, *, gives_back: bool = True) -> None:
        """Let go of the actors; see ``Crew.close``."""
        self._crew.close(gives_back=gives_back)


def _summary(error: Exception) -> str:
    """Say in one line what Ray says in ten."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"died ({type(error).__name__}: {lines[0] if lines else 'no cause given'})"


def _id(call: ClientCall) -> str:
    return call.message.metadata.message_id
