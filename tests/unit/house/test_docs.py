"""The documents: links lead somewhere, pages are fresh, every code has its page."""

from __future__ import annotations

import ast
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

import flip_lab
from flip_lab.core import errors
from flip_lab.core.errors import FlipLabError

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CODES = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, FlipLabError)
}

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """Give a document's path as a test's name."""
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """Give a document without its code blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Give the anchors that Markdown renderers make from a document's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    """A reader who follows a link finds a file, and the heading it names."""
    for link in _LINK.findall(prose(path)):
        if "://" in link or link.startswith("mailto:"):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


def python_of(path: Path) -> list[ast.Module]:
    """Parse the Python blocks of a document."""
    blocks = _FENCE.findall(path.read_text(encoding="utf-8"))
    return [ast.parse(dedent(code)) for language, code in blocks if language == "python"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_in_the_documents_compiles(path: Path) -> None:
    """Code that a reader copies is at least Python."""
    for tree in python_of(path):
        compile(tree, str(path), "exec")


@pytest.mark.parametrize(
    "path", [path for path in DOCUMENTS if "lab.sql(" in path.read_text()], ids=name_of
)
def test_sql_in_the_documents_fits_the_tables(path: Path, lab_path: Path) -> None:
    """Every query that a reader copies names tables and columns that there are."""
    calls = (
        node
        for tree in python_of(path)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lab.sql"
    )
    lab = flip_lab.Lab(lab_path)
    for call in calls:
        assert len(lab.sql(ast.literal_eval(call.args[0]))) == 0  # an empty lab


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_document_can_be_reached(path: Path) -> None:
    """Each page is linked from another one; nobody finds an orphan."""
    if path.parent == ROOT:
        return
    others = (other for other in DOCUMENTS if other != path)
    assert any(
        (other.parent / link.partition("#")[0]).resolve() == path
        for other in others
        for link in _LINK.findall(prose(other))
        if "://" not in link
    )


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_error_code_has_a_page(code: str) -> None:
    """An error that is raised can be looked up, with its causes and its remedy."""
    text = (DOCS / "errors" / f"{code}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {code}: ")
    assert f"`flip_lab.core.errors.{CODES[code].__name__}`" in text
    assert f"[{code}] " in text
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["What happened", "Likely causes", "What to do"]


def test_every_error_page_has_a_code() -> None:
    """A code that is gone takes its page with it."""
    assert {page.stem for page in (DOCS / "errors").glob("FLIP-*.md")} == set(CODES)


def generator() -> ModuleType:
    """Import ``docs/generate.py``, which belongs to no package."""
    spec = spec_from_file_location("flip_docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_fresh() -> None:
    """The reference says what the code says; if not: ``make docs``."""
    stale = [
        name_of(path)
        for path, text in generator().pages().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert stale == []


def test_decision_records_have_all_their_parts() -> None:
    """A record tells context, decision, rejected ways, consequence and its check."""
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    numbers = [int(record.name[:4]) for record in records]
    assert numbers == list(range(1, len(records) + 1))
    for record in records:
        headings = re.findall(
            r"^## (.*)$", record.read_text(encoding="utf-8"), re.MULTILINE
        )
        assert headings == ["Context", "Decision", "Rejected", "Consequence", "Check"], (
            record
        )


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_scenarios_that_the_documents_load_exist(path: Path) -> None:
    """A reader who copies ``load_scenario("x")`` gets a scenario."""
    for name in re.findall(r'load_scenario\("([^"]+)"', path.read_text(encoding="utf-8")):
        assert (ROOT / "scenarios" / f"{name}.toml").exists(), name
