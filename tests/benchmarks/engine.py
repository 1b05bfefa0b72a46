"""What a round costs: our engines, Flower's and Apple's simulators, and a loop by hand.

All sides train the same model on the same data; each is a process of its own that stays
warm. They run in turn, A B C A B C …, so that a machine that others use, too, slows all of
them alike; ratios are taken turn by turn. Our engines conduct whole runs, as a run process
does, with an unmodified Flower app. The measure is ``limit``: federated averaging written
by hand on two processes with shared memory, with no Flower object in sight.

    python tests/benchmarks/engine.py --workload A [--sides limit,in_process] [--turns 5]

A table is printed, and one line of JSON last; ``--json -`` prints that line alone.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine_contest import Plan, compete
from engine_side import ENGINES, SIDES
from engine_table import as_markdown, as_text, summarise
from engine_workloads import FEW_NODES, WORKLOADS, Workload

_LIMIT = SIDES[0]
_SLOW = ("flwr",)  # it takes half a minute to start, and seconds for a round
_USUAL = tuple(name for name in WORKLOADS if name != "B2")


def measure(workload: Workload, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one workload, as the command line asks for it.

    Returns:
        The summary, ready for JSON.
    """
    sides: Sequence[str] = arguments.sides or _usual_sides(workload)
    plan = Plan(
        turns=arguments.turns,
        rounds=arguments.rounds or workload.rounds,
        few_turns=min(arguments.turns, 3),
        slow=_SLOW,
        launches=not (arguments.no_launches or workload.is_notebook),
        seconds=arguments.seconds,
    )
    names = [workload.name]
    if workload.name in FEW_NODES:
        names.append(FEW_NODES[workload.name])
    contestants = [(side, name) for side in sides for name in names]
    found = compete(contestants, plan, engines=ENGINES)
    return summarise(workload, found, plan, limit=_LIMIT)


def _usual_sides(workload: Workload) -> Sequence[str]:
    """Leave out what would take hours, or shows nothing, with a million nodes."""
    return (_LIMIT, *ENGINES) if workload.name in FEW_NODES else SIDES


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the sides end with us
    arguments = _arguments()
    chosen = _USUAL if arguments.workload == "all" else (arguments.workload,)
    for name in chosen:
        _show(measure(WORKLOADS[name], arguments), arguments)


def _show(summary: Mapping[str, Any], arguments: argparse.Namespace) -> None:
    line = json.dumps(summary)
    if arguments.json not in {"", "-"}:
        with Path(arguments.json).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    if arguments.markdown:
        print(as_markdown(summary), flush=True)
        return
    if arguments.json != "-":
        print(as_text(summary))
    print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", choices=[*WORKLOADS, "all"], default="all")
    parser.add_argument(
        "--sides", type=_side_names, help=f"some of {', '.join(SIDES)}, with commas"
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, help="rounds in a turn")
    parser.add_argument(
        "--seconds", type=float, default=120.0, help="no turn begins later than this"
    )
    parser.add_argument("--no-launches", action="store_true", help="launch no runs")
    parser.add_argument(
        "--json", default="", metavar="FILE", help="add the JSON lines to a file, too"
    )
    parser.add_argument("--markdown", action="store_true", help="tables for a page")
    return parser.parse_args()


def _side_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = sorted(set(names) - set(SIDES))
    if unknown:
        raise argparse.ArgumentTypeError(f"no such side: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    main()
