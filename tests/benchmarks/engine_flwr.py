"""Flower's own ``run_simulation``, with the same app."""

from __future__ import annotations

import logging
from contextlib import suppress

from engine_app import GateClosedError, client_app, server_app
from engine_gate import Gate
from engine_notebook import define_client
from engine_workloads import Workload
from flwr.simulation import run_simulation  # noqa: TID251  # what we compare with


def run(workload: Workload, gate: Gate) -> None:
    """Run rounds until the gate closes; Ray belongs to Flower."""
    del gate  # the app finds it
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    with suppress(GateClosedError):
        run_simulation(
            server_app,
            define_client() if workload.is_notebook else client_app,
            num_supernodes=workload.num_nodes,
            backend_config={
                "init_args": {
                    "num_cpus": 2,
                    "logging_level": "ERROR",
                    "log_to_driver": False,
                },
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
