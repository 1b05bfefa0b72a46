"""Packing an app into the bundle that Flower sends to nodes."""

from __future__ import annotations

import hashlib
import json
import tomllib
import warnings
from collections.abc import Mapping
from secrets import token_hex

import tomli_w
from flwr.cli.build import build_fab_from_files
from flwr.supercore.fab import Fab

from flip_lab.core.errors import AppError


def build_fab(
    files: Mapping[str, bytes],
    run_config: Mapping[str, bool | int | float | str],
    *,
    run_id: str = "",
    seed: int | None = None,
) -> Fab:
    """Pack an app for one run: its configuration inside, its hash unlike any other.

    The configuration travels in the bundle, because a SuperLink takes overrides only for
    keys that the bundle already has. The hash is how we claim our run and nobody else's.

    Args:
        files: A whole Flower App by relative path, with its ``pyproject.toml``.
        run_config: The run configuration that ClientApps shall read.
        run_id: The run's id in the lab. A node keeps what its clients remember under it,
            so that it outlives a restart of the hub, where Flower begins another run.
        seed: The run's seed; nodes of ours set the global generators from it before each
            call, as a simulation does.

    Raises:
        AppError: If Flower does not take the app.
    """
    try:
        project = tomllib.loads(files["pyproject.toml"].decode())
        project["tool"]["flwr"]["app"]["config"] = dict(run_config)
        ours = {"nonce": token_hex(16), "run": run_id, "seed": seed}
        told = {key: value for key, value in ours.items() if value is not None}
        project["tool"]["flip-lab"] = told
        packed = {**files, "pyproject.toml": tomli_w.dumps(project).encode()}
        with warnings.catch_warnings():
            # Flower asks pathspec for a name that is on its way out.
            warnings.simplefilter("ignore", DeprecationWarning)
            content, _ = build_fab_from_files(packed)
    except (KeyError, ValueError) as error:
        raise AppError(
            f"The app cannot be packed for the nodes: {error}.",
            fix="Make `flwr build` work in the app's directory.",
        ) from error
    return Fab(hashlib.sha256(content).hexdigest(), content, {})


def app_hash(files: Mapping[str, bytes]) -> str:
    """Hash an app's code, so that a site can allow it once for all runs of it.

    What differs from run to run is left out: Flower's list of contents, and of the
    ``pyproject.toml`` the run configuration and our own table.

    Args:
        files: What a bundle holds, by relative path.

    Returns:
        64 hexadecimal digits; equal for each run of the same code.

    Raises:
        AppError: If there is no ``pyproject.toml``, or it is no TOML.
    """
    digest = hashlib.sha256()
    for path in sorted(files):
        if not path.startswith(".info/"):
            content = _lasting(files[path]) if path == "pyproject.toml" else files[path]
            for part in (path.encode(), content):
                digest.update(len(part).to_bytes(8, "big") + part)
    if "pyproject.toml" not in files:
        raise AppError("The app has no pyproject.toml.", fix="Pack a whole Flower App.")
    return digest.hexdigest()


def _lasting(project_file: bytes) -> bytes:
    """Give what a ``pyproject.toml`` says beside the things of one run.

    Raises:
        AppError: If it is no TOML.
    """
    try:
        tool = (project := tomllib.loads(project_file.decode())).get("tool", {})
        tool.pop("flip-lab", None)
        tool.get("flwr", {}).get("app", {}).pop("config", None)
    except (AttributeError, ValueError) as error:
        raise AppError(
            f"The app's pyproject.toml cannot be read: {error}.",
            fix="Make `flwr build` work in the app's directory.",
        ) from error
    return json.dumps(project, sort_keys=True, default=str).encode()
