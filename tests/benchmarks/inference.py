"""How long a site's endpoint takes for a prediction: p50 and p95, in this process.

``python tests/benchmarks/inference.py [--seconds 3]`` prints one row for each scenario and
size of a batch. What is timed is the whole way through the app, from the request's body to
the answer's last byte, without a network.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from flip_lab.core.clock import tick_s
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.fl.scenarios import load_scenario
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.app import create_app
from flip_lab.node.serving.served import ServedModels
from flip_lab.testing.serving_site import ServingSite

TOKEN = "benchmark-benchmark"  # noqa: S105  # opens nothing
SCENARIOS = ("hospitals", "digits-iid", "mnist-iid")
BATCHES = (1, 100, 1000)
_WARM_UP = 20


def site_of(scenario: str, directory: Path) -> ServingSite:
    """Give a site with one version of a scenario's model."""
    config = {"partition-id": 0, "num-partitions": 4}
    site = ServingSite(
        config=NodeConfig(name="bench", hub="hub:8443", directory=directory, config=config)
    )
    site.deliver(1, of=scenario)
    return site


def body_of(scenario: str, num_examples: int) -> bytes:
    """Give a request's body; what was not measured is null."""
    data = load_dataset(load_scenario(scenario).data.dataset)
    rows = np.resize(data.features, (num_examples, *data.shape))
    if not np.isnan(rows).any():
        return json.dumps({"inputs": rows.tolist()}).encode()
    told = [[None if np.isnan(x) else float(x) for x in row] for row in rows]
    return json.dumps({"inputs": told}).encode()


async def ask(app: Any, body: bytes) -> float:  # noqa: ANN401  # an ASGI app
    """Ask once; give the seconds that it took.

    Raises:
        RuntimeError: If it was not answered with predictions.
    """
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {TOKEN}".encode())],
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    begin_s = tick_s()
    await app(scope, receive, send)
    if sent[0]["status"] != 200:
        raise RuntimeError(sent[1]["body"].decode())
    return tick_s() - begin_s


async def measure(site: ServingSite, body: bytes, seconds: float) -> list[float]:
    """Ask one after another for some seconds."""
    app = create_app(ServedModels(site.config, site.shelf), token=TOKEN)
    async with app.router.lifespan_context(app):
        for _ in range(_WARM_UP):
            await ask(app, body)
        taken: list[float] = []
        begin_s = tick_s()
        while tick_s() - begin_s < seconds:
            taken.append(await ask(app, body))
    return taken


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=3.0, help="for each row")
    seconds = options.parse_args().seconds
    print("| scenario | examples | p50, ms | p95, ms | requests |")
    print("|---|---|---|---|---|")
    for scenario in SCENARIOS:
        with tempfile.TemporaryDirectory() as directory:
            site = site_of(scenario, Path(directory))
            for num_examples in BATCHES:
                body = body_of(scenario, num_examples)
                taken = asyncio.run(measure(site, body, seconds))
                p50, p95 = np.quantile(taken, (0.5, 0.95)) * 1000
                row = (scenario, f"{num_examples:,}", f"{p50:.2f}", f"{p95:.2f}")
                print(f"| {' | '.join(row)} | {len(taken):,} |")


if __name__ == "__main__":
    main()
