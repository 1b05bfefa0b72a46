"""The JupyterLab extension in the repository is built from the sources beside it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

_HERE = Path(__file__).parents[3] / "extensions" / "flip-lab"
_BUILT = _HERE / "labextension"
_SOURCES = (
    "install.json",
    "package-lock.json",
    "package.json",
    "schema",
    "src",
    "style",
    "tsconfig.json",
)
_MOST_BYTES = 250_000


def _files(name: str) -> Iterator[str]:
    place = _HERE / name
    found = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
    return (path.relative_to(_HERE).as_posix() for path in found)


def _fingerprint() -> str:
    """Give what scripts/stamp.mjs writes after a build."""
    whole = sha256()
    for path in sorted(path for name in _SOURCES for path in _files(name)):
        content = sha256((_HERE / path).read_bytes()).hexdigest()
        whole.update(f"{path} {content}\n".encode())
    return whole.hexdigest()


def test_the_build_is_of_these_sources() -> None:
    """Whoever changes the sources builds the extension anew."""
    stamp = (_BUILT / "sources.sha256").read_text().strip()
    assert stamp == _fingerprint(), "build it and commit labextension/: make extension"


def test_the_build_is_complete() -> None:
    """JupyterLab finds the entry, the style and the schema that the build names."""
    built = json.loads((_BUILT / "package.json").read_text())["jupyterlab"]["_build"]
    assert (_BUILT / built["load"]).is_file()
    assert (_BUILT / "static" / "style.js").is_file()
    shipped = {path.name for path in (_HERE / "schema").glob("*.json")}
    assert shipped <= {path.name for path in (_BUILT / "schemas" / "flip-lab").iterdir()}


def test_the_build_is_small() -> None:
    """A page loads it over a thin line, too."""
    size = sum(path.stat().st_size for path in _BUILT.rglob("*.js"))
    assert 5_000 < size <= _MOST_BYTES


def test_the_lock_names_no_host() -> None:
    """Packages come from whatever registry a machine is set up for."""
    text = (_HERE / "package-lock.json").read_text()
    assert json.loads(text)["packages"]
    assert "://" not in text, "write it with: npm run lock"


def test_the_build_asks_no_host() -> None:
    """Everything that a page loads lies in the wheel; names of XML are no addresses."""
    for path in _BUILT.rglob("*.js"):
        text = path.read_text().replace("http://www.w3.org/", "")
        assert "http://" not in text, path.name
        assert "https://" not in text, path.name


def test_its_own_tests() -> None:
    """What needs no browser is tested by Node's own runner."""
    if shutil.which("node") is None:
        pytest.skip("the extension's tests need Node")
    if not (_HERE / "node_modules" / "typescript").is_dir():
        pytest.skip("the extension's tests need its packages: make extension-packages")
    ran = subprocess.run(
        ["npm", "test"], cwd=_HERE, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
