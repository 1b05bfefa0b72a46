"""A federation stops before a round is aggregated, and a notebook looks at the replies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from flip_lab.core.errors import NothingToInspectError
from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.round_replies import RoundReplies
from flip_lab.runs.run import Run

PATIENCE_S = 240.0
ENDLESS = 1_000_000
"""Rounds of a run that is under way whenever a command comes."""


def launch(
    lab: Lab, on: str = "in_process", *, break_when: Sequence[str] = (), **changes: float
) -> Run:
    """Start a short federation; the digits are spread unevenly over ten nodes.

    A break in its first round is told with the launch: later that round may be over.
    """
    overrides = {"num_rounds": 3, "local_epochs": 1, **changes}
    return lab.launch(
        "digits-dirichlet", on=on, workers=2, overrides=overrides, break_when=break_when
    )


def warnings(run: Run) -> list[str]:
    """Give the run's warnings in words."""
    told = [event.body for event in run.events() if event.kind is EventKind.WARNING]
    return [f"{body['code']}: {body['message']}" for body in told]


@pytest.mark.parametrize("on", ["in_process", "processes"])
def test_a_client_left_out_at_a_break_is_not_in_the_model(shared_lab: Lab, on: str) -> None:
    """What the next round is sent is the mean of the replies that were kept."""
    run = launch(shared_lab, on, break_when=["always"])
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    first = run.inspect()
    assert (first.server_round, first.because) == (1, "always: round 1")
    assert len(first.clients) == 10
    farthest = int(first.clients["partition_id"][first.clients["drift"].argmax()])
    run.exclude(farthest)
    kept = first.clients[first.clients["partition_id"] != farthest]
    shares = kept["num_examples"].to_numpy() / kept["num_examples"].sum()
    replied = [first.arrays(int(partition)) for partition in kept["partition_id"]]
    mean = {
        name: sum(w * each[name] for w, each in zip(shares, replied, strict=True))
        for name in first.sent
    }
    run.resume()
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    second = run.inspect()
    assert second.server_round == 2
    assert farthest not in set(second.clients["partition_id"])
    for name, values in second.sent.items():
        np.testing.assert_allclose(values, mean[name], rtol=1e-5, atol=1e-6)
    run.clear()
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert run.inspect().server_round == 2  # the newest break, also afterwards
    [marks] = shared_lab.family(run)["marks"]
    assert [m["server_round"] for m in marks if m["kind"] == "break"] == [1, 2]


def test_a_divergence_is_caught_before_it_is_aggregated(shared_lab: Lab) -> None:
    """A learning rate that is far too high: the first loss that is no number."""
    run = launch(
        shared_lab,
        break_when=["train_loss is not finite"],
        learning_rate=1e30,
        local_epochs=2,
    )
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    replies = run.inspect()
    broken = replies.clients[~np.isfinite(replies.clients["train_loss"])]
    assert len(broken)
    assert f"partition {broken['partition_id'].iloc[0]}" in replies.because
    assert all(np.isfinite(values).all() for values in replies.sent.values())
    assert all(np.isfinite(values).all() for values in replies.mean_update.values())
    run.stop()
    assert run.wait(PATIENCE_S) is RunState.STOPPED


def test_a_mistake_in_a_function_costs_no_run(shared_lab: Lab) -> None:
    """It is on record and cleared; one that answers stops the run with its words."""
    run = launch(shared_lab, num_rounds=ENDLESS)
    run.break_when(lambda replies: replies.metrics["no_such_metric"] > 1)

    def later(replies: RoundReplies) -> str | bool:
        return replies.server_round > 1 and f"{len(replies.clients)} replies"

    run.break_when(later)
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    stopped_in = run.inspect()
    assert stopped_in.because == f"10 replies: round {stopped_in.server_round}"
    run.clear()
    run.stop_when("eval_accuracy >= 0")
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    (warning,) = warnings(run)
    assert warning.startswith("FLIP-311")
    assert "no_such_metric" in warning


def test_a_disk_that_takes_no_replies_costs_no_run(shared_lab: Lab) -> None:
    """The run is paused all the same, with a warning; then it goes on."""
    run = launch(shared_lab, num_rounds=ENDLESS)
    with pytest.raises(NothingToInspectError):
        run.inspect()
    (run._dir / "inspect").write_text("in the way of the directory")
    run.break_when("always")
    assert run.wait_until_paused(PATIENCE_S) is RunState.PAUSED
    with pytest.raises(NothingToInspectError):
        run.inspect()
    run.clear()
    run.stop_when("eval_accuracy >= 0")
    run.resume()
    assert run.wait(PATIENCE_S) is RunState.COMPLETED, run.error
    assert any(warning.startswith("FLIP-401") for warning in warnings(run))
