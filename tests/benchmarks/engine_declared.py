"""The same client, declared as data: what the engine ``vectorised`` trains many at once.

It draws its batches in an order of its own, so its accuracy is equal within noise only.
"""

from __future__ import annotations

from engine_training import build_model, load_partition
from engine_workloads import WORKLOADS, Workload
from flwr.app import Context
from torch import nn

from flip_lab.fl.data.dataset import Features, Labels
from flip_lab.fl.declared import ClientDeclaration, RunConfig, declared_app


def _workload(run_config: RunConfig) -> Workload:
    return WORKLOADS[str(run_config["workload"])]


def _build(run_config: RunConfig) -> nn.Module:
    return build_model(_workload(run_config).model)


def _load(context: Context) -> tuple[Features, Labels]:
    workload = _workload(context.run_config)
    partition_id = int(context.node_config["partition-id"])
    images, labels = load_partition(partition_id, workload.num_examples)
    return images.numpy(), labels.numpy()


client_app = declared_app(ClientDeclaration(build_model=_build, load_train_data=_load))
