"""The models that answer now: swapped whole, so that no request sees half a change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from types import MappingProxyType

from flip_lab.core.errors import (
    FlipLabError,
    ModelNotFoundError,
    NodeDataError,
    PredictionError,
    nearest,
)
from flip_lab.node.config import NodeConfig
from flip_lab.node.serving.input_schema import read_input_schema
from flip_lab.node.serving.manifest import Manifest
from flip_lab.node.serving.predictor import (
    AS_IT_COMES,
    Predictor,
    SiteRows,
    load_predictor,
)
from flip_lab.node.serving.shelf import Shelf
from flip_lab.node.serving.shelf_state import Installed
from flip_lab.node.serving.site_rows import site_rows

_log = logging.getLogger(__name__)


class NotReadyError(PredictionError):
    """No model is live yet: later there may be one."""


class ServedModels:
    """The live version of each model of a node.

    A request takes the predictor that is there when it comes and keeps it to its end; a
    new version takes its place between two requests.

    Args:
        config: The node's settings.
        shelf: Its models.
    """

    def __init__(self, config: NodeConfig, shelf: Shelf) -> None:
        """Load nothing yet."""
        self._config = config
        self._shelf = shelf
        self._live: Mapping[str, Predictor] = MappingProxyType({})
        self._tag: tuple[int, int] | None = None
        self._lock = threading.Lock()

    @property
    def live(self) -> Mapping[str, Predictor]:
        """The predictor of each model that answers."""
        return self._live

    def predictor(self, name: str | None) -> Predictor:
        """Give the one that answers.

        Args:
            name: The model; ``None`` where there is one only.

        Raises:
            NotReadyError: If no model is live.
            PredictionError: If several are and none was named.
            ModelNotFoundError: If none of this name is live.
        """
        live = self._live
        if not live:
            raise NotReadyError(
                f"No model is live at {self._config.name} yet.",
                fix="Deliver one: lab.models.deliver(name, to=federation).",
            )
        if name is None and len(live) == 1:
            return next(iter(live.values()))
        if name is None:
            raise PredictionError(
                f"Several models are live here: {', '.join(sorted(live))}.",
                fix="Say which one: /predict?model=NAME",
            )
        if name not in live:
            raise ModelNotFoundError(
                f"No model {name!r} is live at {self._config.name}.",
                fix=nearest(name, live),
            )
        return live[name]

    def installed(self) -> list[Installed]:
        """Give every version that the node keeps."""
        return self._shelf.installed()

    def make_live(self, name: str, version: int) -> Predictor:
        """Let another version that is here answer from now on.

        Raises:
            ModelNotFoundError: If it is not here.
            DeliveryError: If it cannot be loaded; then the other one goes on.
        """
        for each in self._shelf.installed():
            if (each.manifest.name, each.manifest.version) == (name, version):
                self._loaded(each)  # before anything changes
        self._shelf.make_live(name, version)
        self.refresh()
        return self.predictor(name)

    def refresh(self) -> bool:
        """Load what became live since the last look; say whether anything changed."""
        with self._lock:
            tag = self._shelf.tag
            if tag == self._tag:
                return False
            before = self._live
            self._live = MappingProxyType(
                {
                    predictor.manifest.name: predictor
                    for each in self._shelf.installed()
                    if each.is_live and (predictor := self._found(each)) is not None
                }
            )
            self._tag = tag
            return self._live != before

    def _found(self, installed: Installed) -> Predictor | None:
        """Give the predictor of a live version; the one before if it cannot be loaded."""
        before = self._live.get(installed.manifest.name)
        if before is not None and before.manifest == installed.manifest:
            return before
        try:
            return self._loaded(installed)
        except FlipLabError as error:
            _log.error("%s", error)
            return before

    def _loaded(self, installed: Installed) -> Predictor:
        site = self._site_rows(installed.manifest)
        return load_predictor(installed.manifest, installed.path, site=site)

    def _site_rows(self, manifest: Manifest) -> SiteRows:
        try:
            schema = read_input_schema(manifest.input_schema)
            return site_rows(self._config, manifest, schema)
        except NodeDataError as error:
            _log.warning("%s", error)
            return AS_IT_COMES
