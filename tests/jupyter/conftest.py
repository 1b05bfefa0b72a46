"""Jupyter Server in this process, with our extension and a real API process behind it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403  # its fixtures, for this folder only


@pytest.fixture
def jp_base_url() -> str:
    """Serve where JupyterHub would: below a person's name, percent-encoded."""
    return "/user/j%C3%BCrgen/"


@pytest.fixture
def jp_server_config(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Switch our extension on, and leave nobody in without a token."""
    for name in ("FLIP_LAB_HOME", "FLIP_LAB_AUTHOR", "JUPYTERHUB_USER"):
        monkeypatch.setenv(name, "")  # the extension sets some: undone after the test
        monkeypatch.delenv(name)
    extensions = {"flip_lab.jupyter": True, "jupyter_server_terminals": False}
    return {
        "ServerApp": {
            "jpserver_extensions": extensions,
            "allow_unauthenticated_access": False,
        }
    }


@pytest.fixture
def root(jp_root_dir: Path) -> Path:
    """Give Jupyter's root directory."""
    return jp_root_dir
