"""Preflight, what the device itself can say: imports, data, disk, port."""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from flip_lab.core.errors import FlipLabError
from flip_lab.core.servers import bound_socket
from flip_lab.fl.data.site_source import site_config
from flip_lab.node.config import NodeConfig
from flip_lab.node.preflight_report import Check, refused

_SCARCE_BYTES = 2**30
_TOO_LITTLE_BYTES = 2**27
_NEEDED = ("flwr.clientapp", "torch")


def check_imports(app: Path | None) -> Iterator[Check]:
    """Import what every run needs, and look for what an app imports beside that.

    Args:
        app: The app's directory.
    """
    failed: list[str] = []
    for name in _NEEDED:
        try:
            import_module(name)
        except Exception as error:  # noqa: BLE001  # a broken library raises anything
            failed.append(f"{name} ({type(error).__name__}: {error})")
    if failed:
        fix = 'Install them anew: pip install --force-reinstall "flip-lab[node]"'
        yield Check(name="imports", verdict="wrong", found=", ".join(failed), fix=fix)
    else:
        yield Check(name="imports", verdict="good", found=", ".join(_NEEDED))
    if app is not None:
        yield _app(app)


def _app(app: Path) -> Check:
    files = sorted(app.rglob("*.py"))
    own: set[str] = {path.stem for path in files}
    wanted: set[str] = set()
    try:
        own |= {path.name for path in app.iterdir()}
        for path in files:
            wanted |= _imported(ast.parse(path.read_text("utf-8")))
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        fix = "Correct the app."
        return Check(name="app", verdict="wrong", found=str(error), fix=fix)
    missing = sorted(name for name in wanted - own if find_spec(name) is None)
    if not files or missing:
        found = f"not installed: {', '.join(missing)}" if files else f"no code in {app}"
        fix = f"pip install {' '.join(missing)}" if files else "Name an app's directory."
        return Check(name="app", verdict="wrong", found=found, fix=fix)
    return Check(name="app", verdict="good", found=f"{len(wanted - own)} packages found")


def _imported(tree: ast.AST) -> set[str]:
    """Give the packages that a module imports, wherever in it."""
    names: set[str] = set()
    for part in ast.walk(tree):
        if isinstance(part, ast.Import):
            names |= {each.name for each in part.names}
        elif isinstance(part, ast.ImportFrom) and part.module and not part.level:
            names.add(part.module)
    return {name.partition(".")[0] for name in names}


def check_data(config: NodeConfig) -> Check:
    """See that the site's data is there, and can be read."""
    if config.data is None:
        return Check(name="data", verdict="good", found="apps bring their own")
    from flip_lab.fl.data.site import site_dataset  # brings pandas

    try:
        data = site_dataset(site_config(config.data, config.directory))
    except FlipLabError as error:
        return refused("data", error)
    shape = "×".join(map(str, data.features.shape[1:]))
    found = f"{len(data.features)} examples of {shape}, {len(data.class_names)} classes"
    return Check(name="data", verdict="good", found=found)


def check_disk(config: NodeConfig) -> Check:
    """See that there is room for models, contexts and logs."""
    free = shutil.disk_usage(config.directory).free
    found = f"{free / 2**30:.1f} GiB free"
    if not os.access(config.directory, os.W_OK):
        fix = "Let the account that runs the node own its directory."
        return Check(name="disk", verdict="wrong", found="not writable", fix=fix)
    if free >= _SCARCE_BYTES:
        return Check(name="disk", verdict="good", found=found)
    verdict = "warning" if free >= _TOO_LITTLE_BYTES else "wrong"
    return Check(name="disk", verdict=verdict, found=found, fix="Free some space.")


def check_port(config: NodeConfig) -> Iterator[Check]:
    """See that the prediction endpoint can listen, if there is to be one."""
    if config.serve is None:
        return
    where = f"{config.serve.host}:{config.serve.port}"
    try:
        bound_socket(config.serve.host, config.serve.port).close()
    except OSError as error:
        if _is_running(config):
            yield Check(name="port", verdict="good", found=f"{where}, by this node")
            return
        found = f"{where}: {error.strerror or error}"
        fix = "Give another port in [serve], or end what listens there."
        yield Check(name="port", verdict="wrong", found=found, fix=fix)
        return
    yield Check(name="port", verdict="good", found=f"{where} is free")


def _is_running(config: NodeConfig) -> bool:
    """Say whether this very node is up, by what it says of itself."""
    try:
        told = json.loads(config.status_file.read_bytes())
        os.kill(int(told["process_id"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return told.get("state") != "stopped"
