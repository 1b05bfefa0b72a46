"""The door of those who drive runs: ``/v1/control`` and ``/v1/runtime``, by token.

Whoever may drive starts runs, and drives those that they started. The secret with which
executors claim anybody's run stays within: a hub claims a run for the very person alone.
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from flip_lab.api.access import Person
from flip_lab.core.errors import NotAllowedError, NotAuthenticatedError
from flip_lab.engines.flower.superlink_calls import ACQUIRE, CONTROL, RUNTIME
from flip_lab.engines.flower.superlink_driving import (
    DriverTask,
    claimed_fab,
    started_run,
    stopped_run,
    task_of,
)
from flip_lab.engines.flower.superlink_state import HubLinkState
from flip_lab.engines.flower.superlink_wire import (
    answers_to,
    requests_in,
    see_that_versions_fit,
)
from flip_lab.hub.access import HubAccess
from flip_lab.hub.admission import Admission
from flip_lab.hub.bells import Bells
from flip_lab.hub.bodies import PROTOBUF, GoneError, answer, read_body
from flip_lab.hub.database_runs import HubRunRecord, Runs
from flip_lab.hub.doors import Door
from flip_lab.hub.waiting import SEEN, patience_s, see_that_it_is_a_call
from flip_lab.store.audit_writer import acting_as

_START = "/v1/control/start-run"
_STOP = "/v1/control/stop-run"
_PULL = "/v1/runtime/pull-messages"
_CALLS = {**CONTROL, **RUNTIME}


class DriverDoor(Door):
    """Answers those who drive runs.

    Args:
        state: What drivers ask.
        access: Says who asks.
        runs: The database's table of who started what.
        bells: End waits.
        admission: Counts wrong tokens.
    """

    def __init__(
        self,
        *,
        state: HubLinkState,
        access: HubAccess,
        runs: Runs,
        bells: Bells,
        admission: Admission,
    ) -> None:
        """Serve nobody yet."""
        super().__init__()
        self._state = state
        self._access = access
        self._runs = runs
        self._bells = bells
        self._admission = admission
        self._owners: dict[int, str] = {}  # of runs since the hub was started

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        path = see_that_it_is_a_call(scope, headers, _CALLS)
        call = _CALLS[path]
        person = await self._admit(scope, headers)
        see_that_versions_fit(headers)
        task = self._task(path, headers, person)
        body = await read_body(scope, receive, call.most_bytes)
        requests = requests_in(call, body)
        more = dict[str, str]()
        if path == _PULL and task is not None:
            more["x-flip-news"] = await self._hold(task.run_id, headers, receive)
        if path in {_START, _STOP, ACQUIRE}:
            content = await self._in_thread(self._mine, path, requests[0], person)
        elif call.is_light:
            content = answers_to(self._state, call, requests, task)
        else:
            content = await self._in_thread(answers_to, self._state, call, requests, task)
        await answer(send, 200, content, media_type=PROTOBUF, headers=more)

    async def _admit(self, scope: Scope, headers: Headers) -> Person:
        """Find out who asks.

        Raises:
            NotAuthenticatedError: If nobody knows.
            NotAllowedError: If they may not drive runs.
            TooManyError: If there were too many wrong tokens from that address.
        """
        person = self._access.known(headers)
        if person is None:
            self._admission.see_that_it_may(scope)
            person = await self._in_thread(self._access.who, headers)
        if person is None:
            self._admission.failed(scope)
            raise NotAuthenticatedError(
                "The hub does not know who asks.",
                fix="Name a file with a token of the hub in flip-lab.toml: token = FILE.",
            )
        if "drive" not in person.scopes:
            raise NotAllowedError(
                f"{person.name} may not drive runs at this hub.",
                fix="Ask the hub's admin for a token with the role researcher.",
            )
        return person

    def _task(self, path: str, headers: Headers, person: Person) -> DriverTask | None:
        """Find the task that a call is about, if it needs one.

        Raises:
            FlowerError: If the task's token is not good, or no longer.
            NotAllowedError: If somebody else started its run.
        """
        if path not in RUNTIME or path == ACQUIRE:
            return None
        task = task_of(self._state, headers)
        self._see_that_it_is_theirs(self._owners.get(task.run_id), person, task.run_id)
        return task

    async def _hold(self, run_id: int, headers: Headers, receive: Receive) -> str:
        """Hold a request for replies until there is more than its sender knows of.

        Raises:
            GoneError: If the connection breaks.
        """
        bell = ("run", run_id)
        wait_s, seen = patience_s(headers), headers.get(SEEN, "")

        def is_there() -> bool:
            return self._bells.news(bell) != seen

        if wait_s and not await self._bells.wait(bell, is_there, wait_s, receive):
            raise GoneError
        return self._bells.news(bell)

    def _mine(self, path: str, request: Any, person: Person) -> bytes:  # noqa: ANN401
        """Start, claim or stop a run: only one's own."""
        with acting_as(person.name):
            act = {_START: self._start, _STOP: self._stop, ACQUIRE: self._acquire}[path]
            return act(request, person)

    def _start(self, request: Any, person: Person) -> bytes:  # noqa: ANN401
        run = started_run(self._state, request)
        self._owners[run.flower_run_id] = person.name
        try:
            self._runs.started(
                flower_run_id=run.flower_run_id,
                fab_sha256=run.fab_sha256,
                person=person.name,
                run_id=run.run_id,
            )
        except BaseException:
            self._state.stop_run(run.flower_run_id)  # nobody could claim it
            raise
        return run.answer

    def _acquire(self, request: Any, person: Person) -> bytes:  # noqa: ANN401
        fab_sha256 = claimed_fab(request)
        run = self._runs.of_fab(fab_sha256)
        self._see_that_it_is_theirs(_person(run), person, fab_sha256)
        return self._called(ACQUIRE, request)

    def _stop(self, request: Any, person: Person) -> bytes:  # noqa: ANN401
        run_id = stopped_run(request)
        if "admin" not in person.scopes:
            run = self._runs.of_flower_run(run_id)
            self._see_that_it_is_theirs(_person(run), person, run_id)
        with self._state.stopped_by(run_id, person.name):
            return self._called(_STOP, request)

    def _called(self, path: str, request: Any) -> bytes:  # noqa: ANN401
        return answers_to(self._state, _CALLS[path], [request])

    def _see_that_it_is_theirs(
        self, owner: str | None, person: Person, what: int | str
    ) -> None:
        """Let only the person who started a run drive it.

        Raises:
            NotAllowedError: If somebody else did, or nobody.
        """
        if owner != person.name:
            raise NotAllowedError(
                f"{person.name} did not start run {what!s:.24} at this hub.",
                fix="Drive runs that you started; the hub's admin may stop others.",
            )


def _person(run: HubRunRecord | None) -> str | None:
    return None if run is None else run.person
