"""Callbacks: a researcher's own code at the beginning and end of rounds, and per reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from flip_lab.core.events import ClientFact


class Callback:
    """Looks at a run while it goes on; write a subclass with the methods that you need.

    ``lab.launch(…, callbacks=[…])`` takes instances. They travel by value, with the state
    that they have then, and are called in the run's process, one after another, in the
    thread of the server loop. They may call ``flip_lab.log``.

    A run's bits never depend on them: they get copies, and the global random generators
    are put back after each call. One that raises is put on record as a warning and is not
    called again; the run goes on. What they keep in themselves is gone when the run's
    process ends; a resumed run begins with them as they were at the launch.
    """

    def on_round_begin(self, server_round: int) -> None:
        """A round has begun.

        Args:
            server_round: The round, 1-based.
        """

    def on_reply(self, fact: ClientFact, reply: Any) -> None:  # noqa: ANN401  # a Message; this package needs no Flower
        """A client has replied or failed; replies come in no promised order.

        Args:
            fact: What is on record of it: who, in which phase, how long, which metrics.
            reply: The reply (``flwr.app.Message``), a copy; ``reply.has_error()`` says
                whether the client failed.
        """

    def on_round_end(
        self,
        server_round: int,
        metrics: Mapping[str, float],
        arrays: Mapping[str, NDArray[Any]],
    ) -> None:
        """A round has ended; no checkpoint of it is written yet.

        Args:
            server_round: The round, 1-based.
            metrics: The round's metrics by name, as ``run.result().metrics`` has them:
                those that the server measured end in ``_central``.
            arrays: The model as last aggregated, by name, to read only; empty before the
                first aggregation.
        """
