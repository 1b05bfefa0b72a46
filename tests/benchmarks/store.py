"""What the store costs and gives, beside the tools that people would take instead.

Sides that are compared take turns, A B C A B C, in one process tree, so that a machine
that others use, too, slows all of them alike; ratios are medians of ratios turn by turn.

    python tests/benchmarks/store.py [--parts logging,writers,history,kills,recording]

A table is printed, and one line of JSON last; ``--json`` prints that line alone. A side
that is not installed is named as missing. MLflow may live in another environment:
``--mlflow-python`` names its interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import store_history
import store_kills
import store_logging
import store_questions
import store_recording
import store_table
import store_writers
from store_side import size_of

from flip_lab.store.layout import LabDir

_LOGGED = {"flip_series": 100_000, "flip_emit": 100_000, "raw": 100_000}
Figures = dict[str, Any]


def logging(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure how fast points are logged."""
    return store_logging.measure(
        folder,
        turns=arguments.turns,
        points=_LOGGED
        | {"tensorboard": arguments.slow_points, "mlflow": arguments.slow_points},
        mlflow_python=arguments.mlflow_python,
    )


def writers(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure eight writers, and who watches them."""
    few = min(arguments.turns, 3)
    figures = store_writers.throughput(folder / "fast", turns=few, seconds=2.0)
    return figures | store_writers.watched(folder / "paced", seconds=arguments.seconds)


def history(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure questions to a lab of a thousand runs."""
    wanted = store_history.History(runs=arguments.runs)
    place = Path(arguments.keep or folder)
    place.mkdir(parents=True, exist_ok=True)
    lab = store_history.make(place / f"lab-{wanted.runs}", wanted)
    file = store_questions.by_hand(
        LabDir(lab.path), place / f"by-hand-{wanted.runs}.duckdb"
    )
    sizes = {
        "history_mb": round(size_of(lab.path / "segments") / 1e6),
        "history_client_rows": wanted.runs * wanted.rounds * wanted.clients,
        "single_file_mb": round(file.stat().st_size / 1e6),
    }
    return sizes | store_questions.measure(lab, file, wanted, turns=arguments.turns)


def kills(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure what kills cost."""
    return store_kills.measure(folder, trials=arguments.kills)


def recording(arguments: argparse.Namespace, folder: Path) -> Figures:
    """Measure what recording costs a round."""
    return store_recording.measure(
        folder, workload=arguments.workload, turns=arguments.turns
    )


_PARTS: Mapping[str, Callable[[argparse.Namespace, Path], Figures]] = {
    "logging": logging,
    "writers": writers,
    "history": history,
    "recording": recording,
    "kills": kills,
}


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    figures: Figures = {"load_at_start": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for name in arguments.parts:
            place = Path(folder) / name
            place.mkdir()
            figures |= _PARTS[name](arguments, place)
    figures["load_at_end"] = round(os.getloadavg()[0], 2)
    if not arguments.json:
        show = store_table.as_markdown if arguments.markdown else store_table.as_text
        print(show(figures))
    print(json.dumps(figures), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=_part_names, default=[*_PARTS])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument(
        "--slow-points", type=int, default=10_000, help="what slow loggers log in a turn"
    )
    parser.add_argument("--runs", type=int, default=1000, help="runs of the history")
    parser.add_argument(
        "--keep", default="", metavar="FOLDER", help="keep the history there, or take it"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of watching writers")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--workload", choices=["A", "B"], default="A")
    parser.add_argument("--mlflow-python", default=sys.executable)
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
