"""Packing an app into the bundle that Flower sends to nodes."""

from __future__ import annotations

import hashlib
import tomllib
import warnings
from collections.abc import Mapping
from secrets import token_hex

import tomli_w
from flwr.cli.build import build_fab_from_files
from flwr.supercore.fab import Fab

from flip_lab.core.errors import AppError


def build_fab(
    files: Mapping[str, bytes], run_config: Mapping[str, bool | int | float | str]
) -> Fab:
    """Pack an app for one run: its configuration inside, its hash unlike any other.

    The configuration travels in the bundle, because a SuperLink takes overrides only for
    keys that the bundle already has. The hash is how we claim our run and nobody else's.

    Args:
        files: A whole Flower App by relative path, with its ``pyproject.toml``.
        run_config: The run configuration that ClientApps shall read.

    Raises:
        AppError: If Flower does not take the app.
    """
    try:
        project = tomllib.loads(files["pyproject.toml"].decode())
        project["tool"]["flwr"]["app"]["config"] = dict(run_config)
        project["tool"]["flip-lab"] = {"nonce": token_hex(16)}
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
