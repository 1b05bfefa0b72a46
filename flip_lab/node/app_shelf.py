"""The apps that a node has received, each unpacked once in a directory of its own."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from flwr.clientapp import ClientApp

from flip_lab.core.clock import now_s
from flip_lab.core.errors import AppImportError
from flip_lab.engines.failures import failure_tail

_MOST_APPS = 50
_USED_S = 60.0  # how exactly an app's last use is known


@dataclass(frozen=True, kw_only=True)
class SiteApp:
    """An app that lies unpacked at the site.

    Attributes:
        app_hash: Hash of its code.
        directory: Where its files are.
        client_ref: ``module:attribute`` of its ClientApp.
    """

    app_hash: str
    directory: Path
    client_ref: str


class AppShelf:
    """Where received apps lie; the oldest go when there are too many.

    Args:
        directory: Where to; made when the first app comes.
    """

    def __init__(self, directory: Path) -> None:
        """Look at nothing yet."""
        self._directory = directory

    def put(self, app_hash: str, files: Mapping[str, bytes], client_ref: str) -> SiteApp:
        """Unpack an app, unless it lies here already.

        Args:
            app_hash: Hash of its code.
            files: Content by relative path, checked (``read_fab``).
            client_ref: ``module:attribute`` of its ClientApp.
        """
        place = self._directory / app_hash
        if not place.exists():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()
            fresh = Path(tempfile.mkdtemp(dir=self._directory, prefix=".new-"))
            try:
                _write(files, fresh)
                fresh.rename(place)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)  # once renamed it is not there
        if now_s() - place.stat().st_mtime > _USED_S:
            os.utime(place)  # the newest is the one that was used last
        return SiteApp(app_hash=app_hash, directory=place, client_ref=client_ref)

    def _sweep(self) -> None:
        """Make room for one more app; what an earlier process left half goes as well."""
        apps = [each for each in self._directory.iterdir() if not each.name.startswith(".")]
        apps.sort(key=lambda each: each.stat().st_mtime, reverse=True)
        for old in apps[_MOST_APPS - 1 :]:
            old.rename(old.with_name(f".old-{old.name}"))  # half an app is none
        for half in self._directory.glob(".*"):
            shutil.rmtree(half, ignore_errors=True)


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files so that they are on the disk before their directory has its name.

    After a power cut an app would else be there for good, and its files empty.
    """
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


@dataclass(kw_only=True)
class _Loaded:
    """An app in this process, and the modules that are its own."""

    names: frozenset[str]
    app: ClientApp | None = None
    modules: dict[str, ModuleType] = field(default_factory=dict[str, ModuleType])


class LoadedApps:
    """The apps that this process has imported; used by one thread at a time.

    Two apps may have modules of the same names. So an app's own modules are importable
    only while the app is in use, and kept aside in between.
    """

    def __init__(self) -> None:
        """Nothing is imported yet."""
        self._loaded: dict[str, _Loaded] = {}

    @contextmanager
    def use(self, site_app: SiteApp) -> Generator[ClientApp]:
        """Give an app, with its modules importable in the block.

        Raises:
            AppImportError: If it cannot be imported, or is no ClientApp.
        """
        loaded = self._loaded.get(site_app.app_hash)
        if loaded is None:
            loaded = _Loaded(names=_own_names(site_app.directory))
            self._loaded[site_app.app_hash] = loaded
            importlib.invalidate_caches()  # its files are new
        hidden = _taken_out(loaded.names)
        sys.modules.update(loaded.modules)
        num_modules = len(sys.modules)
        entry = str(site_app.directory)
        sys.path.insert(0, entry)
        try:
            if loaded.app is None:
                loaded.app = _client_app(site_app)
            yield loaded.app
        finally:
            if entry in sys.path:
                sys.path.remove(entry)
            if len(sys.modules) != num_modules:  # it imported more
                loaded.modules = _taken_out(loaded.names)
            for name in loaded.modules:
                sys.modules.pop(name, None)
            sys.modules.update(hidden)


def _own_names(directory: Path) -> frozenset[str]:
    """Name the modules and packages that lie in an app's directory."""
    entries = directory.iterdir()
    return frozenset(each.stem for each in entries if each.suffix == ".py" or each.is_dir())


def _taken_out(names: frozenset[str]) -> dict[str, ModuleType]:
    """Take modules of these names, and those inside them, out of what is imported."""
    if names.isdisjoint(sys.modules):  # thousands of names: worth a glance first
        return {}
    found = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in found}


def _client_app(site_app: SiteApp) -> ClientApp:
    """Import an app from its directory.

    Raises:
        AppImportError: If that raises, or gives something else.
    """
    module, _, attribute = site_app.client_ref.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for name in attribute.split("."):
            found = getattr(found, name)
    except (Exception, SystemExit) as raised:
        raise AppImportError(
            f"Importing {site_app.client_ref!r} raised {type(raised).__name__}.",
            fix="Mend the module, or let the site install what it imports.",
            detail=failure_tail(raised),
        ) from raised
    if not isinstance(found, ClientApp):
        raise AppImportError(
            f"{site_app.client_ref!r} is a {type(found).__name__}, not a ClientApp.",
            fix="Point [tool.flwr.app.components] at a ClientApp object.",
        )
    return found
