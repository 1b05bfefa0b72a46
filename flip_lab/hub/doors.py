"""What the doors of a hub have in common: how a request ends, well or not, and threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.types import Receive, Scope, Send

from flip_lab.core.errors import FlipLabError
from flip_lab.engines.flower.superlink_wire import told
from flip_lab.hub.bodies import GoneError, answer, refuse

_THREADS = 8  # what they do is mostly hashing and copying; more would only take turns
_Result = TypeVar("_Result")


class Door(ABC):
    """An ASGI app for calls of Flower's: whatever goes wrong has an answer."""

    def __init__(self) -> None:
        """Serve nobody yet."""
        self._threads = CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say why not."""
        try:
            await self._serve(scope, receive, send)
        except GoneError:
            return
        except FlipLabError as error:
            await refuse(send, error)
        except Exception as error:  # noqa: BLE001  # whatever Flower raises, nobody sees it
            status, content = told(error)
            await answer(send, status, content, media_type="application/json")

    @abstractmethod
    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            GoneError: If nobody is there to hear the answer.
            FlipLabError: If it is refused.
            Exception: Whatever goes wrong in Flower.
        """

    async def _in_thread(self, work: Callable[..., _Result], *said: Any) -> _Result:  # noqa: ANN401
        """Do something that takes a while, and let others have their turn."""
        return await to_thread.run_sync(work, *said, limiter=self._threads)
