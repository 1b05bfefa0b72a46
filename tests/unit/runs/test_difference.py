"""How two runs differ is said in settings, code and packages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flip_lab.core.errors import RunNotFoundError
from flip_lab.runs.difference import code_of
from flip_lab.runs.lab import Lab
from flip_lab.runs.run import Run
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir


def test_two_scenarios_differ_in_what_was_changed(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """The setting, once; the line of the scenario; the package that was updated."""
    packages = [Blobs(lab_dir).put(text).sha256 for text in (b"a==1\nb==1", b"a==2\nb==1")]
    one = make_run("one", lineage={"env_sha256": packages[0]})
    two = make_run(
        "two",
        changes={"train.learning_rate": 0.123},
        lineage={"env_sha256": packages[1]},
    )
    found = Lab(lab_dir.root).diff(one, "two")
    assert found.configuration.index.tolist() == ["train.learning_rate"]
    assert found.configuration.loc["train.learning_rate", "two"] == "0.123"
    assert found.code.changed == ("lineage/packages.txt", "scenario.toml")
    assert "\n-a==1\n+a==2\n" in found.code.text
    assert "\n+learning_rate = 0.123\n" in found.code.text
    assert repr(found) == "<RunDiff one to two: 1 settings, 2 files>"
    assert Lab(lab_dir.root).diff(two, two).is_empty


def test_a_fork_differs_from_its_round_on(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """The shared rounds are told once; of the edits, those that only one of them has."""
    shared = {"id": "c1", "command": "set", "author": "ana", "from_round": 1}
    edits = [{**shared, "values": {"batch_size": 8}}]
    own = {**shared, "id": "c2", "from_round": 2, "values": {"learning_rate": 0.5}}
    make_run("one", edits=edits, rounds=3)
    make_run(
        "two",
        parent_run_id="one",
        forked_at_round=1,
        edits=[*edits, own],
        changes={"seed": 7},
        rounds=2,
    )
    lab = Lab(lab_dir.root)
    found = lab.diff("one", "two")
    assert found.relation == "two is a fork of one: rounds 1 to 1 are the same"
    assert lab.diff("two", "one").relation == found.relation
    assert found.configuration.index.tolist() == ["seed"]
    [edit] = found.edits.to_dict("records")
    assert edit == {
        "run_id": "two",
        "from_round": 2,
        "command": "set",
        "edit": "set learning_rate = 0.5",
        "author": "ana",
    }
    assert set(found.metrics["server_round"]) == {2, 3}
    last = found.metrics[found.metrics["server_round"] == 3]
    assert last["second"].isna().all()
    assert last["first"].notna().all()
    assert "1 settings, 1 edits" in repr(found)
    make_run("three", parent_run_id="one", forked_at_round=2, edits=edits)
    cousins = lab.diff("two", "three")
    assert cousins.relation == "both are forks of one: rounds 1 to 1 are the same"


def test_a_family_says_what_each_fork_changed(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """One row a run, each parent before its forks, with its own numbers."""
    run = make_run("one")
    make_run("two", parent_run_id="one", forked_at_round=1, changes={"seed": 7})
    make_run("other")
    lab = Lab(lab_dir.root)
    frame = lab.family("two")
    assert frame["run_id"].tolist() == ["one", "two"]
    assert frame["depth"].tolist() == [0, 1]
    assert frame["changed"].tolist() == ["", "seed 4 → 7"]
    assert frame["forked_at_round"].isna().tolist() == [True, False]
    assert frame["best"].notna().all()
    assert set(lab.family(run, metric="train_loss")["metric"]) == {"train_loss"}
    assert [fork.run_id for fork in run.forks] == ["two"]
    fork = lab.run("two")
    assert fork.parent is not None
    assert fork.parent.run_id == "one"
    assert run.parent is None
    lab.delete("one")
    assert fork.parent is None
    assert lab.family("two")["run_id"].tolist() == ["two"]


def test_apps_differ_in_their_code(lab_dir: LabDir, make_run: Callable[..., Run]) -> None:
    """Sources of the app as it ran; what Python compiled, and data, are no code."""
    for name, line in (("one", "lr = 1"), ("two", "lr = 2")):
        make_run(name, kind="app", scenario=None)
        app = lab_dir.run_dir(name) / "app"
        (app / "inner" / "__pycache__").mkdir(parents=True)
        (app / "inner" / "task.py").write_text(line + "\n")
        (app / "inner" / "__pycache__" / "x.py").write_text(name)
        (app / "data.bin").write_bytes(name.encode())
    found = Lab(lab_dir.root).diff("one", "two").code
    assert found.changed == ("inner/task.py",)
    assert found.text.endswith("-lr = 1\n+lr = 2\n")


def test_an_app_from_cells_is_told_by_its_hash(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """It was pickled, so there is no text to compare."""
    make_run("one", kind="notebook", scenario=None, lineage={"app_sha256": "ab"})
    assert code_of(lab_dir, "one") == {"app": "pickled; sha256 ab\n"}


def test_a_run_that_is_not_there_is_named(
    lab_dir: LabDir, make_run: Callable[..., Run]
) -> None:
    """Before anything is compared."""
    make_run("one")
    with pytest.raises(RunNotFoundError, match="two"):
        Lab(lab_dir.root).diff("one", "two")
