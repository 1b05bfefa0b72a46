"""What the partition explorer shows, as JSON-ready dictionaries; its faces only draw."""

from __future__ import annotations

from typing import TypedDict

from flip_lab.analysis.distances import Distance
from flip_lab.boards.partitions.columns import Columns


class Worst(TypedDict):
    """A node that is unlike the whole.

    Attributes:
        node: What it is called.
        distance: How far it is from the whole.
        num_examples: Its size.
        holds: Its commonest labels, in words.
    """

    node: str
    distance: float
    num_examples: int
    holds: str


class Matrix(TypedDict):
    """Distances of each node to each other.

    Attributes:
        node: Partitions, in the order of the picture.
        values: Distances in per mille of the largest possible, by row.
    """

    node: list[int]
    values: list[list[int]]


class Shown(TypedDict):
    """All that is drawn for one split.

    Attributes:
        title: What it is, in words.
        facts: Pairs of a name and its value, in words.
        dataset: Title of the data set.
        num_nodes: Nodes.
        num_examples: Examples of the data set, on nodes or left out.
        num_labels: Labels of the data set.
        most_nodes: Nodes that the data set can fill at most.
        named: Whether nodes have names of their own.
        nodes: Name of each column's first node.
        labels: Name of each row.
        columns: The nodes.
        whole: Share of each row in all nodes together, in per mille.
        distance: How distributions are compared.
        distance_words: The same in words.
        farthest: The largest possible distance.
        distances: Distances that can be chosen, with their words.
        matrix: Distances between nodes; null for more than 100.
        worst: The nodes least like the whole.
        notes: What a reader must know to read the picture rightly.
    """

    title: str
    facts: list[list[str]]
    dataset: str
    num_nodes: int
    num_examples: int
    num_labels: int
    most_nodes: int
    named: bool
    nodes: list[str]
    labels: list[str]
    columns: Columns
    whole: list[int]
    distance: Distance
    distance_words: str
    farthest: float
    distances: list[list[str]]
    matrix: Matrix | None
    worst: list[Worst]
    notes: list[str]
