"""Notebook 05 twice in one lab: simulated, then on a hub and four nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from flip_lab import Lab
from flip_lab.testing.hub import LoopbackHub

NOTEBOOK = Path(__file__).parents[2] / "notebooks/05_from_simulation_to_devices.ipynb"
NUM_ROUNDS = 8

pytestmark = [pytest.mark.hub, pytest.mark.slow]


def executed(path: Path, **parameters: object) -> dict[str, list[Any]]:
    """Execute the notebook; give what each code cell shows, by the cell's id."""
    papermill.execute_notebook(NOTEBOOK, path, parameters=parameters, cwd=path.parent)
    cells = nbformat.read(path, as_version=4).cells
    return {cell.id: cell.outputs for cell in cells if cell.cell_type == "code"}


def num_figures(outputs: list[Any]) -> int:
    """Count the figures among a cell's outputs."""
    kind = "application/vnd.plotly.v1+json"
    return sum(kind in output.get("data", {}) for output in outputs)


def test_one_word_changes_and_no_bit(
    tmp_path: Path, lab_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated and real: one model, the same cohorts and partitions, and a twin."""
    monkeypatch.chdir(tmp_path)
    simulated = executed(tmp_path / "simulated.ipynb", on="auto", num_rounds=NUM_ROUNDS)
    assert "No run on devices" in simulated["twin"][0]["text"]
    assert not any(num_figures(outputs) for outputs in simulated.values())

    with LoopbackHub(num_nodes=4, in_one_process=True) as hub:  # torch is imported once
        hub.write_config(tmp_path / "flip-lab.toml", "hospitals")
        real = executed(tmp_path / "real.ipynb", on="hospitals", num_rounds=NUM_ROUNDS)
    for cell in ("compare", "timeline", "what-if"):
        assert num_figures(real[cell]) == 1, cell
    assert any("identical" in str(output) for output in real["twin"])
    assert "no sites" in simulated["deliver"][0]["text"]
    assert str(real["deliver"]).count("installed") == 4

    lab = Lab()
    assert lab.path == lab_path
    runs = lab.runs(experiment="devices", state="completed")
    assert set(runs["federation"].dropna()) == {"hospitals"}
    assert len(runs) == 3, "simulated, real, and the real one replayed"
    for column in ("model_sha256", "scenario_fingerprint"):
        assert runs[column].nunique(dropna=False) == 1, column
    order = ["server_round", "phase", "partition_id"]
    cohorts = {
        run_id: rows[[*order, "num_examples"]].to_numpy().tolist()
        for run_id, rows in lab.clients(runs=runs).sort_values(order).groupby("run_id")
    }
    first, *others = cohorts.values()
    assert others == [first, first]
    assert (lab.clients(runs=runs)["error_code"] == 0).all()
    versions = lab.models("heart-disease")
    assert versions["stage"].tolist() == ["production"], "the same arrays are one version"
