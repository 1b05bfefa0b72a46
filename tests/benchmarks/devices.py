"""What a round on real devices costs beside the training itself.

    python tests/benchmarks/devices.py [--nodes 4] [--model-mb 100] [--stock 2]

Starts a hub with warm nodes on this machine (TLS, signed requests), runs a scenario, and
subtracts the slowest client of each phase from each round. ``--model-mb`` lets an app carry
a model of that size; ``--stock`` does the same with Flower's own SuperLink and SuperNodes.
A table is printed, and one line of JSON last; ``--json`` prints that line alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from flip_lab import Lab
from flip_lab.core.state import RunState
from flip_lab.runs.run import Run
from flip_lab.testing.federation import LoopbackFederation
from flip_lab.testing.hub import LoopbackHub

_PATIENCE_S = 900.0
_MB = 10**6

_MANIFEST = """
[project]
name = "heavy"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "flip-lab"

[tool.flwr.app.components]
serverapp = "heavy.apps:server_app"
clientapp = "heavy.apps:app"

[tool.flwr.app.config]
num-server-rounds = {num_rounds}
num-values = {num_values}
"""
_APPS = """
import numpy as np
from flwr.app import ArrayRecord, MetricRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app, server_app = ClientApp(), ServerApp()

@app.train()
def train(message, context):
    arrays = [each + 1 for each in message.content["arrays"].to_numpy_ndarrays()]
    metrics = MetricRecord({"num-examples": 1})
    content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics})
    return Message(content, reply_to=message)

@server_app.main()
def main(grid, context):
    values = np.random.default_rng(0).normal(size=context.run_config["num-values"])
    FedAvg(fraction_evaluate=0.0).start(
        grid=grid,
        initial_arrays=ArrayRecord([values.astype(np.float32)]),
        num_rounds=context.run_config["num-server-rounds"],
    )
"""


def finished(run: Run) -> Run:
    """Wait for a run that must end well."""
    state = run.wait(_PATIENCE_S)
    if state is not RunState.COMPLETED:
        raise SystemExit(f"The run is {state}:\n{run.logs(tail=30)}")
    return run


def figures(lab: Lab, run: Run, *, work_s: float | None = None) -> dict[str, Any]:
    """Give what rounds took; the first is left out, in which everything warms up.

    Args:
        lab: Where the run is.
        run: A run that has ended.
        work_s: What the slowest clients of a round take, where nodes do not tell.
    """
    rows = lab.sql(
        f"SELECT server_round, duration_s FROM rounds WHERE run_id = '{run.run_id}' "  # noqa: S608  # our own id
        "AND server_round > 1 ORDER BY server_round"
    )
    clients = run.clients()
    slowest = clients.groupby(["server_round", "phase"])["duration_s"].max()
    working = slowest.groupby("server_round").sum()
    rounds = [float(each) for each in rows["duration_s"]]
    worked = [
        float(working[server_round]) if work_s is None else work_s
        for server_round in rows["server_round"]
    ]
    overheads = [one - other for one, other in zip(rounds, worked, strict=True)]
    return {
        "rounds": len(rounds),
        "round_s": median(rounds),
        "clients_s": median(worked),
        "overhead_s": median(overheads),
        "overhead_p95_s": quantiles(overheads, n=20)[-1],
        "failed": int((clients["error_code"] > 0).sum()),
        "peak_mib": _peak_mib(lab, run),
    }


def _peak_mib(lab: Lab, run: Run) -> float:
    """Give the most memory that the run process had, MiB."""
    rows = lab.sql(
        "SELECT coalesce(max(value), 0) AS most FROM resources "  # noqa: S608  # our own id
        f"WHERE run_id = '{run.run_id}' AND name = 'rss_mib'"
    )
    return float(rows["most"][0])


def heavy_app(directory: Path, *, model_mb: int, num_rounds: int) -> Path:
    """Write an app whose model has that many megabytes."""
    (directory / "heavy").mkdir(parents=True)
    manifest = _MANIFEST.format(num_rounds=num_rounds, num_values=model_mb * _MB // 4)
    (directory / "pyproject.toml").write_text(manifest)
    (directory / "heavy" / "__init__.py").touch()
    (directory / "heavy" / "apps.py").write_text(_APPS)
    return directory


def measure(arguments: argparse.Namespace, place: Path) -> Mapping[str, dict[str, Any]]:
    """Measure all sides, one after the other."""
    os.chdir(place)
    lab, config = Lab(place / "lab"), place / "flip-lab.toml"
    found: dict[str, dict[str, Any]] = {}
    changes = {"train.num_rounds": arguments.rounds}
    with LoopbackHub(arguments.nodes, node_options={"allow": ("any",)}) as hub:
        hub.write_config(config, "hub")
        run = lab.launch(
            "hospitals", on="hub", num_nodes=arguments.nodes, overrides=changes
        )
        found[f"our hub, {arguments.nodes} nodes"] = figures(lab, finished(run))
        if arguments.model_mb:
            app = heavy_app(place / "app", model_mb=arguments.model_mb, num_rounds=4)
            run = lab.launch(app, on="hub", num_nodes=arguments.nodes)
            name = f"our hub, {arguments.nodes} nodes, {arguments.model_mb} MB"
            found[name] = figures(lab, finished(run))
    if arguments.stock:
        work_s = next(iter(found.values()))["clients_s"]
        with LoopbackFederation(arguments.stock) as federation:
            federation.write_config(config, "stock")
            run = lab.launch(
                "hospitals",
                on="stock",
                num_nodes=arguments.stock,
                overrides={"train.num_rounds": 4},
            )
            name = f"Flower's own, {arguments.stock} nodes"
            found[name] = figures(lab, finished(run), work_s=work_s)
    return found


_COLUMNS = {
    "rounds": ("rounds", "{:d}"),
    "round_s": ("round, s", "{:.3f}"),
    "clients_s": ("slowest clients, s", "{:.3f}"),
    "overhead_s": ("overhead, s", "{:.3f}"),
    "overhead_p95_s": ("p95, s", "{:.3f}"),
    "failed": ("failed calls", "{:d}"),
    "peak_mib": ("run process, MiB", "{:,.0f}"),
}


def table(found: Mapping[str, dict[str, Any]]) -> str:
    """Show the figures as Markdown."""
    lines = [
        "| side | " + " | ".join(title for title, _ in _COLUMNS.values()) + " |",
        "|---|" + "---:|" * len(_COLUMNS),
    ]
    for name, each in found.items():
        cells = [form.format(each[key]) for key, (_, form) in _COLUMNS.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure what the command line says, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=4, help="warm nodes of ours")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--model-mb", type=int, default=0, help="size of a heavy model")
    parser.add_argument("--stock", type=int, default=0, help="SuperNodes of Flower's own")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flip-devices-") as place:
        found = measure(arguments, Path(place))
    if not arguments.json:
        print(table(found))  # a program
    print(json.dumps(found))  # a program


if __name__ == "__main__":
    main()
