"""A hundred nodes at one hub: does it lose anything, and does it stay quick and small?

    python tests/load/hundred_nodes.py [--nodes 100] [--rounds 20] [--markdown | --json]

A hub with TLS, and all nodes with keys of their own, in one process; a run of many rounds
with every node in each. Meanwhile people read the hub's API at a constant rate, whatever
it does: a read that waits for its turn has waited since it was due. A table is printed,
and a line of JSON last.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from flip_lab.core.state import RunState
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.testing.hub import LoopbackHub

PATHS = (
    "/flip/v1/hub/nodes",
    "/flip/v1/hub",
    "/flip/v1/runs?limit=100",
    "/flip/v1/scenarios",
)
PATIENCE_S = 3600.0
_READERS = 8
Figures = dict[str, Any]


@dataclass(kw_only=True)
class Reading:
    """What people who read the hub's API have seen.

    Attributes:
        took_ms: How long each read took, from the moment that it was due.
        failed: Statuses other than 200 and 304, and names of errors.
    """

    took_ms: list[float] = field(default_factory=list[float])
    failed: list[str] = field(default_factory=list[str])


@contextmanager
def being_read(hub: LoopbackHub, rate: float) -> Iterator[Reading]:
    """Let people read the API at a constant rate, in threads of this process.

    Args:
        hub: The hub.
        rate: Reads a second, of all together.

    Yields:
        What they have seen so far.
    """
    reading, over = Reading(), threading.Event()
    headers = {"Authorization": f"Bearer {hub.token('viewer')}"}
    trust = ssl.create_default_context(cafile=hub.root_certificates)
    client = httpx.Client(
        base_url=f"https://{hub.address}",
        headers=headers,
        verify=trust,
        timeout=60,
        trust_env=False,
    )

    def ask(number: int, due_s: float) -> None:
        try:
            status = client.get(PATHS[number % len(PATHS)]).status_code
        except httpx.HTTPError as error:
            reading.failed.append(type(error).__name__)
            return
        reading.took_ms.append(1000 * (time.perf_counter() - due_s))
        if status not in {200, 304}:
            reading.failed.append(str(status))

    def go_on() -> None:
        begin_s, number = time.perf_counter(), 0
        with ThreadPoolExecutor(_READERS) as readers:
            while not over.wait(max(begin_s + number / rate - time.perf_counter(), 0)):
                readers.submit(ask, number, begin_s + number / rate)
                number += 1

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield reading
    finally:
        over.set()
        thread.join()
        client.close()


@contextmanager
def watched_memory(process_id: int) -> Iterator[list[int]]:
    """Look at a process's memory each half second.

    Args:
        process_id: The process.

    Yields:
        Its resident bytes so far.
    """
    seen: list[int] = [psutil.Process(process_id).memory_info().rss]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            seen.append(psutil.Process(process_id).memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def measured(num_nodes: int, num_rounds: int, rate: float, folder: Path) -> Figures:
    """Put the load on a hub, and measure.

    Args:
        num_nodes: Nodes, all of them in each round.
        num_rounds: Rounds of the run.
        rate: Reads of the API a second.
        folder: Where hub and lab are kept; a disk, no memory.
    """
    begin_s = time.perf_counter()
    with LoopbackHub(
        num_nodes, in_one_process=True, directory=folder / "hub", start_timeout_s=600
    ) as hub:
        started_s = time.perf_counter() - begin_s
        hub.write_config(folder / "flip-lab.toml", "crowd")
        os.chdir(folder)
        lab = Lab(folder / "lab")
        with watched_memory(hub.hub_process_id) as memory, being_read(hub, rate) as reading:
            run = lab.launch(
                "digits-iid",
                on="crowd",
                num_nodes=num_nodes,
                overrides={
                    "train.num_rounds": num_rounds,
                    "data.num_partitions": num_nodes,
                },
            )
            state = run.wait(PATIENCE_S)
        if state is not RunState.COMPLETED:
            raise SystemExit(f"The run ended as {state}: {run.error}")
        return {
            "nodes": num_nodes,
            "rounds": num_rounds,
            "started_s": round(started_s, 1),
            **what_came(lab, run, num_nodes, num_rounds),
            **how_quick(reading),
            "hub_memory_mb": round(max(memory) / 1e6),
            "hub_cpu_s": cpu_s(hub.hub_process_id),
            "nodes_cpu_s": cpu_s(hub.nodes[0].process_id),
        }


def cpu_s(process_id: int) -> float:
    """Give the seconds that a process has computed so far."""
    times = psutil.Process(process_id).cpu_times()
    return round(times.user + times.system, 1)


def what_came(lab: Lab, run: Run, num_nodes: int, num_rounds: int) -> Figures:
    """Count what was lost, and how long rounds took beside the training."""
    question = """
        SELECT server_round, phase, count(*) AS replies,
               count(*) FILTER (error_code != 0) AS failed,
               count(DISTINCT node_id) AS nodes, max(duration_s) AS slowest_s
        FROM clients WHERE run_id = ? AND server_round > 0 GROUP BY ALL"""
    phases = lab.sql(question, [run.run_id])
    rounds = lab.sql(
        "SELECT server_round, duration_s FROM rounds WHERE run_id = ? AND server_round > 0",
        [run.run_id],
    )
    slowest = phases.groupby("server_round")["slowest_s"].sum()
    overhead = (
        rounds["duration_s"] - rounds["server_round"].map(slowest).to_numpy()
    ).to_numpy()
    lost = sum(num_nodes - each for each in phases["nodes"])
    return {
        "rounds_done": len(rounds),
        "replies": int(phases["replies"].sum()),
        "lost": int(lost + phases["failed"].sum()) + (num_rounds - len(rounds)),
        "round_p50_s": round(float(rounds["duration_s"].median()), 2),
        "overhead_p50_s": round(float(np.median(overhead)), 2),
        "overhead_max_s": round(float(np.max(overhead)), 2),
    }


def how_quick(reading: Reading) -> Figures:
    """Give the quantiles of what readers waited."""
    took = np.array(reading.took_ms)
    quantiles = {
        f"api_p{q}_ms": round(float(np.percentile(took, q)), 1) for q in (50, 95, 99)
    }
    return {"reads": len(took), "reads_failed": len(reading.failed), **quantiles}


def as_markdown(figures: Figures) -> str:
    """Lay the figures out as a table for a page."""
    rows = [
        (f"{figures['nodes']} nodes online, from nothing", f"{figures['started_s']} s"),
        ("rounds, each with every node", f"{figures['rounds_done']}"),
        ("replies", f"{figures['replies']}"),
        ("lost or failed", f"{figures['lost']}"),
        ("a round (median)", f"{figures['round_p50_s']} s"),
        ("… beside its slowest clients (median)", f"{figures['overhead_p50_s']} s"),
        ("… (largest)", f"{figures['overhead_max_s']} s"),
        *(
            (f"API reads meanwhile, p{q}", f"{figures[f'api_p{q}_ms']} ms")
            for q in (50, 95, 99)
        ),
        ("… failed", f"{figures['reads_failed']} of {figures['reads']}"),
        ("the hub's memory (largest)", f"{figures['hub_memory_mb']} MB"),
        ("processor time of the hub", f"{figures['hub_cpu_s']} s"),
        ("processor time of all nodes", f"{figures['nodes_cpu_s']} s"),
    ]
    lines = [f"| {what} | {value} |" for what, value in rows]
    return "\n".join(["| what | figure |", "|---|---|", *lines])


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=100, help="nodes at the hub")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of the run")
    parser.add_argument("--rate", type=float, default=20.0, help="API reads a second")
    parser.add_argument("--folder", help="where to write; a disk, no memory")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--markdown", action="store_true", help="print the table alone")
    wanted = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        figures: Figures = {"load_at_start": round(os.getloadavg()[0], 2)}
        figures |= measured(wanted.nodes, wanted.rounds, wanted.rate, Path(folder))
    if not wanted.json:
        sys.stdout.write(f"{as_markdown(figures)}\n")
    if not wanted.markdown:
        sys.stdout.write(f"{json.dumps(figures)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
