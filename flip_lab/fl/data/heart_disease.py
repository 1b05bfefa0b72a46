"""Heart disease in four hospitals: small, real, and different at every site.

Each hospital keeps its patients to itself, measures other things and leaves other cells
empty. Everything a site does to its rows it can do alone: units are scaled with fixed
clinical reference values, and a missing number takes the median of that site's own train
rows, or the reference value where the site never measured it.
"""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np

from flip_lab.fl.data.dataset import Dataset, Features

# Column, a usual value and a usual spread among adults sent to a cardiologist, in the
# column's unit: years, mm Hg, mg/dl, beats per minute, mm, vessels.
_NUMBERS = {
    "age": (55.0, 10.0),
    "trestbps": (130.0, 20.0),
    "chol": (240.0, 50.0),
    "thalch": (140.0, 25.0),
    "oldpeak": (1.0, 1.0),
    "ca": (0.5, 1.0),
}
_NEVER_ZERO = {"trestbps", "chol"}  # a zero there means "not measured"
_SOMETIMES_MISSING = ("trestbps", "chol", "thalch", "oldpeak", "ca")
_CATEGORIES = {
    "sex": ("Male",),
    "cp": ("typical angina", "atypical angina", "non-anginal", "asymptomatic"),
    "fbs": ("TRUE", ""),
    "restecg": ("normal", "st-t abnormality", "lv hypertrophy", ""),
    "exang": ("TRUE", ""),
    "slope": ("upsloping", "flat", "downsloping", ""),
    "thal": ("normal", "fixed defect", "reversable defect", ""),
}


def load_heart_disease() -> Dataset:
    """Load 920 patients: features of shape ``(920, 32)``, label 1 for heart disease.

    Numbers are in reference spreads from the reference value, with one more 0/1 column
    where a number can be missing; categories are 0/1 columns, "unknown" among them.

    Source:
        Janosi, Steinbrunn, Pfisterer and Detrano, "Heart Disease", UCI Machine Learning
        Repository, 1989 (doi:10.24432/C52P4X). The split by hospital is that of FLamby's
        Fed-Heart-Disease (arXiv:2210.04620).
    """
    path = files("flip_lab.fl.data") / "heart_disease_uci.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    numbers = [[_number(row, name) for name in _NUMBERS] for row in rows]
    missing = [
        [np.isnan(_number(row, name)) for name in _SOMETIMES_MISSING] for row in rows
    ]
    categories = [
        [row[name] == value for name, values in _CATEGORIES.items() for value in values]
        for row in rows
    ]
    return Dataset(
        title="Heart disease in four hospitals",
        features=np.hstack([numbers, missing, categories]).astype(np.float32),
        labels=np.array([row["num"] != "0" for row in rows], dtype=np.int64),
        class_names=("healthy", "heart disease"),
        feature_names=_feature_names(),
        sites=np.array([row["dataset"] for row in rows]),
        attribution=(
            "A. Janosi, W. Steinbrunn, M. Pfisterer, R. Detrano: Heart Disease, UCI "
            "Machine Learning Repository, 1989, doi:10.24432/C52P4X, CC BY 4.0."
        ),
        prepare=impute,
    )


def impute(train: Features, test: Features) -> tuple[Features, Features]:
    """Fill missing numbers with the train median, or with 0 where there is none.

    Args:
        train: Train rows of one site, shape ``(num_train, num_features)``.
        test: Test rows of the same site; nothing is learnt from them.

    Returns:
        Train and test rows without NaN, as new arrays.
    """
    seen = [column[~np.isnan(column)] for column in train.T]
    medians = np.array([np.median(known) if known.size else 0 for known in seen])
    filled = [np.where(np.isnan(rows), medians, rows) for rows in (train, test)]
    return filled[0].astype(np.float32), filled[1].astype(np.float32)


def _number(row: dict[str, str], name: str) -> float:
    """Read a number in reference spreads from its reference value; NaN when missing."""
    text = row[name]
    if not text or (name in _NEVER_ZERO and float(text) == 0):
        return np.nan
    usual, spread = _NUMBERS[name]
    return (float(text) - usual) / spread


def _feature_names() -> tuple[str, ...]:
    missing = [f"{name} missing" for name in _SOMETIMES_MISSING]
    categories = [
        f"{name} is {value.lower() or 'unknown'}"
        for name, values in _CATEGORIES.items()
        for value in values
    ]
    return (*_NUMBERS, *missing, *categories)
