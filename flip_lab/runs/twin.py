"""The digital twin of a real federation: its rounds again in simulation, with its times."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from flip_lab.analysis.fleet import Fleet
from flip_lab.analysis.fleet_facts import FleetFacts, facts_of, workload_of
from flip_lab.analysis.twin_choice import WhatIf
from flip_lab.analysis.twin_prediction import Prediction, predict
from flip_lab.analysis.twin_scores import TwinComparison, compare
from flip_lab.runs.forks import repeat_run, same_place
from flip_lab.runs.rerun import Rerun, Told
from flip_lab.runs.rerun import compare as compare_runs
from flip_lab.runs.run import Run

if TYPE_CHECKING:
    from flip_lab.core.policy import RoundPolicy
    from flip_lab.store.layout import LabDir


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A real run again in simulation, with the times that its fleet would take.

    Attributes:
        run: The simulated run, kept in the lab.
        difference: What it recorded otherwise than the real one; times aside.
        prediction: How long its rounds take on the fleet.
        rounds: ``server_round``, ``predicted_s``, ``low_s``, ``high_s`` and
            ``observed_s``, what the round really took (NaN where it did not end).
    """

    run: Run
    difference: Rerun
    prediction: Prediction
    rounds: pd.DataFrame

    @property
    def is_identical(self) -> bool:
        """Whether both runs gave the same numbers, and the same model, bit for bit."""
        return self.difference.ok

    def __repr__(self) -> str:
        """Say in a line what came out."""
        same = "identical" if self.is_identical else "not identical"
        total = self.prediction.total
        return (
            f"<Replay {self.run.run_id}: {same}, {total.value:.1f} s "
            f"({total.low:.1f} to {total.high:.1f}) on the fleet>"
        )


class Twin:
    """The digital twin of the federation that runs were made on.

    Made by ``Lab.twin``.

    Args:
        lab: The lab that keeps the runs.
        runs: Real runs on one federation, at least one; the first is the one that is
            replayed and compared with.

    Raises:
        TwinError: If the runs do not tell enough of their nodes.
    """

    def __init__(self, lab: LabDir, runs: Sequence[Run]) -> None:
        """Learn the fleet."""
        self._lab = lab
        self._replayed: Replay | None = None
        self.run = runs[0]
        self.fleet = Fleet.from_run(*runs)

    @cached_property
    def facts(self) -> FleetFacts:
        """What the run recorded of its nodes, as frames."""
        return facts_of([self.run])

    @cached_property
    def _workload(self) -> pd.DataFrame:
        return workload_of(self.run.events())

    def replay(
        self,
        *,
        on: str = "auto",
        workers: int | None = None,
        timeout_s: float | None = None,
    ) -> Replay:
        """Launch the real run again in simulation, and give its rounds the fleet's times.

        Seed, cohorts, partitions and edits are those of the real run; so are the bits of
        the model. What each client was asked is read off the simulated run.

        Args:
            on: An engine of this machine.
            workers: Processes that train side by side; ``None``: as the real run.
            timeout_s: How long to wait for the simulation, seconds; ``None`` waits.

        Raises:
            RunTimeoutError: If the simulation has not ended by then.
            FlipLabError: If the run cannot be launched again.
        """
        real = self.run
        run_id = repeat_run(self._lab, real.spec, same_place(real.spec, on, workers))
        simulated = Run(self._lab, run_id)
        simulated.wait(timeout_s)
        events = simulated.events()
        prediction = predict(self.fleet, workload_of(events), policy=real.spec.policy)
        seen = self.facts.rounds.set_index("server_round")["duration_s"]
        rounds = prediction.rounds[["server_round", "predicted_s", "low_s", "high_s"]]
        self._replayed = Replay(
            run=simulated,
            difference=compare_runs(
                Told(spec=real.spec, events=real.events()),
                Told(spec=simulated.spec, events=events),
            ),
            prediction=prediction,
            rounds=rounds.assign(observed_s=rounds["server_round"].map(seen)),
        )
        return self._replayed

    def compare(
        self, *, learn_share: float = 0.5, confidence: float = 0.9
    ) -> TwinComparison:
        """Learn from the first rounds of the run alone, and foretell the others.

        What each client is asked comes from the simulation, if there was a replay, else
        from what the run recorded. No time of a foretold round is looked at.

        Args:
            learn_share: Share of the rounds to learn from, between 0 and 1.
            confidence: Of the intervals, between 0 and 1.

        Raises:
            TwinError: If the run has fewer than four rounds, or the first ones do not tell
                enough.
            AnalysisError: If a share is none.
        """
        replayed = self._replayed
        workload = workload_of(replayed.run.events()) if replayed else self._workload
        return compare(
            self.facts,
            workload,
            policy=self.run.spec.policy,
            learn_share=learn_share,
            confidence=confidence,
        )

    def what_if(  # noqa: PLR0913  # one parameter for each thing that may be otherwise
        self,
        name: str = "as it was",
        *,
        cohort_size: int | None = None,
        without: Collection[int] = (),
        slower: Mapping[int, float] | None = None,
        examples_factor: float = 1.0,
        bytes_factor: float = 1.0,
        policy: RoundPolicy | None = None,
        confidence: float = 0.9,
    ) -> Prediction:
        """Predict the run's rounds under other conditions; nothing is launched.

        Args:
            name: What a table and a figure call it.
            cohort_size: Nodes asked in each phase, 1 or more, drawn from all alike.
            without: Partitions whose nodes take no part.
            slower: How many times longer nodes compute, by partition.
            examples_factor: How many times more examples each message works on.
            bytes_factor: How many times more bytes go each way: a larger model.
            policy: When a round closes: deadline, quorum, over-selection; ``None`` keeps
                the run's own policy.
            confidence: Of the intervals, between 0 and 1.

        Returns:
            The prediction. It says how long, not what the model would be: for that,
            launch the change in simulation.

        Raises:
            InvalidValueError: If a value is out of its range.
            TwinError: If nobody is left to ask.
        """
        question = WhatIf(
            name=name,
            cohort_size=cohort_size,
            without=frozenset(without),
            slower=dict(slower or {}),
            examples_factor=examples_factor,
            bytes_factor=bytes_factor,
            policy=policy,
        )
        return predict(
            self.fleet,
            self._workload,
            what_if=question,
            policy=self.run.spec.policy,
            confidence=confidence,
        )

    def __repr__(self) -> str:
        """Say whose twin it is."""
        fleet = self.fleet
        told = f"{len(fleet.nodes)} nodes, {fleet.num_rounds} rounds"
        return f"<Twin of {self.run.spec.federation}: {told}>"
