"""A fleet is learned from what real runs recorded: known nodes are found again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.fleet_facts import facts_of, workload_of
from flip_lab.core.errors import TwinError
from flip_lab.core.events import EventKind, RunEvent
from flip_lab.core.fleet import Availability
from flip_lab.core.policy import LATE, NEVER_CAME, RoundPolicy
from flip_lab.testing.recorded_run import KnownNode, KnownSpec, RecordedRun

SLOW_AND_FAST = [KnownNode(compute_s=seconds) for seconds in (0.5, 1.0, 2.0, 8.0)]


@settings(max_examples=20)
@given(
    seconds=st.lists(st.floats(0.05, 50.0), min_size=1, max_size=5),
    overhead_s=st.floats(0.05, 5.0),
    seed=st.integers(0, 99),
)
def test_known_nodes_are_found_again(
    seconds: list[float], overhead_s: float, seed: int
) -> None:
    """Middle, spread and the server's share come back as they were put in."""
    nodes = [KnownNode(compute_s=each) for each in seconds]
    run = RecordedRun(nodes=nodes, num_rounds=40, overhead_s=overhead_s, seed=seed)
    fleet = Fleet.from_run(run)
    assert fleet.num_rounds == 40
    assert [node.partition_id for node in fleet.nodes] == list(range(len(nodes)))
    for node, known in zip(fleet.nodes, seconds, strict=True):
        timing = node.phases["train"].timing
        assert timing.median_s == pytest.approx(known, rel=0.12)
        assert timing.log_sigma == pytest.approx(0.1, rel=0.5)
        assert node.phases["evaluate"].timing.median_s == pytest.approx(
            0.2 * known, rel=0.12
        )
        assert node.availability.error_rate == 0
    assert fleet.server.overhead.median_s == pytest.approx(overhead_s, rel=0.1)


def test_more_rounds_make_it_surer() -> None:
    """The error of the middle falls as the root of the rounds; over 40 seeds, clearly."""
    errors: dict[int, float] = {}
    for num_rounds in (4, 64):
        found = [
            Fleet.from_run(
                RecordedRun(nodes=[KnownNode()], num_rounds=num_rounds, seed=seed)
            )
            for seed in range(40)
        ]
        medians = [fleet.nodes[0].phases["train"].timing.median_s for fleet in found]
        errors[num_rounds] = float(np.abs(np.log(medians)).mean())
    assert errors[64] < errors[4] / 2


def test_what_nodes_of_a_round_share_is_told_from_what_each_does() -> None:
    """A slow day for all is not taken for eight slow nodes."""
    run = RecordedRun(nodes=[KnownNode()] * 8, num_rounds=60, log_sigma=0.05)
    apart = Fleet.from_run(run)
    together = Fleet.from_run(replace(run, shared_log_sigma=0.3))
    assert apart.server.shared_log_sigma["train"] < 0.05
    assert together.server.shared_log_sigma["train"] == pytest.approx(0.3, rel=0.35)


def test_the_first_message_does_not_spoil_the_usual_time() -> None:
    """What warming up takes stands by itself."""
    node = KnownNode(compute_s=1.0, warm_up_s=30.0)
    [found] = Fleet.from_run(RecordedRun(nodes=[node], num_rounds=6)).nodes
    assert found.phases["train"].timing.median_s == pytest.approx(1.0, rel=0.2)
    assert found.warm_up_s == pytest.approx(30.0, rel=0.02)


def test_without_the_nodes_word_only_bounds_of_the_parts_are_known() -> None:
    """The truth lies within them, and the diagnosis says that they are bounds."""
    nodes = [KnownNode(compute_s=4.0, fixed_s=0.2, s_per_mib=0.1)] * 2
    fleet = Fleet.from_run(RecordedRun(nodes=nodes, num_rounds=30, model_mib=2))
    for node in fleet.nodes:
        train = node.phases["train"]
        total_s = 4.0 + 0.2 + 0.4
        assert train.compute_share[0] <= 4.0 / total_s <= train.compute_share[1]
        assert train.transfer_share[0] <= 0.4 / total_s <= train.transfer_share[1]
        assert train.transfer_share[1] - train.transfer_share[0] > 0.1
    known = fleet.diagnosis().set_index("what")["known"]
    assert known["network"] == "bounded"
    assert known["time of a message"] == "measured"


def test_nodes_that_say_how_long_they_worked_give_the_parts() -> None:
    """Computing, the network's rate and the fixed rest come back as they were put in."""
    nodes = [
        KnownNode(compute_s=2.0, fixed_s=0.3, s_per_mib=0.25),
        KnownNode(compute_s=6.0, fixed_s=0.1, s_per_mib=0.05),
    ]
    run = RecordedRun(
        nodes=nodes, num_rounds=40, model_mib=4, tells_work=True, log_sigma=0.02
    )
    fleet = Fleet.from_run(run)
    for found, put_in in zip(fleet.nodes, nodes, strict=True):
        train = found.phases["train"]
        per_example = train.compute_s_per_example
        assert per_example.value == pytest.approx(put_in.compute_s / 100, rel=0.05)
        rate = train.transfer_s_per_mib
        assert rate.low <= put_in.s_per_mib * 1.1
        assert rate.high >= put_in.s_per_mib * 0.9
        assert rate.value == pytest.approx(put_in.s_per_mib, rel=0.15)
        assert train.fixed_s.value == pytest.approx(put_in.fixed_s, abs=0.1)
    known = fleet.diagnosis().set_index("what")["known"]
    assert known[["computing", "network"]].tolist() == ["measured", "measured"]
    trained = fleet.summary().query("phase == 'train'")
    assert trained["compute_ms_per_example"].tolist() == pytest.approx([20, 60], rel=0.05)
    assert trained["transfer_s_per_mib"].tolist() == pytest.approx([0.25, 0.05], rel=0.15)


def test_runs_of_two_model_sizes_tell_the_network() -> None:
    """What one run leaves open, a second with a larger model closes."""
    node = KnownNode(compute_s=1.0, s_per_mib=0.5)
    small = RecordedRun(nodes=[node], num_rounds=30, run_id="small", log_sigma=0.03)
    large = replace(small, run_id="large", model_mib=8, seed=1)
    alone = Fleet.from_run(small).nodes[0].phases["train"].transfer_s_per_mib
    both = Fleet.from_run(small, large)
    assert both.run_ids == ("small", "large")
    rate = both.nodes[0].phases["train"].transfer_s_per_mib
    assert rate.high - rate.low < alone.high - alone.low
    assert rate.low <= 0.5 * 1.05
    assert rate.high >= 0.5 * 0.95


def test_failures_and_outages_are_counted_by_node() -> None:
    """Who failed, how often, and how long who was away."""
    nodes = [KnownNode(), KnownNode(error_rate=0.5)]
    away = {"code": "node_lost", "message": "…", "partition_id": 0, "node_id": 1_000}
    back = {**away, "code": "node_back"}
    run = RecordedRun(nodes=nodes, num_rounds=30, warnings=[(5.0, away), (9.0, back)])
    steady, failing = (node.availability for node in Fleet.from_run(run).nodes)
    assert steady.num_failed == 0
    assert (steady.num_outages, steady.down_s) == (1, pytest.approx(4.0))
    assert steady.mean_down_s == pytest.approx(4.0)
    assert 0.8 < steady.share_up < 1
    assert failing.error_rate == pytest.approx(0.5, abs=0.15)
    assert failing.mean_up_s is None
    assert failing.share_up == 1
    assert Availability(num_asked=0, num_failed=0).error_rate == 0


def test_what_lay_in_an_outage_of_the_hub_is_not_learned_from() -> None:
    """It is counted, and said."""
    run = RecordedRun(nodes=SLOW_AND_FAST, num_rounds=10)
    lost = {"code": "hub_lost", "message": "…"}
    back = {"code": "hub_back", "message": "…"}
    whole = facts_of([run])
    less = facts_of([replace(run, warnings=[(1.0, lost), (12.0, back)])])
    assert 0 < less.num_disturbed < len(whole.clients)
    assert len(less.clients) == len(whole.clients) - less.num_disturbed
    assert len(less.rounds) < len(whole.rounds)
    told = Fleet.from_facts(less).diagnosis().set_index("what")["because"]
    assert "the hub was away" in told["time of a message"]


def test_a_late_reply_is_no_failure_and_tells_its_time() -> None:
    """A deadline hides neither who is slow, nor how slow, nor what the server takes."""
    spec = KnownSpec(policy=RoundPolicy(deadline_s=4.0))
    run = RecordedRun(nodes=SLOW_AND_FAST, num_rounds=20, spec=spec)
    fleet = Fleet.from_run(run)
    slow = fleet.by_partition[3]
    assert slow.availability.num_failed == 0
    assert slow.phases["train"].timing.median_s == pytest.approx(8.0, rel=0.1)
    assert fleet.server.overhead.median_s == pytest.approx(0.2, rel=0.2)
    assert facts_of([run]).clients["is_late"].sum() >= 20


def test_a_message_behind_another_one_is_not_a_slow_one() -> None:
    """Evaluating waits until late training is done, but is as quick as it was."""
    spec = KnownSpec(policy=RoundPolicy(deadline_s=7.0))
    late = RecordedRun(nodes=SLOW_AND_FAST, num_rounds=20, spec=spec)
    waited = facts_of([late]).answered.query("partition_id == 3 and phase == 'evaluate'")
    assert waited["duration_s"].median() > 2.2
    learned = Fleet.from_run(late).by_partition[3].phases["evaluate"]
    assert learned.timing.median_s == pytest.approx(1.6, rel=0.1)
    assert learned.timing.log_sigma < 0.25


def test_a_late_reply_has_its_way_back_as_others_have() -> None:
    """Nobody waited for it, so only the node's own word says when it was done."""
    nodes = [KnownNode(compute_s=seconds, fixed_s=1.5) for seconds in (0.5, 4.0)]
    spec = KnownSpec(policy=RoundPolicy(deadline_s=4.5))
    late = RecordedRun(nodes=nodes, num_rounds=20, spec=spec, tells_work=True)
    facts = facts_of([late])
    assert facts.clients.query("is_late and phase == 'train'")["partition_id"].eq(1).all()
    train = Fleet.from_facts(facts).by_partition[1].phases["train"]
    assert train.timing.median_s == pytest.approx(5.5, rel=0.1)


def test_who_was_never_heard_of_again_tells_nothing() -> None:
    """A late reply that never came has no time; its node is as quick as its others say."""
    spec = KnownSpec(policy=RoundPolicy(deadline_s=4.0))
    run = RecordedRun(nodes=SLOW_AND_FAST, num_rounds=8, spec=spec)
    gone = [
        replace(event, body={**event.body, "error": f"{NEVER_CAME}, and so on."})
        if event.server_round > 4 and event.body.get("error_code") == LATE
        else event
        for event in run.events()
    ]
    told = facts_of([Altered(run, gone)]).clients.query("is_late")
    assert told["duration_s"].isna().tolist() == (told["server_round"] > 4).tolist()


def test_json_keeps_every_number() -> None:
    """What is read back is the same fleet, and predicts the same."""
    nodes = [KnownNode(compute_s=1 / 3, error_rate=0.2), KnownNode(compute_s=2 / 7)]
    fleet = Fleet.from_run(RecordedRun(nodes=nodes, num_rounds=7))
    assert Fleet.from_json(fleet.to_json()) == fleet


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2}', "3"])
def test_other_json_is_refused(text: str) -> None:
    """Neither a half nor a future fleet is guessed at."""
    with pytest.raises(TwinError, match="Learn it again"):
        Fleet.from_json(text)


def test_json_of_a_wrong_shape_is_refused() -> None:
    """A node without its times is no node."""
    data = json.loads(Fleet.from_run(RecordedRun(nodes=SLOW_AND_FAST)).to_json())
    del data["nodes"][0]["phases"]["train"]["timing"]["median_s"]
    with pytest.raises(TwinError, match="median_s"):
        Fleet.from_json(json.dumps(data))


def test_a_summary_has_a_row_for_each_node_and_phase() -> None:
    """Also for a node that never answered: silence is a fact."""
    nodes = [*SLOW_AND_FAST, KnownNode(error_rate=1.0)]
    summary = Fleet.from_run(RecordedRun(nodes=nodes, num_rounds=8)).summary()
    assert len(summary) == 2 * 4 + 1
    silent = summary[summary["partition_id"] == 4].iloc[0]
    assert silent["error_rate"] == 1
    assert np.isnan(silent["median_s"])
    trained = summary[summary["phase"] == "train"]
    assert (trained["low_s"] < trained["median_s"]).all()
    assert (trained["median_s"] < trained["high_s"]).all()


class Altered:
    """A run whose events are other than they were."""

    def __init__(self, run: RecordedRun, events: list[RunEvent]) -> None:
        self.run_id, self.spec, self._events = run.run_id, run.spec, events

    def events(self) -> list[RunEvent]:
        """Give them."""
        return self._events


def without_times(event: RunEvent) -> RunEvent:
    """Take a client's time away."""
    body = {**event.body, "duration_s": 0.0} if event.kind is EventKind.CLIENT else {}
    return replace(event, time_s=1.0, body=body or event.body)


def test_runs_that_tell_too_little_are_refused_and_say_what_is_missing() -> None:
    """Simulated, imported, of one round, all failed, without times: each by its name."""
    run = RecordedRun(nodes=SLOW_AND_FAST, num_rounds=5)
    whole_rounds = [e for e in run.events() if e.kind is not EventKind.CLIENT]
    timeless = [without_times(event) for event in run.events()]
    refused = {
        "was simulated": run.simulated(),
        "tells nothing of single clients": Altered(run, whole_rounds),
        "1 rounds ended": replace(run, num_rounds=1),
        "none of 40 messages was answered well": replace(
            run, nodes=[KnownNode(error_rate=1.0)] * 4
        ),
        "no client has a duration": Altered(run, timeless),
    }
    for words, each in refused.items():
        with pytest.raises(TwinError, match=words) as caught:
            Fleet.from_run(each)
        assert caught.value.code == "FLIP-816"
        assert caught.value.fix
    with pytest.raises(TwinError, match="No run"):
        Fleet.from_run()


def test_a_workload_holds_no_times() -> None:
    """What is replayed is who was asked what; a simulated run tells it as well."""
    run = RecordedRun(nodes=SLOW_AND_FAST, num_rounds=3, cohort_size=2)
    workload = workload_of(run.events())
    assert not [name for name in workload.columns if name.endswith("_s")]
    assert workload.equals(workload_of(run.simulated().events()))
    assert workload.groupby(["server_round", "phase"]).size().eq(2).all()
    assert workload["is_first"].sum() == workload["partition_id"].nunique()
