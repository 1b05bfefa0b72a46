"""What steering a run costs, and how soon it obeys.

    python tests/benchmarks/control.py [--parts pause,monitor]

A table for each part is printed, and one line of JSON last; ``--json`` prints that line
alone.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import control_monitor
import control_pause

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing to measure.

    Attributes:
        title: What it is, above its table.
        measure: Measures it, as the command line says.
        table: Shows the figures as Markdown.
    """

    title: str
    measure: Callable[[argparse.Namespace], Figures]
    table: Callable[[Figures], str]


def pause(arguments: argparse.Namespace) -> Figures:
    """Measure how soon no client starts any more."""
    return control_pause.measure(
        arguments.engines, turns=arguments.turns, work_s=arguments.work_ms / 1000
    )


def monitor(arguments: argparse.Namespace) -> Figures:
    """Measure what the widget costs the run, the kernel and the page."""
    return control_monitor.measure(
        nodes=arguments.nodes,
        turns=arguments.turns,
        window_s=arguments.window_s,
        engine="vectorised",
    )


_PARTS: Mapping[str, Part] = {
    "pause": Part(
        title="From closing the gate to the last client that starts",
        measure=pause,
        table=control_pause.table,
    ),
    "monitor": Part(
        title="What watching costs",
        measure=monitor,
        table=control_monitor.table,
    ),
}


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    figures: Figures = {"load_at_start": round(os.getloadavg()[0], 2)}
    for name in arguments.parts:
        figures[name] = _PARTS[name].measure(arguments)
        if not arguments.json:
            print(f"### {_PARTS[name].title}\n\n{_PARTS[name].table(figures[name])}\n")
    figures["load_at_end"] = round(os.getloadavg()[0], 2)
    print(json.dumps(figures), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=_names_of(_PARTS), default=[*_PARTS])
    parser.add_argument(
        "--turns", type=int, default=10, help="pauses of each engine; windows"
    )
    parser.add_argument(
        "--engines", type=_names_of(control_pause.SIDES), default=[*control_pause.SIDES]
    )
    parser.add_argument(
        "--work-ms", type=float, default=50.0, help="what a client takes in a pause's part"
    )
    parser.add_argument("--nodes", type=int, default=1_000, help="clients of a watched run")
    parser.add_argument(
        "--window-s", type=float, default=6.0, help="how long the run is watched in one go"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    return parser.parse_args()


def _names_of(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        found = text.split(",")
        if unknown := sorted(set(found) - set(known)):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
        return found

    return names


if __name__ == "__main__":
    main()
