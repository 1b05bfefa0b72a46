"""What a twin foretells: honest about rounds it never saw, and sensible about what-ifs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.fleet_facts import facts_of, workload_of
from flip_lab.analysis.twin_choice import WhatIf
from flip_lab.analysis.twin_prediction import Prediction, predict
from flip_lab.analysis.twin_scores import TwinComparison, compare
from flip_lab.core.errors import AnalysisError, InvalidValueError, TwinError
from flip_lab.core.policy import RoundPolicy
from flip_lab.testing.recorded_run import KnownNode, KnownSpec, RecordedRun

SECONDS = (0.5, 1.0, 2.0, 3.0, 8.0)
RUN = RecordedRun(
    nodes=[KnownNode(compute_s=each) for each in SECONDS],
    num_rounds=20,
    cohort_size=4,
    log_sigma=0.15,
)
FLEET = Fleet.from_run(RUN)
WORKLOAD = workload_of(RUN.events())


def compared(run: RecordedRun, *, learn_share: float = 0.5) -> TwinComparison:
    """Learn from the first rounds of a run, and foretell the others."""
    return compare(facts_of([run]), workload_of(run.events()), learn_share=learn_share)


def asked(question: WhatIf) -> Prediction:
    """Ask the fleet of this file."""
    return predict(FLEET, WORKLOAD, what_if=question)


def test_the_interval_holds_what_it_promises() -> None:
    """Over 12 federations, near 90 % of foretold rounds and messages lie inside."""
    inside: list[pd.DataFrame] = []
    for seed in range(12):
        run = replace(RUN, seed=seed, shared_log_sigma=0.1)
        found = compared(run)
        inside.append(found.summary().set_index("what")[["coverage", "mape"]])
    mean = pd.concat(inside).groupby("what").mean()
    assert mean["coverage"].between(0.85, 0.97).all()
    assert (mean["mape"] < 0.2).all()


@settings(max_examples=10)
@given(confidence=st.floats(0.5, 0.98), seed=st.integers(0, 20))
def test_a_wider_confidence_gives_a_wider_interval(confidence: float, seed: int) -> None:
    """And the median does not move with it."""
    few = WORKLOAD.query("server_round <= 3")
    narrow = predict(FLEET, few, confidence=confidence, num_draws=200, seed=seed)
    wide = predict(FLEET, few, confidence=0.99, num_draws=200, seed=seed)
    assert (wide.rounds["low_s"] <= narrow.rounds["low_s"]).all()
    assert (wide.rounds["high_s"] >= narrow.rounds["high_s"]).all()
    assert (wide.rounds["predicted_s"] == narrow.rounds["predicted_s"]).all()
    assert (narrow.rounds["low_s"] <= narrow.rounds["predicted_s"]).all()


def test_the_same_question_gets_the_same_answer() -> None:
    """Draws come from a seed, and from nothing else."""
    one, again = predict(FLEET, WORKLOAD), predict(FLEET, WORKLOAD)
    pd.testing.assert_frame_equal(one.rounds, again.rounds)
    pd.testing.assert_frame_equal(one.clients, again.clients)
    other = predict(FLEET, WORKLOAD, seed=1)
    assert not np.array_equal(one.round_s, other.round_s)
    read = predict(Fleet.from_json(FLEET.to_json()), WORKLOAD)
    pd.testing.assert_frame_equal(one.rounds, read.rounds)


def test_foretold_rounds_are_not_learned_from() -> None:
    """Other times in the second half change no prediction of it."""
    facts, workload = facts_of([RUN]), workload_of(RUN.events())
    late = facts.clients["server_round"] > 10
    spoilt = facts.clients.assign(
        duration_s=facts.clients["duration_s"].where(~late, 1_000.0)
    )
    rounds = facts.rounds.assign(
        duration_s=facts.rounds["duration_s"].where(
            facts.rounds["server_round"] <= 10, 2_000.0
        )
    )
    honest = compare(facts, workload)
    blind = compare(replace(facts, clients=spoilt, rounds=rounds), workload)
    columns = ["server_round", "is_learned", "predicted_s", "low_s", "high_s"]
    pd.testing.assert_frame_equal(honest.rounds[columns], blind.rounds[columns])
    assert honest.rounds["is_learned"].sum() == 10
    assert blind.summary().set_index("what")["coverage"]["rounds"] == 0


def test_ranks_tell_slow_nodes_from_fast_ones() -> None:
    """With every node asked each round, all predicted rounds are alike: no rank then."""
    everyone = compared(replace(RUN, cohort_size=None)).summary().set_index("what")
    assert np.isnan(everyone["spearman"]["rounds"])
    assert everyone["spearman"]["messages"] > 0.9
    some = compared(RUN).summary().set_index("what")
    assert some["spearman"]["rounds"] > 0.3


def test_the_first_round_is_foretold_with_its_warming_up() -> None:
    """It is the longest, and known to be."""
    nodes = [KnownNode(warm_up_s=20.0)] * 3
    run = RecordedRun(nodes=nodes, num_rounds=6)
    found = predict(Fleet.from_run(run), workload_of(run.events()))
    assert found.rounds["predicted_s"].iloc[0] == pytest.approx(21.5, rel=0.05)
    assert (found.rounds["predicted_s"].iloc[1:] < 3).all()
    assert found.any_round.high < 3, "of a usual round; the total has it all"
    assert found.total.value > 25


def test_without_the_slowest_a_round_is_shorter() -> None:
    """It takes as long as the next one; the same for a node that computes faster."""
    as_it_was = asked(WhatIf()).total.value
    without = asked(WhatIf(without=frozenset({4}))).total.value
    assert without < 0.6 * as_it_was
    assert asked(WhatIf(slower={4: 3.0})).total.value > 1.3 * as_it_was
    assert asked(WhatIf(slower={0: 1.1})).total.value == pytest.approx(as_it_was, rel=0.02)
    only = asked(WhatIf(without=frozenset({0, 1, 2, 3})))
    assert set(only.clients["partition_id"]) == {4}


def test_smaller_cohorts_meet_the_slowest_less_often() -> None:
    """Two of five: a shorter round, and as many replies."""
    small, large = asked(WhatIf(cohort_size=2)), asked(WhatIf(cohort_size=5))
    assert small.any_round.value < large.any_round.value
    assert small.rounds["num_asked"].eq(2).all()
    assert large.rounds["num_asked"].eq(5).all()
    assert large.any_round.value == pytest.approx(10, rel=0.1)


def test_a_deadline_caps_training_and_costs_replies() -> None:
    """The slowest is late; with a quorum of all, no round with it counts."""
    policy = RoundPolicy(deadline_s=4.0, quorum=1.0)
    capped = asked(WhatIf(policy=policy)).rounds
    free = asked(WhatIf()).rounds
    assert (capped["high_s"] <= free["high_s"] + 0.1).all()
    assert capped["high_s"].max() < 4.0 + 4.0 + 1.0
    with_slowest = WORKLOAD.query("partition_id == 4 and phase == 'train'")["server_round"]
    hit = capped["server_round"].isin(with_slowest)
    assert (capped.loc[hit, "quorum_share"] < 0.05).all()
    assert (capped.loc[~hit, "quorum_share"] > 0.8).all()
    assert (capped.loc[hit, "num_replies"] <= 3.05).all()


@pytest.mark.parametrize("deadline_s", [7.5, 4.0, 1.5])
def test_who_misses_a_deadline_holds_up_what_is_asked_next(deadline_s: float) -> None:
    """Rounds as they really go then: slow nodes evaluate only when they have trained."""
    run = replace(RUN, cohort_size=None)
    policy = RoundPolicy(deadline_s=deadline_s)
    found = predict(
        Fleet.from_run(run), workload_of(run.events()), what_if=WhatIf(policy=policy)
    )
    really = replace(run, seed=1, spec=KnownSpec(policy=policy))
    observed = facts_of([really]).rounds["duration_s"]
    rounds = found.rounds
    inside = observed.between(rounds["low_s"], rounds["high_s"])
    assert inside.mean() >= 0.8
    assert rounds["predicted_s"].sum() == pytest.approx(observed.sum(), rel=0.1)


def test_asking_more_leaves_work_behind() -> None:
    """The two who did not count evaluate late: they still train."""
    free = asked(WhatIf(cohort_size=5))
    more = asked(WhatIf(cohort_size=3, policy=RoundPolicy(over_selection=0.6)))
    slowest = "partition_id == 4 and phase == 'evaluate' and server_round > 1"
    alone_s = free.clients.query(slowest)["predicted_s"].median()
    assert more.clients.query(slowest)["high_s"].median() > 2 * alone_s


def test_asking_more_than_needed_leaves_the_slowest_behind() -> None:
    """Three of five count: training closes with the third."""
    policy = RoundPolicy(over_selection=0.6)
    question = WhatIf(cohort_size=3, policy=policy)
    found = predict(FLEET, WORKLOAD.query("phase == 'train'"), what_if=question)
    assert found.rounds["num_asked"].eq(5).all()
    assert (found.rounds["num_replies"] <= 3).all()
    assert found.any_round.value == pytest.approx(2.0 + 0.2, rel=0.15)


def test_a_run_under_a_policy_is_foretold_under_it() -> None:
    """Five were asked for three: as it was, the third closes the round."""
    run = replace(RUN, cohort_size=None)
    before = RoundPolicy(over_selection=0.6)
    all_ = workload_of(run.events()).query("phase == 'train'")
    workload = all_.assign(is_counted=all_["partition_id"] < 3)  # as their run would say
    found = predict(Fleet.from_run(run), workload, policy=before)
    free = predict(Fleet.from_run(run), workload)
    assert (found.rounds["predicted_s"] < 0.4 * free.rounds["predicted_s"]).all()
    assert (found.rounds["num_replies"] <= 3).all()


def test_where_nobody_was_left_to_ask_besides_all_were_wanted() -> None:
    """All five counted, so the strategy wanted five: more is asked of nobody."""
    run = replace(RUN, cohort_size=None)
    policy = RoundPolicy(over_selection=0.6)
    found = predict(Fleet.from_run(run), workload_of(run.events()), policy=policy)
    assert (found.rounds["num_asked"] == 5).all()
    assert (found.rounds["num_replies"] == 5).all()


def test_a_larger_model_is_as_uncertain_as_the_network() -> None:
    """Known parts give a narrow answer, unknown ones a wide; both hold the truth."""
    node = KnownNode(compute_s=2.0, s_per_mib=0.5)
    mute = RecordedRun(nodes=[node] * 3, num_rounds=30, log_sigma=0.05)
    widths: list[float] = []
    question = WhatIf(bytes_factor=4.0)
    truth_s = (2.0 + 4 * 1.0 + 0.4 + 4 * 0.5) * 1.05 + 0.2
    for run in (mute, replace(mute, tells_work=True)):
        few = workload_of(run.events()).query("server_round <= 5")
        found = predict(Fleet.from_run(run), few, what_if=question).any_round
        assert found.low < truth_s < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2


def test_a_node_never_seen_is_taken_for_a_usual_one() -> None:
    """With an interval as wide as nodes differ."""
    stranger = WORKLOAD[WORKLOAD["partition_id"] == 4].assign(partition_id=77)
    found = predict(FLEET, stranger).clients
    trained = found[found["phase"] == "train"].iloc[0]
    assert trained["low_s"] < 0.7
    assert trained["high_s"] > 6


def test_failures_cost_replies_not_predictions() -> None:
    """Every second message of a node fails: as many replies are missing."""
    nodes = [KnownNode(), KnownNode(error_rate=0.5)]
    run = RecordedRun(nodes=nodes, num_rounds=60)
    found = predict(Fleet.from_run(run), workload_of(run.events())).rounds
    assert found["num_replies"].mean() == pytest.approx(1.5, abs=0.15)


def test_a_node_that_is_often_away_is_asked_less_often() -> None:
    """Half the time away: half the messages."""
    away = {"code": "node_lost", "message": "…", "partition_id": 1, "node_id": 1_001}
    run = RecordedRun(nodes=[KnownNode()] * 2, num_rounds=20)
    half_s = facts_of([run]).watched_s / 2
    run = replace(run, warnings=[(half_s, away)])
    found = predict(Fleet.from_run(run), workload_of(run.events())).rounds
    assert found["num_asked"].mean() == pytest.approx(1.5, abs=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cohort_size": 0},
        {"bytes_factor": 0.0},
        {"examples_factor": float("nan")},
        {"slower": {1: -2.0}},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """Each says which value it is about."""
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        WhatIf(**wrong)


def test_too_little_to_compare_is_refused() -> None:
    """Three rounds cannot be both learned from and foretold; nobody cannot be asked."""
    with pytest.raises(TwinError, match="3 rounds ended"):
        compared(replace(RUN, num_rounds=3))
    with pytest.raises(AnalysisError, match="learn_share"):
        compared(RUN, learn_share=1.0)
    with pytest.raises(AnalysisError, match="confidence"):
        predict(FLEET, WORKLOAD, confidence=1.5)
    with pytest.raises(TwinError, match="Nobody"):
        asked(WhatIf(without=frozenset(range(5))))
