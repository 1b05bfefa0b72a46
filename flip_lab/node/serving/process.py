"""The process of an endpoint beside a node: ``python -m flip_lab.node.serving.process``.

Its settings come as one line of JSON on standard input, which stays open as long as the
node lives: when it ends, so does this. Where it listens, or why it cannot, goes out as one
line of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from flip_lab.core.errors import FlipLabError
from flip_lab.node.config import NodeConfig, ServeSettings, load_node
from flip_lab.node.serving.listening import Place, serve

REFUSED = 78
"""Exit status when it cannot start as it is told: another try will not help (EX_CONFIG)."""


def told_settings(config: NodeConfig) -> str:
    """Give the line that such a process begins with."""
    settings = asdict(config.serve or ServeSettings())
    told = {key: str(v) if isinstance(v, Path) else v for key, v in settings.items()}
    return json.dumps({"directory": str(config.directory), "serve": told})


def main() -> int:
    """Serve until standard input ends, or a signal comes."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    config, node = _read(sys.stdin.readline()), line_to_the_node()
    threading.Thread(target=_end_with_the_node, daemon=True).start()
    try:
        serve(config, on_ready=partial(_tell, node))
    except FlipLabError as error:
        print(json.dumps({"error": str(error)}), file=node, flush=True)
        return REFUSED
    return 0


def _read(line: str) -> NodeConfig:
    told: dict[str, Any] = json.loads(line)
    serve_told = told["serve"]
    files = {
        key: None if serve_told[key] is None else Path(serve_told[key])
        for key in ("token_file", "certificate", "key")
    }
    settings = ServeSettings(host=serve_told["host"], port=serve_told["port"], **files)
    return replace(load_node(Path(told["directory"])), serve=settings)


def line_to_the_node() -> TextIO:
    """Take standard output over; what else is printed is read by nobody from now on.

    The node reads one line of it. A model or a data set that somebody added may print:
    before that line it would be taken for it, and after it nobody would empty the pipe.
    The log is no place for it: a line for each prediction would outgrow its bounds.
    """
    node = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with Path(os.devnull).open("wb") as nobody:
        os.dup2(nobody.fileno(), 1)
    return node


def _tell(node: TextIO, place: Place) -> None:
    told = {
        "url": place.url,
        "token_file": str(place.token_file),
        "process_id": place.process_id,
    }
    print(json.dumps(told), file=node, flush=True)


def _end_with_the_node() -> None:
    while sys.stdin.readline():
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
