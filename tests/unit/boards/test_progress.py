"""Progress is a pure fold of the events: same events, same picture, bounded size."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.boards.run.progress import RunProgress
from flip_lab.core.events import ClientFact, EventKind, RunEvent
from flip_lab.core.state import RunState

Story = Callable[..., list[RunEvent]]
NEW = RunProgress(run_id="261121-194512-q7xd", name="Hearts")


def event(
    sequence: int, kind: EventKind, server_round: int = 1, **body: object
) -> RunEvent:
    """Give one event at second ``sequence``."""
    return RunEvent(
        run_id=NEW.run_id,
        sequence=sequence,
        time_s=float(sequence),
        server_round=server_round,
        kind=kind,
        body=body,  # pyright: ignore[reportArgumentType]  # a test's own bodies
    )


@given(cuts=st.lists(st.integers(0, 80), max_size=6), again=st.integers(0, 20))
def test_the_fold_does_not_depend_on_how_events_arrive(cuts: list[int], again: int) -> None:
    """In any pieces, and with pieces sent twice, the progress is the same."""
    events = [
        event(
            at, EventKind.METRIC, at, phase="train", scope="federated", name="l", value=at
        )
        if at % 3
        else event(at, EventKind.CLIENT, at, **_fact(at).body())
        for at in range(80)
    ]
    whole = NEW.apply(events)
    progress = NEW
    for begin, end in pairwise(sorted({0, 80, *cuts})):
        progress = progress.apply(events[max(0, begin - again) : end])
    assert progress == whole
    assert json.dumps(progress.snapshot()) == json.dumps(whole.snapshot())


def _fact(node: int) -> ClientFact:
    return ClientFact(
        phase="train",
        node_id=node,
        partition_id=node,
        num_examples=1,
        started_s=0.0,
        duration_s=1.0,
        bytes_down=1,
        bytes_up=1,
        error_code=node % 2,
    )


def test_fraction_eta_and_elapsed_follow_the_rounds(story: Story) -> None:
    """Three rounds of eight seconds done, seven to go."""
    progress = NEW.apply(story(rounds=3, planned=10))
    assert progress.state is RunState.RUNNING
    assert (progress.server_round, progress.rounds_done, progress.num_rounds) == (3, 3, 10)
    assert progress.fraction == pytest.approx(0.3)
    assert progress.eta_s == pytest.approx(7 * 8)
    assert progress.elapsed_s == pytest.approx(2 * 0.5 + 3 * 8)


def test_one_slow_round_does_not_bend_the_guess(story: Story) -> None:
    """The median of the recent rounds counts, so an outlier is ignored."""
    events = story(rounds=3)
    slow = event(len(events), EventKind.ROUND_ENDED, 4, duration_s=9999.0)
    assert NEW.apply([*events, slow]).eta_s == pytest.approx(6 * 8)


def test_the_bar_never_goes_back(story: Story) -> None:
    """Event by event the fraction grows, through both phases of each round."""
    progress, seen = NEW, [0.0]
    for one in story(rounds=2, planned=2, end={"state": "completed"}):
        progress = progress.apply([one])
        if progress.fraction is not None:
            seen.append(progress.fraction)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    # the first of two rounds: four clients train, then evaluate, half of the round each
    assert {1 / 16, 2 / 16, 3 / 16, 4 / 16, 5 / 16, 6 / 16, 7 / 16, 8 / 16} <= set(seen)


def test_the_guess_shrinks_within_a_round(story: Story) -> None:
    """Half-way through the round half a round less is left, never less than the others."""
    events = story(rounds=2, planned=4)
    began = next(at for at, one in enumerate(events) if one.server_round == 2)
    half = NEW.apply(events[: began + 6])
    assert half.eta_s is not None
    assert 2 * 8 <= half.eta_s < 3 * 8


def test_a_new_run_promises_nothing() -> None:
    """Before the first event there is neither a share nor a guess."""
    assert NEW.fraction is None
    assert NEW.eta_s is None
    snapshot = NEW.snapshot()
    assert (snapshot["state"], snapshot["round_words"]) == ("pending", "not started yet")
    assert snapshot["tiles"] == []
    assert snapshot["cohort"] is None


def test_a_failed_run_tells_code_what_and_fix(story: Story) -> None:
    """The coded error arrives whole; without one, the newest client's failure is shown."""
    failing = story(rounds=1, failing=frozenset({2}))
    shown = NEW.apply(failing).snapshot()["error"]
    assert shown is not None
    assert shown["what"] == (
        "The client of partition 2 failed in round 1: ValueError: <b>bad</b> data"
    )
    assert shown["detail"].startswith("Traceback")
    end = {
        "state": "failed",
        "code": "FLIP-303",
        "what": "All failed.",
        "fix": "Look.",
        "detail": "",
    }
    progress = NEW.apply(story(rounds=1, failing=frozenset({2}), end=end))
    assert progress.snapshot()["error"] == {
        "code": "FLIP-303",
        "what": "All failed.",
        "fix": "Look.",
        "detail": "",
    }
    assert progress.eta_s is None


def test_cohort_and_totals_count_replies_and_failures(story: Story) -> None:
    """The newest phase is shown; totals cover all of them."""
    snapshot = NEW.apply(story(rounds=2, nodes=4, failing=frozenset({0}))).snapshot()
    cohort = snapshot["cohort"]
    assert cohort is not None
    assert (cohort["phase"], cohort["squares"]) == ("evaluate", "fddd")
    assert cohort["words"] == "Evaluating: 3 of 4 clients done, 1 failed"
    assert snapshot["totals"] == "12 replies, 4 failures, 16 KiB down, 32 KiB up"


def test_diverged_metrics_are_json_and_said_in_words(story: Story) -> None:
    """NaN is no JSON: it becomes null in the points and a word on the tile."""
    losses = [0.5, math.nan, math.inf]
    tiles = NEW.apply(story(rounds=3, losses=losses)).snapshot()["tiles"]
    loss = next(tile for tile in tiles if tile["name"] == "eval_loss")
    assert loss["points"] == [[1, 0.5], [2, None], [3, None]]
    assert (loss["value"], loss["diverged"]) == ("∞", True)
    assert loss["best"] == "best 0.5, round 1"
    json.dumps(tiles, allow_nan=False)


def test_numbers_kept_as_text_are_read() -> None:
    """A journal without NaN in its JSON carries it as text."""
    body = {"phase": "train", "scope": "federated", "name": "l", "value": "NaN"}
    progress = NEW.apply([replace(event(0, EventKind.METRIC), body=body)])
    assert progress.snapshot()["tiles"][0]["value"] == "NaN"


def test_warnings_are_kept_to_the_newest_three() -> None:
    """All are counted, three are shown, long ones are cut."""
    events = [
        event(at, EventKind.WARNING, code="", message=f"{at}" * 300) for at in range(5)
    ]
    snapshot = NEW.apply(events).snapshot()
    assert snapshot["num_warnings"] == 5
    assert [words[0] for words in snapshot["warnings"]] == ["2", "3", "4"]
    assert max(map(len, snapshot["warnings"])) == 200


def test_the_snapshot_stays_small_whatever_the_run() -> None:
    """Ten thousand clients, a thousand rounds, fifty metrics, text in four-byte letters."""
    long = "\N{MATHEMATICAL FRAKTUR CAPITAL U}" * 5_000
    events: list[RunEvent] = []

    def tell(kind: EventKind, server_round: int, **body: object) -> None:
        events.append(event(len(events), kind, server_round, **body))

    for at in range(1, 1_001):
        tell(EventKind.ROUND_STARTED, at, num_rounds=1_000)
        for metric in range(50 if at % 20 == 0 else 1):
            said = {"phase": "evaluate", "scope": "federated", "name": f"{metric:02}{long}"}
            tell(EventKind.METRIC, at, value=-1.23456789e-5 * at, **said)
        tell(EventKind.WARNING, at, code=long, message=long)
        tell(EventKind.ROUND_ENDED, at, duration_s=1.0)
    tell(EventKind.DISPATCHED, 1_000, phase="train", node_ids=list(range(10_000)))
    for node in range(9_000):
        tell(EventKind.CLIENT, 1_000, **_fact(node).body())
    failed = dict.fromkeys(("code", "what", "fix", "detail"), long)
    tell(EventKind.STATE, 1_000, state="failed", **failed)
    snapshot = RunProgress(run_id=NEW.run_id, name=long).apply(events).snapshot()
    assert len(json.dumps(snapshot, ensure_ascii=False).encode()) <= 20_000
    assert snapshot["hidden_tiles"] == 42
    assert snapshot["cohort"] is not None
    assert snapshot["cohort"]["size"] == 10_000


def test_the_model_needs_neither_ipywidgets_nor_pandas() -> None:
    """The command line uses it as well."""
    program = (
        "import sys, flip_lab.boards.run.progress; "
        "assert not {'ipywidgets', 'anywidget', 'pandas', 'plotly'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
