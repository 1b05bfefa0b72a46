"""What clients changed: the arrays of their replies less those that they were sent.

Arrays of whole numbers, such as the counters of a batch normalisation, are no part of an
update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flwr.app import ArrayRecord, Message

from flip_lab.engines.flower.arrays import backing
from flip_lab.engines.flower.messages import WEIGHT_KEYS, reply_metrics
from flip_lab.engines.flower.update_sums import (
    Reals,
    Values,
    difference,
    is_like,
    measure,
    norm_of,
    shares_of,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Updates:
    """The updates of some clients in numbers; all arrays are in the clients' order.

    Attributes:
        node_ids: The clients whose replies carry arrays like those that were sent.
        layers: Names of the arrays that were compared.
        layer_norms: L2 norm of each client's update of each array, clients × layers; what
            a client did not send back counts as unchanged. NaN or infinite where the
            client's values are.
        cosines: Cosine similarity of each client's update with the mean update, -1 to 1;
            the mean is weighted by examples, and of clients whose values are all finite.
            NaN for other clients, and where an update or the mean is 0.
    """

    node_ids: tuple[int, ...]
    layers: tuple[str, ...]
    layer_norms: Reals
    cosines: Reals

    @property
    def norms(self) -> Reals:
        """L2 norm of each client's whole update."""
        return np.sqrt(np.square(self.layer_norms).sum(axis=1))

    @property
    def drifts(self) -> Reals:
        """Each norm over the median of all finite ones; 1 is the middle client."""
        norms = self.norms
        finite = norms[np.isfinite(norms)]
        if not finite.size:
            return np.full(norms.shape, np.nan)
        middle = float(np.median(finite))
        if middle:
            return norms / middle
        return np.where(norms > 0, np.inf, np.where(np.isnan(norms), np.nan, 1.0))


def look_at_updates(replies: Sequence[Message], sent: ArrayRecord) -> Updates:
    """Measure what clients changed.

    Args:
        replies: The replies; those with an error or without arrays are left out.
        sent: The arrays that all of them were sent.
    """
    before = _weights_of(sent)
    pairs = [(reply, arrays_of(reply, sent)) for reply in replies]
    told = [(reply, values) for reply, values in pairs if _is_update(values, before)]
    weights = [weight_of(reply) for reply, _ in told]
    layer_norms, cosines = measure([values for _, values in told], before, weights)
    return Updates(
        node_ids=tuple(reply.metadata.src_node_id for reply, _ in told),
        layers=tuple(before),
        layer_norms=layer_norms,
        cosines=cosines,
    )


def update_metrics(reply: Message, sent: ArrayRecord | None) -> dict[str, float]:
    """Give ``update_norm``, to be recorded as a metric of the client.

    Args:
        reply: Its reply.
        sent: The arrays that it was sent.

    Returns:
        The L2 norm of its update; empty when the reply carries none.
    """
    before = _weights_of(sent or ArrayRecord())
    values = arrays_of(reply, sent)
    return {"update_norm": norm_of(values, before)} if _is_update(values, before) else {}


def update_of(reply: Message, sent: ArrayRecord) -> Values:
    """Give what one client changed, by array; arrays of whole numbers are left out."""
    return difference(arrays_of(reply, sent), _weights_of(sent))


def mean_update(
    replies: Sequence[Message], sent: ArrayRecord, looked_at: Updates
) -> Values:
    """Average what clients changed, weighted by examples; whoever diverged is left out.

    Args:
        replies: The replies.
        sent: The arrays that all of them were sent.
        looked_at: What ``look_at_updates`` gave of them.
    """
    finite = np.isfinite(looked_at.norms)
    good = {node for node, keep in zip(looked_at.node_ids, finite, strict=True) if keep}
    chosen = [reply for reply in replies if reply.metadata.src_node_id in good]
    weights = shares_of([weight_of(reply) for reply in chosen])
    mean = {name: np.zeros_like(values) for name, values in _weights_of(sent).items()}
    for reply, weight in zip(chosen, weights, strict=True):
        for name, values in update_of(reply, sent).items():
            mean[name] += values * values.dtype.type(weight)
    return mean


def weight_of(reply: Message) -> float:
    """Give the number of examples that a client reports; 0 when it reports none."""
    metrics = reply_metrics(reply)
    return next((metrics[key] for key in WEIGHT_KEYS if key in metrics), 0.0)


def values_of(record: ArrayRecord) -> Values:
    """Give the arrays of a record, to read only; what NumPy cannot read is left out."""
    found: Values = {}
    for name, array in record.items():
        try:
            values = backing(array).view()
        except (TypeError, ValueError):  # another serialisation, or damaged
            continue
        values.flags.writeable = False
        found[name] = values
    return found


def _weights_of(sent: ArrayRecord) -> Values:
    """Give the arrays that can be updated: floating point numbers."""
    return {
        name: values
        for name, values in values_of(sent).items()
        if values.dtype.kind == "f" and values.size
    }


def arrays_of(reply: Message, sent: ArrayRecord | None) -> Values:
    """Give the arrays of a reply: of its record that is most like what was sent."""
    if reply.has_error() or not reply.has_content():
        return {}
    records = [each for each in reply.content.values() if isinstance(each, ArrayRecord)]
    if not records:
        return {}
    known = set(sent or ())
    return values_of(max(records, key=lambda record: len(known.intersection(record))))


def _is_update(values: Values, before: Values) -> bool:
    return any(is_like(each, before.get(name)) for name, each in values.items())
