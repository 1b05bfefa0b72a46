"""Readers of a site's own data: CSV, NumPy, SQL and DICOM, each giving rows with labels.

A package adds a reader with an entry point in the group ``flip_lab.site_data``: a function
of the options and of the directory that relative paths begin at.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flip_lab.core.errors import NodeDataError
from flip_lab.core.registry import Registry
from flip_lab.fl.data.dataset import Features
from flip_lab.fl.data.site_options import SiteOptions
from flip_lab.fl.extras import needs_extra


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteRows:
    """What a reader found.

    Attributes:
        features: Shape ``(num_examples, …)``; NaN marks a missing value.
        labels: What stands for the class of each example, as text.
        feature_names: Name of each column of tabular data; empty for images.
    """

    features: Features
    labels: Sequence[str]
    feature_names: tuple[str, ...] = ()


SITE_READERS: Registry[Callable[[SiteOptions], SiteRows]] = Registry(
    "kind of site data", "flip_lab.site_data"
)


@SITE_READERS.add("csv")
def read_csv(options: SiteOptions) -> SiteRows:
    """Read a table with a line of column names.

    Options:
        path: The file.
        label: Column of the class.
        features: Columns of numbers; default: all the others.
        delimiter: What is between cells, one letter; default ``,``.

    Raises:
        NodeDataError: If the file, a column or a number is missing.
    """
    path = options.path("path")
    delimiter = options.text("delimiter", ",")
    with options.readable(path), path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, delimiter=delimiter)
        rows = [*reader]
        columns = [*(reader.fieldnames or ())]
    return _table(str(path), columns, rows, options)


@SITE_READERS.add("npz")
def read_npz(options: SiteOptions) -> SiteRows:
    """Read two arrays of a file that ``numpy.savez`` wrote.

    Options:
        path: The file.
        features: Name of the array of examples, shape ``(num_examples, …)``; default
            ``features``.
        labels: Name of the array of classes, shape ``(num_examples,)``; default
            ``labels``.

    Raises:
        NodeDataError: If the file or an array is missing, or they do not fit each other.
    """
    path = options.path("path")
    names = options.text("features", "features"), options.text("labels", "labels")
    with options.readable(path), np.load(path, allow_pickle=False) as archive:
        missing = [name for name in names if name not in archive]
        if missing:
            raise NodeDataError(
                f"{path} has no array {missing[0]!r}; it has {', '.join(archive)}.",
                fix="Name the arrays with features = … and labels = … under [data].",
            )
        features, labels = (np.asarray(archive[name]) for name in names)
    return SiteRows(
        features=_numbers(features, str(path)), labels=[str(each) for each in labels]
    )


@SITE_READERS.add("sql")
def read_sql(options: SiteOptions) -> SiteRows:
    """Read what a query of a database gives.

    Options:
        path: An SQLite file; or
        url: The URL of any database that SQLAlchemy knows.
        query: A SELECT that gives one row for each example.
        label: Column of the class.
        features: Columns of numbers; default: all the others.

    Raises:
        NodeDataError: If the database does not answer, or a column is missing.
        MissingExtraError: If a URL is given and SQLAlchemy is not installed.
    """
    query = options.text("query")
    url = options.text("url", "")
    where = url.partition("://")[0] if url else str(options.path("path"))
    with options.readable(where):
        columns, found = _selected(url, query) if url else _from_sqlite(options, query)
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    return _table(f"The query in {where}", columns, rows, options)


def _from_sqlite(options: SiteOptions, query: str) -> tuple[list[str], list[Any]]:
    import sqlite3

    path = options.path("path")
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True)
    try:
        cursor = connection.execute(query)
        return [each[0] for each in cursor.description or ()], cursor.fetchall()
    finally:
        connection.close()


def _selected(url: str, query: str) -> tuple[list[str], list[Any]]:
    with needs_extra("hub", "Site data from a database by URL"):
        sqlalchemy: Any = import_module("sqlalchemy")
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(query))
            return [*result.keys()], [tuple(row) for row in result]
    finally:
        engine.dispose()


@SITE_READERS.add("dicom")
def read_dicom(options: SiteOptions) -> SiteRows:
    """Read a folder of DICOM images; a table says which class each one is.

    Options:
        path: The folder.
        labels: A CSV file with the columns ``file`` (path in the folder) and ``label``.
        size: Side of the images that come out, pixels; default: as they are, and then all
            must be alike.

    Features have the shape ``(num_images, 1, height, width)``, from 0 (black) to 1.

    Raises:
        NodeDataError: If a file is missing, is no image, or has another size.
        MissingExtraError: If pydicom is not installed.
    """
    with needs_extra("dicom", "Site data from DICOM files"):
        pydicom: Any = import_module("pydicom")
    folder, table = options.path("path"), options.path("labels")
    with options.readable(table), table.open(newline="", encoding="utf-8-sig") as file:
        rows = [*csv.DictReader(file)]
    if not rows or not {"file", "label"} <= rows[0].keys():
        raise NodeDataError(
            f"{table} lacks the columns 'file' and 'label', or rows.",
            fix="Write a CSV file with the line `file,label` first.",
        )
    size = options.count("size", 0)
    images = [_image(pydicom, folder / row["file"], size, options) for row in rows]
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise NodeDataError(
            f"The images in {folder} have several sizes: {sorted(shapes)}.",
            fix="Set size = 128, or another side, under [data].",
        )
    return SiteRows(
        features=np.stack(images)[:, None], labels=[row["label"] for row in rows]
    )


def _image(pydicom: Any, path: Path, size: int, options: SiteOptions) -> Features:  # noqa: ANN401  # untyped
    with options.readable(path):
        image = pydicom.dcmread(path)
        pixels = np.asarray(image.pixel_array, dtype=np.float32)
    if pixels.ndim != 2:  # noqa: PLR2004  # height and width
        raise NodeDataError(
            f"{path} holds an array of the shape {pixels.shape}, not one grey image.",
            fix="Keep single grey images in the folder; split series into files.",
        )
    brightest = float(2 ** int(image.BitsStored) - 1)
    darkest = -(brightest + 1) / 2 if int(image.PixelRepresentation) else 0.0
    scaled = (pixels - darkest) / brightest
    if image.PhotometricInterpretation == "MONOCHROME1":  # 0 is white
        scaled = 1 - scaled
    if size:
        height, width = scaled.shape
        scaled = scaled[
            np.ix_(np.arange(size) * height // size, np.arange(size) * width // size)
        ]
    return np.clip(scaled, 0, 1).astype(np.float32)


def _table(
    where: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    options: SiteOptions,
) -> SiteRows:
    """Take the label and the numbers out of rows.

    Raises:
        NodeDataError: If a column is missing, or a cell holds no number.
    """
    label = options.text("label")
    names = options.texts("features") or [each for each in columns if each != label]
    missing = [name for name in (label, *names) if name not in columns]
    if missing:
        raise NodeDataError(
            f"{where} has no column {missing[0]!r}; it has {', '.join(columns)}.",
            fix="Correct label = … or features = … under [data] in node.toml.",
        )
    features = np.array(
        [
            [_number(row[name], where, name, line) for name in names]
            for line, row in enumerate(rows, 2)
        ],
        dtype=np.float32,
    ).reshape(len(rows), len(names))
    return SiteRows(
        features=features,
        labels=[str(row[label]) for row in rows],
        feature_names=tuple(names),
    )


def _number(cell: object, where: str, name: str, line: int) -> float:
    """Read a cell; an empty one is NaN.

    Raises:
        NodeDataError: If it holds something else; what, stays at the site.
    """
    if cell is None or cell == "":
        return np.nan
    try:
        return float(cell)  # pyright: ignore[reportArgumentType]  # what is no number raises
    except (TypeError, ValueError) as error:
        raise NodeDataError(
            f"{where} holds something that is no number in column {name!r}, line {line}.",
            fix="Choose columns of numbers with features = […] under [data].",
        ) from error


def _numbers(values: npt.NDArray[Any], where: str) -> Features:
    """Give an array as numbers.

    Raises:
        NodeDataError: If it holds something else.
    """
    if values.dtype.kind not in "biuf":
        raise NodeDataError(
            f"{where} holds features of the type {values.dtype}, not numbers.",
            fix="Save the features as an array of numbers.",
        )
    return values.astype(np.float32)
