"""Columns of a hub's tables: each kind is written down once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Boolean, Column, Float, Integer, Text


def text(name: str, **more: Any) -> Column[str]:  # noqa: ANN401  # of a column
    """Give a column of texts, which every row has."""
    return Column(name, Text, nullable=False, **more)


def number(name: str) -> Column[int]:
    """Give a column of whole numbers, which every row has."""
    return Column(name, Integer, nullable=False)


def truth(name: str) -> Column[bool]:
    """Give a column of truths, which every row has."""
    return Column(name, Boolean, nullable=False)


def plain(name: str) -> Column[Any]:
    """Give a column of plain data, which every row has."""
    return Column(name, JSON, nullable=False)


def time(name: str) -> Column[float]:
    """Give a column of times, which every row has: seconds since the Unix epoch, UTC."""
    return Column(name, Float, nullable=False)


def later(name: str) -> Column[float]:
    """Give a column of times that rows get later, if at all."""
    return Column(name, Float)


def row_id() -> Column[int]:
    """Give the column that numbers the rows."""
    return Column("id", Integer, primary_key=True)


def key(name: str) -> Column[str]:
    """Give a column of texts that name the rows."""
    return Column(name, Text, primary_key=True)
