"""A site's own data: read as the site says, checked against what the scenario says."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from flip_lab.core.errors import (
    FlipLabError,
    InvalidValueError,
    NodeDataError,
    ScenarioError,
    UnknownNameError,
)
from flip_lab.core.listening import Notes, listening
from flip_lab.core.scenario import DataSpec, Scenario
from flip_lab.fl.client_app import own_partition
from flip_lab.fl.data.catalog import load_dataset, scenario_dataset
from flip_lab.fl.data.site import site_data
from flip_lab.fl.data.site_source import DataSource, site_config
from flip_lab.fl.models import build_model
from flip_lab.fl.partition import load_partition
from flip_lab.fl.scenarios import load_scenario, scenario_to_json, validate

ROWS = [(20 + i, 150 + i % 7, "sick" if i % 3 == 0 else "healthy") for i in range(30)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Write thirty patients; one has no height."""
    lines = [f"{age},{height},{state}" for age, height, state in ROWS]
    lines[4] = "24,,healthy"
    path = tmp_path / "patients.csv"
    path.write_text("age,height,state\n" + "\n".join(lines) + "\n", "utf-8")
    return path


def context(kind: str, directory: Path, **options: object) -> Context:
    """Give the context of a client at a site."""
    source = DataSource(kind=kind, options=options)
    config = {"partition-id": 1, **site_config(source, directory)}
    return Context(1, 2, config, RecordDict(), {})


def of_sites(**options: object) -> Scenario:
    """Give a scenario that trains on each site's own data."""
    given: Mapping[str, object] = {"shape": [2], "classes": ["healthy", "sick"], **options}
    data = DataSpec(dataset="site", num_partitions=2, options=given)  # type: ignore[arg-type]
    return replace(load_scenario("hospitals"), data=data)


def test_a_table_gives_numbers_and_classes(table: Path, tmp_path: Path) -> None:
    """All columns but the label are features; an empty cell is missing, not zero."""
    found = site_data(context("csv", tmp_path, path=table.name, label="state"))
    assert found.features.shape == (30, 2)
    assert found.features.dtype == np.float32
    assert found.feature_names == ("age", "height")
    assert found.class_names == ("healthy", "sick")
    assert found.labels.tolist() == [int(state == "sick") for *_, state in ROWS]
    assert np.isnan(found.features[4, 1])
    assert np.isnan(found.features).sum() == 1


def test_columns_and_classes_are_the_sites_choice(table: Path, tmp_path: Path) -> None:
    """Lists may be TOML lists or text with commas, as --node-config has them."""
    chosen = context(
        "csv",
        tmp_path,
        path=str(table),
        label="state",
        features=["age"],
        classes="sick, healthy",
    )
    found = site_data(chosen)
    assert found.features.shape == (30, 1)
    assert found.class_names == ("sick", "healthy")
    assert found.labels[0] == 0


def test_arrays_of_numpy(tmp_path: Path) -> None:
    """Labels that are numbers count as the numbers of classes."""
    images = np.arange(4 * 9, dtype=np.uint8).reshape(4, 1, 3, 3)
    np.savez(tmp_path / "scans.npz", x=images, y=np.array([0, 1, 1, 0]))
    found = site_data(context("npz", tmp_path, path="scans.npz", features="x", labels="y"))
    assert found.shape == (1, 3, 3)
    assert found.labels.tolist() == [0, 1, 1, 0]


def test_a_pickle_in_a_numpy_file_is_not_opened(tmp_path: Path) -> None:
    """An array of objects could run code when it is read."""
    np.savez(tmp_path / "bad.npz", features=np.array([{}], dtype=object), labels=[0])
    with pytest.raises(NodeDataError, match="cannot be read"):
        site_data(context("npz", tmp_path, path="bad.npz"))


@pytest.mark.parametrize("by_url", [False, True])
def test_a_query_of_a_database(tmp_path: Path, *, by_url: bool) -> None:
    """SQLite by the standard library, any database by its URL; neither is written to."""
    path = tmp_path / "clinic.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE p (age REAL, height REAL, state TEXT)")
        connection.executemany("INSERT INTO p VALUES (?, ?, ?)", ROWS)
    connection.close()
    where = {"url": f"sqlite:///{path}"} if by_url else {"path": "clinic.db"}
    query = "SELECT age, state FROM p WHERE age < 30 ORDER BY age"
    found = site_data(context("sql", tmp_path, query=query, label="state", **where))
    assert found.features[:, 0].tolist() == list(range(20, 30))
    with pytest.raises(NodeDataError, match="cannot be read"):
        site_data(
            context("sql", tmp_path, query="DROP TABLE p", label="x", path="clinic.db")
        )


def test_a_folder_of_dicom_images(tmp_path: Path) -> None:
    """Grey values lie between 0 and 1, whatever the bits; a size makes all alike."""
    pydicom: Any = pytest.importorskip("pydicom")
    kinds = pydicom.uid
    for number, side in enumerate((8, 16)):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = kinds.SecondaryCaptureImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        meta.TransferSyntaxUID = kinds.ExplicitVRLittleEndian
        image = pydicom.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        image.SOPClassUID = meta.MediaStorageSOPClassUID
        image.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        image.Rows = image.Columns = side
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.PixelRepresentation = 0
        image.PixelData = np.full((side, side), 4095 * number, np.uint16).tobytes()
        pydicom.dcmwrite(tmp_path / f"{number}.dcm", image)
    (tmp_path / "labels.csv").write_text("file,label\n0.dcm,no\n1.dcm,yes\n", "utf-8")
    here = {"path": ".", "labels": "labels.csv"}
    found = site_data(context("dicom", tmp_path, size=4, **here))
    assert found.features.shape == (2, 1, 4, 4)
    assert found.features[0].max() == 0
    assert found.features[1].min() == 1
    assert found.class_names == ("no", "yes")
    with pytest.raises(NodeDataError, match="several sizes"):
        site_data(context("dicom", tmp_path, **here))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"path": "gone.csv", "label": "state"}, "is not there"),
        ({"label": "state"}, "needs 'path'"),
        ({"path": "patients.csv", "label": "disease"}, "no column 'disease'"),
        ({"path": "patients.csv", "label": "age"}, "no number in column 'state', line 2"),
        (
            {"path": "patients.csv", "label": "state", "classes": "a,b"},
            "30 of the site's 30",
        ),
    ],
)
def test_what_is_wrong_is_named_with_a_fix(
    table: Path, tmp_path: Path, options: Mapping[str, object], told: str
) -> None:
    """The key, the path or the column; never a value of a patient."""
    del table
    with pytest.raises(NodeDataError, match=told) as raised:
        site_data(context("csv", tmp_path, **options))
    assert raised.value.fix
    assert "healthy" not in str(raised.value)


def test_a_kind_that_nobody_reads_is_named(tmp_path: Path) -> None:
    """As with every name: the nearest valid one."""
    with pytest.raises(UnknownNameError, match="csv"):
        site_data(context("cvs", tmp_path))


def test_a_scenario_trains_on_the_sites_rows(table: Path, tmp_path: Path) -> None:
    """Its own split into train and test, without NaN, the same each time."""
    scenario = validate(of_sites())
    client = context("csv", tmp_path, path=table.name, label="state")
    client.run_config["scenario"] = scenario_to_json(scenario)
    notes = Notes(wants_holding=True)
    with listening(notes):
        part, again = own_partition(client), own_partition(client)
    assert notes.holding is None, "not even a hash of a site's own data leaves it"
    assert len(part.train_labels) == 24
    assert len(part.test_labels) == 6
    assert part.test_labels.sum() == 2, "each class keeps its share"
    assert not np.isnan(part.train_features).any()
    assert (part.train_features == again.train_features).all()
    model = build_model(scenario, scenario_dataset(scenario.data))
    assert next(model.parameters()).shape[1] == 2


def test_sites_must_be_as_the_scenario_says(table: Path, tmp_path: Path) -> None:
    """Another shape is another model."""
    client = context("csv", tmp_path, path=table.name, label="state", features=["age"])
    client.run_config["scenario"] = scenario_to_json(of_sites())
    with pytest.raises(NodeDataError, match=r"shape \(1,\); the scenario says \(2,\)"):
        own_partition(client)


def test_a_simulated_node_has_no_site() -> None:
    """The error says what it takes, in simulation and on a device."""
    for load in (lambda: load_dataset("site"), lambda: load_partition(of_sites(), 0)):
        with pytest.raises(NodeDataError, match="FLIP-806") as raised:
            load()
        assert "launch on a federation" in raised.value.fix
        assert "node.toml" in raised.value.fix


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"classes": ["one"]}, InvalidValueError),
        ({"shape": [0]}, InvalidValueError),
        ({"alpha": 0.5}, ScenarioError),
    ],
)
def test_what_all_sites_share_is_checked(
    options: Mapping[str, object], error: type[FlipLabError]
) -> None:
    """A scenario of sites needs a shape and at least two classes, and nothing else."""
    with pytest.raises(error):
        validate(of_sites(**options))
