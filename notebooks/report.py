"""An executed notebook as one HTML file: prose, tables and figures, no code, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

from nbconvert import HTMLExporter
from nbformat import NotebookNode
from nbformat.v4 import new_output
from plotly.offline import get_plotlyjs

LIVE = "live"  # the tag of a cell that only makes sense while it runs
_PLOTLY = "application/vnd.plotly.v1+json"
_PAGE = Path(__file__).with_name("report.html")


def write_report(
    notebook: NotebookNode, file: Path, *, facts: str, remark: str = ""
) -> None:
    """Write the report.

    Figures stay interactive: plotly's script is in the file, once, and the file's security
    policy lets no browser fetch anything.

    Args:
        notebook: Executed; its first heading becomes the title.
        file: Where the report goes.
        facts: One line under the title.
        remark: What the reader must know before reading; may be empty.
    """
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    body, _ = exporter.from_notebook_node(_readable(notebook))
    heading, _, story = body.partition("</h1>")
    page = Template(_PAGE.read_text(encoding="utf-8"))
    text = page.substitute(
        title=escape(_title(notebook)),
        heading=f"{heading}</h1>",
        facts=escape(facts),
        remark=f'<p class="remark">{escape(remark)}</p>' if remark else "",
        story=story,
        plotly=get_plotlyjs(),
    )
    file.write_text(text, encoding="utf-8")


def _title(notebook: NotebookNode) -> str:
    return str(notebook.cells[0].source).splitlines()[0].lstrip("# ")


def _readable(notebook: NotebookNode) -> NotebookNode:
    """Copy what a reader wants to see: no parameters, no live views, no warnings."""
    cells = [
        NotebookNode({**cell, "outputs": list(_outputs(cell))})
        if cell.cell_type == "code"
        else cell
        for cell in notebook.cells
        if LIVE not in cell.metadata.get("tags", [])
    ]
    return NotebookNode({**notebook, "cells": cells})


def _outputs(cell: NotebookNode) -> Iterator[NotebookNode]:
    for output in cell.outputs:
        data = output.get("data", {})
        if _PLOTLY in data:
            shown = {"text/html": _figure(data[_PLOTLY])}
        else:
            shown = {
                kind: data[kind] for kind in ("text/html", "text/plain") if kind in data
            }
        if shown:
            yield new_output("display_data", data=shown)


def _figure(figure: NotebookNode) -> str:
    """Give a figure as data; the page's script draws it."""
    drawn = json.dumps({"data": figure["data"], "layout": figure["layout"]})
    inert = drawn.replace("<", "\\u003c")  # no text in it can end the script element
    height = int(figure["layout"].get("height", 450))
    return (
        f'<figure style="min-height: {height}px">'
        f'<script type="application/json">{inert}</script></figure>'
    )
