"""A round's replies while the run's process holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from flwr.app import ArrayRecord, Message

from flip_lab.core.errors import NothingToInspectError
from flip_lab.core.round_numbers import UPDATE_NUMBERS, ClientNumbers, RoundNumbers
from flip_lab.engines.flower.messages import WEIGHT_KEYS, reply_metrics
from flip_lab.engines.flower.update_sums import Values
from flip_lab.engines.flower.updates import (
    Updates,
    arrays_of,
    look_at_updates,
    mean_update,
    values_of,
    weight_of,
)
from flip_lab.runs.round_replies import RepliesTable, ReplyFacts, RoundReplies


class LiveReplies(RoundReplies):
    """The replies of a round, not yet aggregated; arrays are looked at when asked for.

    Args:
        server_round: The round.
        replies: The replies, also those with an error.
        sent: The arrays that all of them were sent; ``None`` when there were none.
        partition_of: Gives the partition of a node; -1 when unknown.
        metrics: Metrics of the federation that are known already. To them come the means
            of what the replies report, weighted by examples.
        durations_s: Seconds that clients took, by partition.
        num_silent: Clients of the cohort that never replied.
    """

    def __init__(  # noqa: PLR0913  # what a round consists of
        self,
        server_round: int,
        replies: Sequence[Message],
        sent: ArrayRecord | None,
        *,
        partition_of: Callable[[int], int],
        metrics: Mapping[str, float] | None = None,
        durations_s: Mapping[int, float] | None = None,
        num_silent: int = 0,
    ) -> None:
        """Look at nothing yet."""
        self._round = server_round
        self._replies = replies
        self._sent = sent
        self._durations_s = durations_s or {}
        self._num_silent = num_silent
        self._clients = [
            self._client(reply, partition_of(reply.metadata.src_node_id))
            for reply in replies
        ]
        self._metrics = {**(metrics or {}), **_means(self._clients)}

    def _client(self, reply: Message, partition_id: int) -> ClientNumbers:
        found = reply_metrics(reply)
        numbers = {name: each for name, each in found.items() if name not in WEIGHT_KEYS}
        if not reply.has_error():
            numbers["num_examples"] = weight_of(reply)
        if partition_id in self._durations_s:
            numbers["duration_s"] = self._durations_s[partition_id]
        return ClientNumbers(
            node_id=reply.metadata.src_node_id, partition_id=partition_id, numbers=numbers
        )

    def numbers_for(self, *, with_updates: bool) -> RoundNumbers:
        """Give what conditions look at; arrays are looked at only ``with_updates``."""
        if with_updates:
            return self.numbers
        pairs = zip(self._clients, self._replies, strict=True)
        good = [client for client, reply in pairs if not reply.has_error()]
        return RoundNumbers(
            server_round=self._round,
            metrics=self._metrics,
            clients=good,
            failures=len(self._clients) - len(good) + self._num_silent,
        )

    @cached_property
    def _updates(self) -> Updates:
        return look_at_updates(self._replies, self._sent or ArrayRecord())

    def _read_table(self) -> RepliesTable:
        found = self._updates
        columns = zip(found.norms, found.drifts, found.cosines, strict=True)
        numbers = {
            node: dict(zip(UPDATE_NUMBERS, map(float, each), strict=True))
            for node, each in zip(found.node_ids, columns, strict=True)
        }
        norms = dict(zip(found.node_ids, found.layer_norms.tolist(), strict=True))
        return RepliesTable(
            server_round=self._round,
            replies=[
                ReplyFacts(
                    client=ClientNumbers(
                        node_id=client.node_id,
                        partition_id=client.partition_id,
                        numbers={**client.numbers, **numbers.get(client.node_id, {})},
                    ),
                    error=_error_of(reply),
                    layer_norms=norms.get(client.node_id, ()),
                )
                for client, reply in zip(self._clients, self._replies, strict=True)
            ],
            metrics=self._metrics,
            sent_norms={
                name: float(np.linalg.norm(self.sent[name].astype(np.float64)))
                for name in found.layers
            },
            num_silent=self._num_silent,
        )

    def _read_sent(self) -> Values:
        return values_of(self._sent or ArrayRecord())

    def _read_mean_update(self) -> Values:
        sent = self._sent or ArrayRecord()
        return mean_update(self._replies, sent, self._updates)

    def _arrays_of(self, who: ReplyFacts) -> Values:
        (reply,) = [
            each
            for each in self._replies
            if each.metadata.src_node_id == who.client.node_id
        ]
        found = arrays_of(reply, self._sent)
        if not found:
            raise NothingToInspectError(
                f"The reply of {who.client.name} holds no arrays.",
                fix="Its numbers are in .clients.",
            )
        return found


def _error_of(reply: Message) -> str:
    return (reply.error.reason or "no reason given") if reply.has_error() else ""


def _means(clients: Sequence[ClientNumbers]) -> dict[str, float]:
    """Average what clients report as Flower's strategies do: weighted by examples."""
    terms: dict[str, list[tuple[float, float]]] = {}
    for each in clients:
        weight = each.numbers.get("num_examples", 0.0)
        for name, value in each.numbers.items():
            if name not in {"num_examples", "duration_s"}:
                terms.setdefault(name, []).append((value, weight))
    means: dict[str, float] = {}
    for name, pairs in terms.items():
        values, weights = zip(*pairs, strict=True)
        shares = weights if sum(weights) > 0 else [1.0] * len(values)
        means[name] = sum(v * w for v, w in zip(values, shares, strict=True)) / sum(shares)
    return means
