"""Routes whose answers are kept: one line of a router says what they depend on.

A kept answer is given without a thread, a query or a dependency; who asks is looked at all
the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from flip_lab.api.live.states import State
from flip_lab.api.service import Service, admitted, service_of


class _Kept(APIRoute, ABC):
    """A route whose answers to GET are kept while ``_state`` stays the same."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Give what answers: from what is kept, or else as any route does."""
        inner = super().get_route_handler()
        if self.methods != {"GET"}:
            return inner

        async def handler(request: Request) -> Response:
            service = service_of(request)
            await admitted(request, "read")
            return await service.answers.give(
                request,
                lambda: self._state(service, request),
                inner,
                is_costly=self._is_costly(request),
            )

        return handler

    def _is_costly(self, request: Request) -> bool:
        del request
        return True

    @abstractmethod
    def _state(self, service: Service, request: Request) -> State | None: ...


class OfFacts(_Kept):
    """Answers that depend on the facts of the run that their path names."""

    def _state(self, service: Service, request: Request) -> State | None:
        return service.states.of_facts(request.path_params["run_id"])


class OfRuns(_Kept):
    """Answers about the list of runs, or about the run that their path names."""

    def _state(self, service: Service, request: Request) -> State | None:
        run_id = request.path_params.get("run_id")
        if run_id is None:
            return service.states.of_list()
        return service.states.of_run(run_id)

    def _is_costly(self, request: Request) -> bool:
        return not request.url.path.endswith("/runs")  # that one is in memory


class OfLab(_Kept):
    """Answers that may depend on any run."""

    def _state(self, service: Service, request: Request) -> State | None:
        del request
        return service.states.of_everything()


class OfNothing(_Kept):
    """Answers that stay the same while the server lives."""

    def _state(self, service: Service, request: Request) -> State | None:
        del service, request
        return ()
