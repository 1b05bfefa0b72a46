"""What of a message's time is its node's own, and how long a round waited for nodes.

A node carries out the messages of one run one after another. Where a round closed without
it, as at a deadline, it still works while the next message lies there: that message takes
longer from dispatch to reply, though the node is as fast as ever.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from flip_lab.core.policy import RoundPolicy

_TELLS = 0.004  # seconds that a message travels and waits, at least
_KEYS = ["run_id", "server_round", "phase"]


def with_own_times(clients: pd.DataFrame) -> pd.DataFrame:
    """Say of each message of one run how long its node had it, queues aside.

    Args:
        clients: ``partition_id``, ``sent_s``, ``began_s``, ``duration_s``, ``node_s`` and
            ``is_late``; durations of late ones end when the node was done.

    Returns:
        The same, with late ones until their reply was here, and with ``own_s``: seconds
        from its dispatch, or from the end of the node's message before it if that came
        later, until the reply. NaN where none ever came.
    """
    told = _with_return_trips(_with_node_times(clients))
    order = told.sort_values("sent_s", kind="stable")
    end_s = order["sent_s"] + order["duration_s"]
    by_node = end_s.fillna(-np.inf).groupby(order["partition_id"])
    before_s = by_node.cummax().groupby(order["partition_id"]).shift()
    queued_s = (before_s - order["sent_s"]).clip(lower=0).fillna(0.0)
    own_s = order["duration_s"] - queued_s
    # two clocks told it: it cannot be less than the node worked
    least_s = order["node_s"].fillna(0.0).clip(upper=order["duration_s"])
    return told.assign(own_s=np.maximum(own_s, least_s))


def _with_node_times(clients: pd.DataFrame) -> pd.DataFrame:
    """Forget times that nodes did not take themselves.

    A stock SuperNode says nothing, and the driver puts down how long it waited.
    """
    elsewhere = clients["duration_s"] - clients["node_s"]
    if elsewhere.median() >= _TELLS:
        return clients
    return clients.assign(node_s=np.nan)


def _with_return_trips(clients: pd.DataFrame) -> pd.DataFrame:
    """Add to late messages the way back, which nobody waited for.

    It is taken off the node's messages that were in time; where none was, it is as long as
    the quickest way there.
    """
    there_s = clients["began_s"] - clients["sent_s"]
    back_s = clients["duration_s"] - clients["node_s"] - there_s
    node = clients["partition_id"]
    trip_s = node.map(back_s.mask(clients["is_late"]).groupby(node).median())
    quickest_s = there_s.where(clients["node_s"].notna()).groupby(node).min()
    trip_s = trip_s.fillna(node.map(quickest_s)).fillna(0.0).clip(lower=0)
    late_s = clients["duration_s"] + trip_s
    return clients.assign(duration_s=clients["duration_s"].mask(clients["is_late"], late_s))


def with_waits(
    rounds: pd.DataFrame, clients: pd.DataFrame, policy: RoundPolicy | None
) -> pd.DataFrame:
    """Say of each round of one run how long it waited for nodes.

    Args:
        rounds: ``run_id`` and ``server_round``.
        clients: Its messages.
        policy: When its rounds closed.

    Returns:
        The rounds with ``waited_s``: from dispatch to the last reply that counted, or to
        the deadline where that closed a phase; all phases together.
    """
    exchanges = clients.assign(
        end_s=(clients["sent_s"] + clients["duration_s"]).mask(clients["is_late"])
    ).groupby(_KEYS)
    spans = exchanges.agg(
        sent_s=("sent_s", "min"), end_s=("end_s", "max"), is_short=("is_late", "any")
    )
    waited_s = (spans["end_s"] - spans["sent_s"]).fillna(0.0)
    if policy and policy.deadline_s and not policy.over_selection:
        waited_s = waited_s.mask(spans["is_short"], policy.deadline_s)
    total_s = waited_s.groupby(_KEYS[:2]).sum()
    at = pd.MultiIndex.from_frame(rounds[_KEYS[:2]])
    return rounds.assign(waited_s=total_s.reindex(at).fillna(0.0).to_numpy())
