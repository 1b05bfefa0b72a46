"""How soon a launched run has a round: ``python engine_launch.py ENGINE WORKLOAD``.

It launches the lean app twice, as a notebook does, and prints the seconds from each launch
to the end of the first round, as JSON. The second run finds what the lab keeps warm.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from engine_workloads import WORKLOADS, Workload

from flip_lab.core.events import EventKind
from flip_lab.runs.lab import Lab

_MODULES = ("app", "gate", "launched", "training", "workloads")
_PAUSE_S = 20.0  # a person looks at the first run; the lab becomes warm meanwhile
_TIMEOUT_S = 300.0
_PROJECT = """\
[project]
name = "lean"
version = "1.0.0"

[tool.flwr.app]
publisher = "flip-lab"

[tool.flwr.app.components]
serverapp = "engine_launched:server_app"
clientapp = "engine_app:client_app"

[tool.flwr.app.config]
workload = "{workload}"
"""


def main(engine: str, workload_name: str) -> None:
    """Launch twice, and print."""
    workload = WORKLOADS[workload_name]
    with tempfile.TemporaryDirectory() as folder:
        app = _app_directory(Path(folder) / "app", workload)
        lab = Lab(Path(folder) / "lab")
        first_s = _first_round_s(lab, app, engine, workload)
        time.sleep(_PAUSE_S)
        second_s = _first_round_s(lab, app, engine, workload)
    print(json.dumps({"first_s": first_s, "second_s": second_s}))


def _app_directory(folder: Path, workload: Workload) -> Path:
    folder.mkdir()
    for name in _MODULES:
        file = Path(__file__).with_name(f"engine_{name}.py")
        shutil.copy(file, folder)
    project = _PROJECT.format(workload=workload.name)
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
    return folder


def _first_round_s(lab: Lab, app: Path, engine: str, workload: Workload) -> float:
    start_s = time.time()  # noqa: TID251  # compared with another process's clock
    run = lab.launch(app, on=engine, num_nodes=workload.num_nodes, workers=2)
    run.wait(_TIMEOUT_S)
    ended = [e.time_s for e in run.events() if e.kind is EventKind.ROUND_ENDED]
    if not ended:
        raise RuntimeError(f"The run ended without a round: {run.error}")
    return ended[0] - start_s


if __name__ == "__main__":
    main(*sys.argv[1:])
