"""A node's own log: it stays at the site, and never grows beyond its bounds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

_MOST_BYTES = 5 * 2**20
_OLD_FILES = 3
_FORM = "%(asctime)s %(levelname)s %(message)s"


class SiteLog(logging.LoggerAdapter[logging.Logger]):
    """Where one node writes; several nodes of one process write into files of their own.

    Args:
        path: The file; older ones are beside it as ``node.log.1`` and so on.
        name: The site's name, which logs of several nodes on one screen need.
    """

    def __init__(self, path: Path, name: str) -> None:
        """Open the file."""
        logger = logging.getLogger(f"flip_lab.node.{name.replace('.', '_')}")
        logger.setLevel(logging.INFO)
        self._handler = RotatingFileHandler(
            path, maxBytes=_MOST_BYTES, backupCount=_OLD_FILES, encoding="utf-8", delay=True
        )
        self._handler.setFormatter(logging.Formatter(_FORM))
        logger.addHandler(self._handler)
        super().__init__(logger, {"site": name})

    def process(
        self, msg: object, kwargs: Mapping[str, Any]
    ) -> tuple[object, dict[str, Any]]:
        """Leave a message as it is."""
        return msg, dict(kwargs)

    def close(self) -> None:
        """Close the file."""
        self.logger.removeHandler(self._handler)
        self._handler.close()
