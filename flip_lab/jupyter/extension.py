"""The server extension: one Jupyter, one lab, one process that serves it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, PathMatches, Rule

from flip_lab.jupyter.api_supervisor import ApiSupervisor
from flip_lab.jupyter.relay import Relay
from flip_lab.jupyter.relay_live import LiveRelay

MOUNT = "flip"
"""The API's place below Jupyter's base URL."""


class FlipLabExtension(ExtensionApp):
    """Answers ``{base_url}flip/…`` from a process of our own.

    The process starts with the first request, again with the next one should it die, and
    ends with Jupyter. Runs are processes of their own: they go on whatever ends.
    """

    name = "flip_lab"
    supervisor: ApiSupervisor

    def initialize_handlers(self) -> None:
        """Add the routes; Jupyter calls it when its web application is there."""
        server = self.serverapp
        assert server is not None  # noqa: S101  # Jupyter has just set it
        root = Path(server.root_dir)
        lab = settle_lab(root)
        self.supervisor = ApiSupervisor(lab=lab, root=root, log=self.log)
        mount = url_path_join(server.base_url, MOUNT)
        given = {"supervisor": self.supervisor, "mount": mount}
        routes = [
            Rule(_WebSocketBelow(mount), LiveRelay, given),
            Rule(PathMatches(f"{mount}/.*"), Relay, given),
        ]
        server.web_app.add_handlers(".*$", routes)

    async def stop_extension(self) -> None:
        """End the process; Jupyter calls it when it ends."""
        await self.supervisor.stop()


class _WebSocketBelow(Matcher):
    """Takes the requests below a path that want to become WebSockets."""

    def __init__(self, mount: str) -> None:
        self._path = re.compile(f"{mount}/")

    def match(self, request: HTTPServerRequest) -> dict[str, object] | None:
        """Give no arguments for a WebSocket below the path, ``None`` for the rest."""
        is_websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        return {} if is_websocket and self._path.match(request.path) else None


def settle_lab(root: Path) -> Path:
    """Settle which lab this Jupyter shows, its kernels and terminals use.

    Args:
        root: Jupyter's root directory.

    Returns:
        ``FLIP_LAB_HOME`` if somebody set it, else ``.flip-lab`` in the root; from now on
        ``FLIP_LAB_HOME`` says the same to every kernel and terminal.
    """
    told = os.environ.get("FLIP_LAB_HOME")
    lab = root / Path(told).expanduser() if told else root / ".flip-lab"
    os.environ["FLIP_LAB_HOME"] = str(lab)
    if person := os.environ.get("JUPYTERHUB_USER"):  # there every container's user is one
        os.environ.setdefault("FLIP_LAB_AUTHOR", person)
    return lab
