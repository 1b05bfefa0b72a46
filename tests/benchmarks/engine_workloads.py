"""What is trained in the benchmark: the workloads, the same for every side."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from flip_lab.core.seeds import Stream

SEED = 7
"""The seed of every run: of its cohorts, and of the weights it begins with."""

Model = Literal["cnn", "logistic", "small_mlp", "large_mlp"]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One job to measure; every client trains for one epoch in each round.

    Attributes:
        name: How the command line calls it.
        title: What it is, in a line.
        model: Which model is trained.
        num_nodes: Simulated nodes.
        cohort: Nodes that train in each round.
        num_examples: Examples that each node holds.
        rate: Learning rate of the clients' SGD.
        rounds: Rounds in a turn, unless the command line says otherwise.
        batch_size: Examples in a batch.
        is_notebook: Whether the ClientApp is defined in ``__main__`` and touches a large
            global, as cells of a notebook do.
    """

    name: str
    title: str
    model: Model
    num_nodes: int
    cohort: int
    num_examples: int
    rate: float
    rounds: int
    batch_size: int = 10
    is_notebook: bool = False

    def draw_cohort(self, server_round: int) -> list[int]:
        """Give the partitions that train in a round: those that the engines sample.

        Flower's FedAvg draws them from Python's global generator, which the engines set
        from this very stream, and the engines list nodes in order of their partitions.
        ``run_simulation`` has random node ids, so its cohorts are its own.
        """
        stream = Stream(seed=SEED, server_round=server_round, phase="server")
        generator = random.Random(stream.integer())  # noqa: S311  # a cohort, no secret
        return generator.sample(range(self.num_nodes), self.cohort)


_ALL = (
    Workload(
        name="A",
        title="CNN of 0.4 MB, 10 of 100 clients, 100 images each",
        model="cnn",
        num_nodes=100,
        cohort=10,
        num_examples=100,
        rate=0.05,
        rounds=5,
    ),
    Workload(
        name="B",
        title="logistic regression of 0.19 MB, 100 of 1,000 clients, 20 images each",
        model="logistic",
        num_nodes=1_000,
        cohort=100,
        num_examples=20,
        rate=0.05,
        rounds=25,
    ),
    Workload(
        name="B2",
        title="MLP 784-64-62 of 0.22 MB, 100 of 1,000 clients, 20 images each",
        model="small_mlp",
        num_nodes=1_000,
        cohort=100,
        num_examples=20,
        rate=0.1,
        rounds=20,
    ),
    Workload(
        name="C",
        title="MLP of 9.5 MB, 10 of 100 clients, 100 images each",
        model="large_mlp",
        num_nodes=100,
        cohort=10,
        num_examples=100,
        rate=0.05,
        rounds=3,
    ),
    Workload(
        name="D",
        title="as B, with 1,000,000 nodes",
        model="logistic",
        num_nodes=1_000_000,
        cohort=100,
        num_examples=20,
        rate=0.05,
        rounds=10,
    ),
    Workload(
        name="E",
        title="a ClientApp from a notebook with a 50 MB global, 20 of 100 clients, 1 step",
        model="logistic",
        num_nodes=100,
        cohort=20,
        num_examples=10,
        rate=0.05,
        rounds=20,
        is_notebook=True,
    ),
)

WORKLOADS = {workload.name: workload for workload in _ALL}

FEW_NODES = {"D": "B"}
"""Workloads that are compared with another one of fewer nodes."""
