"""Apple's pfl, two workers: the same model, data, cohorts and steps in its own classes.

pfl has no clients as programs: it trains with its own loop and optimiser, on one resident
model in each worker, and sums the updates with ``torch.distributed``.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # as everybody calls it
from engine_gate import Gate
from engine_training import forward, initial_parameters, load_partition
from engine_workloads import WORKLOADS, Workload
from torch import Tensor, nn

AfterRound = Callable[[int, list[Tensor]], bool]
"""Told how many rounds are done; says whether to go on."""


class Net(nn.Module):
    """The workload's model as pfl wants it."""

    def __init__(self, workload: Workload) -> None:
        """Begin with the weights that every side begins with."""
        super().__init__()
        self._workload = workload
        values = initial_parameters(workload)
        self.values = nn.ParameterList([nn.Parameter(value) for value in values])

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Give the loss of a batch."""
        logits = forward(self._workload.model, list(self.values), images)
        return F.cross_entropy(logits, labels)

    def metrics(self, images: Tensor, labels: Tensor) -> dict[str, Any]:
        """Give nothing: the gate evaluates."""
        del images, labels
        return {}


def run(workload: Workload, gate: Gate) -> None:
    """Be the first worker, and start the second."""
    if find_spec("pfl") is None:
        gate.report(skipped='it is not installed: pip install "flip-lab[bench]"')
        return
    addresses = ",".join(f"localhost:{_free_port()}" for _ in range(2))
    os.environ |= {"PFL_WORKER_ADDRESSES": addresses, "PFL_WORKER_RANK": "0"}
    with subprocess.Popen(
        [sys.executable, __file__, workload.name],
        env=os.environ | {"PFL_WORKER_RANK": "1"},
    ) as second:
        try:
            _train(
                workload,
                lambda done, values: gate.round_begins(done + 1, lambda: values),
            )
        finally:
            second.kill()  # it waits for a round that never comes


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def _pfl(module: str) -> Any:  # noqa: ANN401  # an optional package without types
    return import_module(f"pfl.{module}")


def _train(workload: Workload, after_round: AfterRound) -> None:
    net = Net(workload)
    metrics = _pfl("metrics").Metrics

    class PassGate(_pfl("callback.base").TrainingProcessCallback):
        """Tells of each round that is done."""

        def on_train_begin(self, *, model: object) -> object:
            """Tell that training begins."""
            del model
            after_round(0, list(net.values))
            return metrics()

        def after_central_iteration(
            self, aggregate_metrics: object, model: object, *, central_iteration: int
        ) -> tuple[bool, object]:
            """Tell that a round is done."""
            del aggregate_metrics, model
            goes_on = after_round(central_iteration + 1, list(net.values))
            return not goes_on, metrics()

    optimisers = (torch.optim.SGD, torch.optim.SGD(net.parameters(), lr=1.0))
    model = _pfl("model.pytorch").PyTorchModel(net, *optimisers)
    data = _federation(workload)
    _pfl("algorithm.federated_averaging").FederatedAveraging().run(
        _pfl("algorithm.base").NNAlgorithmParams(
            central_num_iterations=sys.maxsize,
            evaluation_frequency=sys.maxsize,
            train_cohort_size=workload.cohort,
            val_cohort_size=None,
        ),
        _pfl("aggregate.simulate").SimulatedBackend(data, data),
        model,
        _pfl("hyperparam").NNTrainHyperParams(
            local_num_epochs=1,
            local_learning_rate=workload.rate,
            local_batch_size=workload.batch_size,
        ),
        callbacks=[PassGate()],
        send_metrics_to_platform=False,
    )


def _federation(workload: Workload) -> Any:  # noqa: ANN401  # as above
    nodes = _all_cohorts(workload)
    dataset = _pfl("data.dataset").Dataset

    def make_dataset(partition_id: int) -> object:
        examples = load_partition(partition_id, workload.num_examples)
        return dataset(examples, user_id=str(partition_id))

    return _pfl("data.federated_dataset").FederatedDataset(
        make_dataset, lambda: next(nodes)
    )


def _all_cohorts(workload: Workload) -> Iterator[int]:
    """Give the nodes of one round after another, as each worker asks for them."""
    for server_round in itertools.count(1):
        yield from workload.draw_cohort(server_round)


if __name__ == "__main__":
    torch.set_num_threads(1)
    _train(WORKLOADS[sys.argv[1]], lambda _done, _values: True)
