"""How soon the API answers and tells, while a run trains on the same machine.

    python tests/benchmarks/api.py [--parts reads,pages,list]

``reads``: many people at once read a lab with a long history. ``pages``: a crowd follows
the run live. ``list``: a lab with five times as many runs. A table is printed, and one
line of JSON last; ``--json`` prints that line alone, ``--markdown`` a table for a page.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import api_lab
import api_table
import httpx
import numpy as np
from api_served import Served, asked, served, training
from store_history import History

from flip_lab.runs.run import Run

Figures = dict[str, Any]


def reads(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure what readers wait, by what they ask for."""
    lab = api_lab.make(folder / "lab-1000", History(runs=1000, clients=20))
    turns: list[dict[str, Any]] = []
    with training(lab) as run, served(lab) as server:
        begin_s, cpu_s = time.perf_counter(), server.cpu_s
        num_rounds = _rounds(run)
        for turn in range(1 + arguments.turns):
            load = (run.run_id, arguments.rate, arguments.users, arguments.seconds, turn)
            turns.append(asked("api_load.py", server.url, server.token, *load))
        took_s, busy_s = time.perf_counter() - begin_s, server.cpu_s - cpu_s
        num_rounds = _rounds(run) - num_rounds
    first, *later = turns
    figures: Figures = {
        f"read_{kind}": _spread([turn["took_ms"][kind] for turn in later])
        for kind in first["took_ms"]
    }
    figures["read_all"] = _spread([_all(turn["took_ms"].values()) for turn in later])
    figures["read_first"] = _spread([_all(first["took_ms"].values())])
    count = sum(len(took) for turn in turns for took in turn["took_ms"].values())
    return figures | {
        "reads": count,
        "reads_cpu_ms": round(1000 * busy_s / count, 1),
        "reads_failed": sum(len(turn["failed"]) for turn in turns),
        "reads_known_share": round(float(np.mean([t["known_share"] for t in turns])), 2),
        "reads_server_cores": round(busy_s / took_s, 2),
        "reads_rounds_meanwhile": num_rounds,
    }


def _rounds(run: Run) -> int:
    return sum(event.kind == "round_ended" for event in run.events())


def pages(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure how old events are when they reach a crowd."""
    lab = api_lab.make(folder / "lab-1000", History(runs=1000, clients=20))
    with training(lab) as run, served(lab) as server:
        begin_s, cpu_s = time.perf_counter(), server.cpu_s
        crowd = (run.run_id, arguments.pages, arguments.seconds)
        seen = asked("api_pages.py", server.url, server.token, *crowd)
        busy = (server.cpu_s - cpu_s) / (time.perf_counter() - begin_s)
        memory_mb = server.memory_mb
    return {
        "pages": arguments.pages,
        "pages_opened_s": round(seen["opened_s"], 1),
        "event_age": _spread([seen["ages_ms"]]),
        "pages_messages": len(seen["ages_ms"]),
        "pages_gaps": seen["gaps"],
        "pages_lost": seen["lost"],
        "pages_server_cores": round(busy, 2),
        "pages_server_mb": memory_mb,
    }


def long_list(_: argparse.Namespace, folder: Path) -> Figures:
    """Measure the list of five thousand runs."""
    lab = api_lab.make(folder / "lab-5000", History(runs=5000, rounds=5, clients=5))
    with served(lab) as server:
        took = {
            "list_first": _asked_often(server, "/runs?limit=100&q=prox&experiment={n}"),
            "list_again": _asked_often(server, "/runs?limit=100"),
            "list_1000": _asked_often(server, "/runs?limit=1000&seed={n}"),
        }
        figures: Figures = {key: _spread([some]) for key, some in took.items()}
        return figures | {
            "list_ready_s": round(server.ready_s, 2),
            "list_server_mb": server.memory_mb,
        }


def _asked_often(server: Served, path: str) -> list[float]:
    """Ask one after the other; ``{n}`` makes each question another one."""
    took_ms: list[float] = []
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(headers=headers) as client:
        for number in range(200):
            begin_s = time.perf_counter()
            client.get(server.url + path.format(n=number)).raise_for_status()
            took_ms.append(1000 * (time.perf_counter() - begin_s))
    return took_ms


def _all(several: Any) -> list[float]:  # noqa: ANN401  # lists of numbers
    return [value for some in several for value in some]


def _spread(turns: Sequence[Sequence[float]]) -> dict[str, float]:
    """Give quantiles over all turns, and how far the turns' p95 lie apart."""
    together = np.array(_all(turns))
    each = [float(np.quantile(np.array(turn), 0.95)) for turn in turns]
    p50, p95, p99 = (round(float(np.quantile(together, q)), 1) for q in (0.5, 0.95, 0.99))
    return {
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "p95_lowest": round(min(each), 1),
        "p95_highest": round(max(each), 1),
    }


_PARTS: Mapping[str, Callable[[argparse.Namespace, Path], Figures]] = {
    "reads": reads,
    "pages": pages,
    "list": long_list,
}


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a crowd of sockets
    figures: Figures = {"load_at_start": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        place = Path(arguments.keep or folder)
        place.mkdir(parents=True, exist_ok=True)
        for name in arguments.parts:
            figures |= _PARTS[name](arguments, place)
    figures["load_at_end"] = round(os.getloadavg()[0], 2)
    if not arguments.json:
        show = api_table.as_markdown if arguments.markdown else api_table.as_text
        print(show(figures))
    print(json.dumps(figures), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=_part_names, default=[*_PARTS])
    parser.add_argument("--turns", type=int, default=4, help="turns, after the first")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="reads a second, of all together"
    )
    parser.add_argument("--users", type=int, default=100, help="people who read at once")
    parser.add_argument("--pages", type=int, default=1000, help="pages that watch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of a turn")
    parser.add_argument(
        "--keep", default="", metavar="FOLDER", help="keep the labs there, or take them"
    )
    parser.add_argument("--folder", help="where to write; a disk, no memory")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--markdown", action="store_true", help="a table for a page")
    return parser.parse_args()


def _part_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := sorted(set(names) - set(_PARTS)):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    main()
