"""Who takes part: chosen by what a hub knows, waited for, and named when nobody fits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from flip_lab.core.cohort import NodeFacts
from flip_lab.core.errors import CohortError
from flip_lab.engines.chosen_nodes import ChosenNodes, fit_to_choice

KNOWN = {
    11: NodeFacts(name="berlin", tags=frozenset({"eu"}), partition_id=0),
    12: NodeFacts(name="paris", tags=frozenset({"eu", "slow"}), partition_id=1),
    13: NodeFacts(name="boston", tags=frozenset({"us"}), partition_id=2),
}


def partition_of(node_id: int) -> int:
    """Give a node's partition; -1 for strangers."""
    return KNOWN[node_id].partition_id if node_id in KNOWN else -1


def test_everybody_takes_part_unless_there_is_a_choice() -> None:
    """The list itself comes back: nodes cost nothing, however many there are."""
    nodes = range(10**9)
    chosen = ChosenNodes("")
    assert chosen.among(nodes, lambda node: node) is nodes
    assert chosen.num_wanted(7) == 7
    chosen.require_somebody(nodes, lambda node: node)


def test_nodes_are_chosen_by_what_the_hub_knows() -> None:
    """In the order in which they were given."""
    chosen = ChosenNodes("eu", lambda: KNOWN)
    assert list(chosen.among([13, 12, 11], partition_of)) == [12, 11]


def test_the_hub_is_asked_when_somebody_new_comes_and_not_otherwise() -> None:
    """A node that is tagged and enrolled in mid-run takes part from then on."""
    known = {11: KNOWN[11]}
    asked: list[int] = []

    def look_up() -> dict[int, NodeFacts]:
        asked.append(len(known))
        return dict(known)

    chosen = ChosenNodes("eu", look_up)
    assert list(chosen.among([11], partition_of)) == [11]
    assert list(chosen.among([11], partition_of)) == [11]
    assert len(asked) == 1
    known[12] = KNOWN[12]
    assert list(chosen.among([11, 12], partition_of)) == [11, 12]
    assert len(asked) == 2


def test_a_run_waits_for_those_who_were_chosen() -> None:
    """As many as are known to the hub, whether they are there or not."""
    chosen = ChosenNodes("eu", lambda: KNOWN)
    assert chosen.num_wanted(3) == 3  # nobody is known yet
    list(chosen.among([11], partition_of))
    assert chosen.num_wanted(3) == 2
    assert ChosenNodes("0, 2, 9").num_wanted(3) == 2


def test_nobody_is_named_with_what_there_is() -> None:
    """Tags, names and partitions, so that the next try is right."""
    chosen = ChosenNodes("asia", lambda: KNOWN)
    with pytest.raises(CohortError) as caught:
        chosen.require_somebody([11, 12, 13], partition_of)
    assert "tags: eu, slow, us" in caught.value.what
    assert "names: berlin, boston, paris" in caught.value.what
    assert "partitions: 0, 1, 2" in caught.value.what
    assert chosen.num_wanted(3) == 0


def test_names_need_somebody_who_knows_them() -> None:
    """A stock SuperLink and a simulation know partitions only."""
    with pytest.raises(CohortError, match="'eu', 'name:b\\*'"):
        ChosenNodes("eu or name:b*")
    assert list(ChosenNodes("1-2").among([11, 12, 13], partition_of)) == [12, 13]


def test_a_strategy_does_not_wait_for_those_who_take_no_part() -> None:
    """What it was told to wait for is lowered; what it cannot do without is an error."""
    strategy = SimpleNamespace(min_available_nodes=4, min_train_nodes=2)
    fit_to_choice(strategy, "", 1)
    assert strategy.min_available_nodes == 4
    fit_to_choice(strategy, "eu", 3)
    assert (strategy.min_available_nodes, strategy.min_train_nodes) == (3, 2)
    with pytest.raises(CohortError, match="min_train_nodes is 2"):
        fit_to_choice(strategy, "eu", 1)
