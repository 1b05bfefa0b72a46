"""A round's replies before they are aggregated, as a researcher looks at them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from flip_lab.core.errors import NothingToInspectError
from flip_lab.core.round_numbers import UPDATE_NUMBERS, ClientNumbers, RoundNumbers
from flip_lab.engines.flower.update_sums import Values, difference

if TYPE_CHECKING:
    import pandas as pd

_FIRST = ("num_examples", *UPDATE_NUMBERS, "duration_s")
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyFacts:
    """What is known of one reply.

    Attributes:
        client: Who it is, with its numbers.
        error: What the client raised; empty when it replied well.
        layer_norms: L2 norm of its update of each array, in the table's order; empty when
            the reply holds no arrays like those that were sent.
    """

    client: ClientNumbers
    error: str = ""
    layer_norms: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class RepliesTable:
    """A round's replies in numbers; travels as JSON.

    Attributes:
        server_round: The round, 1-based.
        replies: All replies, in the order of the cohort.
        metrics: Metrics of the federation, as far as they are known.
        sent_norms: L2 norm of each array that was sent, by name.
        num_silent: Clients that never replied.
    """

    server_round: int
    replies: Sequence[ReplyFacts]
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    sent_norms: Mapping[str, float] = field(default_factory=dict[str, float])
    num_silent: int = 0

    @property
    def failures(self) -> int:
        """How many clients failed, or never replied."""
        return sum(bool(each.error) for each in self.replies) + self.num_silent

    def to_json(self) -> dict[str, Any]:
        """Give the table as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> RepliesTable:
        """Read what ``to_json`` gave.

        Raises:
            KeyError: If something is missing.
        """
        replies = [
            ReplyFacts(
                client=ClientNumbers(**each["client"]),
                error=each["error"],
                layer_norms=each["layer_norms"],
            )
            for each in body["replies"]
        ]
        return cls(
            server_round=body["server_round"],
            replies=replies,
            metrics=body["metrics"],
            sent_norms=body["sent_norms"],
            num_silent=body["num_silent"],
        )


class RoundReplies(ABC):
    """The replies of one round; clients are named by partition, or by node id.

    An update is a reply's arrays less those that were sent. ``update_norm`` is its L2 norm,
    ``drift`` that norm over the median norm of the round, and ``cosine`` its cosine
    similarity with the mean update, which is weighted by examples and leaves out clients
    whose values are not finite. Arrays are to be read only.
    """

    @cached_property
    def table(self) -> RepliesTable:
        """All numbers."""
        return self._read_table()

    @cached_property
    def sent(self) -> Values:
        """The arrays that the clients were sent, by name; empty when there were none."""
        return self._read_sent()

    @cached_property
    def mean_update(self) -> Values:
        """The mean update, weighted by examples, by the array's name."""
        return self._read_mean_update()

    @abstractmethod
    def _read_table(self) -> RepliesTable: ...

    @abstractmethod
    def _read_sent(self) -> Values: ...

    @abstractmethod
    def _read_mean_update(self) -> Values: ...

    @abstractmethod
    def _arrays_of(self, who: ReplyFacts) -> Values: ...

    @property
    def server_round(self) -> int:
        """The round, 1-based."""
        return self.table.server_round

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the federation so far, and the means of what clients report now."""
        return self.table.metrics

    @property
    def failures(self) -> int:
        """How many clients failed, or never replied."""
        return self.table.failures

    @property
    def numbers(self) -> RoundNumbers:
        """What conditions look at."""
        table = self.table
        return RoundNumbers(
            server_round=table.server_round,
            metrics=table.metrics,
            clients=[each.client for each in table.replies if not each.error],
            failures=table.failures,
        )

    @cached_property
    def clients(self) -> pd.DataFrame:
        """One row for each reply.

        ``node_id``, ``partition_id`` (-1 when unknown), ``num_examples``, ``update_norm``,
        ``drift``, ``cosine``, ``duration_s``, every metric that a client reported, and
        ``error`` (empty when it replied well). What is not known is NaN.
        """
        import pandas as pd

        rows = self.table.replies
        known = dict.fromkeys(name for each in rows for name in each.client.numbers)
        names = [*_FIRST, *(name for name in known if name not in _FIRST)]
        columns: dict[str, Any] = {
            "node_id": np.array([each.client.node_id for each in rows], np.uint64),
            "partition_id": np.array([e.client.partition_id for e in rows], np.int64),
        }
        for name in names:
            found = [each.client.numbers.get(name, np.nan) for each in rows]
            columns[name] = np.array(found, np.float64)
        return pd.DataFrame({**columns, "error": [each.error for each in rows]})

    def arrays(self, who: int) -> Values:
        """Give the arrays that a client sent back, by name.

        Args:
            who: The partition; or the node id.

        Raises:
            NothingToInspectError: If there is no such reply, or it has no arrays.
        """
        found = self._found(who)
        if found.error:
            raise NothingToInspectError(
                f"{found.client.name} sent no arrays back; it failed.",
                fix="Its error is in the column 'error' of .clients.",
                detail=found.error,
            )
        return self._arrays_of(found)

    def update(self, who: int) -> Values:
        """Give what a client changed: its arrays less those that it was sent, by name.

        Arrays of whole numbers are left out. Arguments and errors as of ``arrays``.
        """
        return difference(self.arrays(who), self.sent)

    def by_layer(self, who: int | None = None) -> pd.DataFrame:
        """Give the norms of updates array by array.

        Args:
            who: The partition or node id of one client; all clients by default.

        Returns:
            ``node_id``, ``partition_id``, ``layer``, ``update_norm`` and ``sent_norm``,
            the L2 norm of what was sent.

        Raises:
            NothingToInspectError: If there is no such reply.
        """
        import pandas as pd

        chosen = self.table.replies if who is None else [self._found(who)]
        layers = self.table.sent_norms
        rows = [
            (each.client.node_id, each.client.partition_id, layer, norm, layers[layer])
            for each in chosen
            for layer, norm in zip(layers, each.layer_norms, strict=False)
        ]
        columns = ["node_id", "partition_id", "layer", "update_norm", "sent_norm"]
        return pd.DataFrame(rows, columns=pd.Index(columns)).astype({"node_id": np.uint64})

    def _found(self, who: int) -> ReplyFacts:
        replies = self.table.replies
        for name in ("partition_id", "node_id"):
            for each in replies:
                if getattr(each.client, name) == who:
                    return each
        names = [each.client.name for each in replies[:_MOST_LISTED]]
        more = "…" if len(replies) > _MOST_LISTED else ""
        raise NothingToInspectError(
            f"Round {self.server_round} has no reply of {who!r}.",
            fix=f"Replied have: {', '.join(names) or 'none'}{more}.",
        )
