"""The reference page says what the tables are."""

from __future__ import annotations

from flip_lab.store.schema import TABLES, reference_page


def test_the_page_describes_every_column_once() -> None:
    """Every table has its heading and every column its row, in order."""
    page = reference_page()
    _, *sections = page.split("\n## ")
    assert [section.split("\n", 1)[0] for section in sections] == list(TABLES)
    for section, table in zip(sections, TABLES.values(), strict=True):
        rows = [line for line in section.splitlines() if line.startswith("| `")]
        assert [row.split("`")[1] for row in rows] == [c.name for c in table.columns]
        assert all(row.count("|") == 6 for row in rows)


def test_every_meaning_is_one_sentence() -> None:
    """A column explains itself and ends."""
    for table in TABLES.values():
        assert table.meaning.endswith(".")
        for column in table.columns:
            assert column.meaning.endswith("."), column
            assert column.unit or not column.name.endswith(("_s", "_bytes", "_at")), column


def test_tables_are_ordered_by_columns_of_their_own() -> None:
    """``order_by`` names columns; where rows belong to one run, the run first."""
    groups = {"experiments", "sweeps", "models", "audit"}
    for table in TABLES.values():
        assert set(table.order_by) <= {column.name for column in table.columns}
        assert table.order_by[0] == "run_id" or table.name in groups
