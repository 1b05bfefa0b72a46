"""Models that the hub delivers: fetched, checked, kept, and reported back.

A delivery is believed for the hub's signature and its file for its hash, so it may come
over any way; a file that breaks off goes on where it stopped. What a node refuses stays
refused, with the reason told to the hub: what answers predictions goes on.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Protocol

from flip_lab.core.errors import (
    CorruptArtifactError,
    DeliveryError,
    FlipLabError,
    NoSuchPlaceError,
    RequestError,
)
from flip_lab.node.config import NodeConfig
from flip_lab.node.deliveries_untold import Untold
from flip_lab.node.serving.hub_key import hub_key, open_shelf
from flip_lab.node.serving.manifest import (
    Manifest,
    SignedManifest,
    file_sha256,
    verified_manifest,
)

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
"""Seconds between two looks for deliveries."""

_PLACE = "/flip/v1/device"
_SPARE_BYTES = 2**28  # what stays free on the disk, for clients and logs
_LONGEST_WHY = 2000  # a hub reads no more
_UNHEARD = (NoSuchPlaceError, RequestError)  # what a hub says to a word that it never takes
_FIX_DISK = "Free some space at the node, and deliver the model again."


class HubLine(Protocol):
    """A signed line to the node's hub.

    Its methods raise a ``FlipLabError`` if the hub is away or refuses.
    """

    def ask(self, method: str, target: str, told: Any = None) -> Any:  # noqa: ANN401  # JSON
        """Send JSON, give back JSON."""
        ...

    def parts(
        self, target: str, *, after_bytes: int
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Give a file part by part, from some byte on."""
        ...


class Deliveries:
    """Takes in what the hub delivers to this node.

    Args:
        config: The node's settings.
        line: To its hub.

    Raises:
        HubStateError: If the node does not have its hub's public key.
    """

    def __init__(self, config: NodeConfig, line: HubLine) -> None:
        """Ask for nothing yet."""
        self._config = config
        self._line = line
        self._key = hub_key(config)
        self._shelf = open_shelf(config)
        self._untold = Untold(config.models)
        self._unsigned: set[bytes] = set()

    def look(self) -> None:
        """Take in what there is; what goes wrong is the log's, and the next look's."""
        try:
            self.take()
        except (FlipLabError, OSError) as error:  # the hub is away, or the disk is full
            _log.debug("No deliveries: %s", error)
        except Exception:  # noqa: BLE001  # a thread that dies takes in nothing more
            _log.exception("A delivery could not be dealt with.")

    def take(self) -> int:
        """Take in what there is; say how many deliveries that were.

        Raises:
            FlipLabError: If the hub cannot be asked.
        """
        num_taken = 0
        self._untold.tell(self._tell)
        while True:
            after = self._shelf.state.last
            told = self._line.ask("GET", f"{_PLACE}/deliveries?after={after}")
            found = [SignedManifest.read(each) for each in told["items"]]
            num_taken += sum(self._deal_with(signed) for signed in found)
            if self._shelf.state.last == after:
                return num_taken

    def _deal_with(self, signed: SignedManifest) -> bool:
        """Keep a delivery or refuse it, and say so to the hub."""
        try:
            manifest = verified_manifest(signed, self._key)
        except DeliveryError as error:
            self._refuse_unsigned(signed, error)
            return False
        try:
            self._keep(signed, manifest)
        except (DeliveryError, CorruptArtifactError) as error:
            self._shelf.skip(manifest.delivery)
            _log.error(
                "Delivery %d (%s) is refused: %s", manifest.delivery, manifest, error
            )
            self._untold.add(manifest.delivery, "refused", error.what)
        else:
            state = "installed" if manifest.action == "install" else "withdrawn"
            _log.info("Delivery %d: %s is %s.", manifest.delivery, manifest, state)
            self._untold.add(manifest.delivery, state, "")
        self._untold.tell(self._tell)
        return True

    def _keep(self, signed: SignedManifest, manifest: Manifest) -> None:
        from flip_lab.node.serving.predictor import check_model_file  # torch: seconds

        if manifest.action == "withdraw":
            self._shelf.withdraw(signed)
            return
        self._fetch(manifest)
        check_model_file(manifest, self._shelf.file(manifest.sha256))
        self._shelf.install(signed)

    def _refuse_unsigned(self, signed: SignedManifest, error: DeliveryError) -> None:
        """Say once that something is not the hub's; only for that its number counts."""
        if signed.content in self._unsigned:
            return
        self._unsigned.add(signed.content)
        _log.error("%s", error)
        try:
            number = int(json.loads(signed.content)["delivery"])
        except (ValueError, TypeError, KeyError):
            return
        self._tell(number, "refused", error.what)

    def _tell(self, delivery: int, state: str, why: str) -> None:
        told = {"state": state, "why": why[:_LONGEST_WHY]}
        with suppress(*_UNHEARD):
            self._line.ask("POST", f"{_PLACE}/deliveries/{delivery}", told)

    def _fetch(self, manifest: Manifest) -> None:
        """Get the file, if it is not here; on from where an earlier try stopped."""
        target = self._shelf.file(manifest.sha256)
        if target.exists() and file_sha256(target) == manifest.sha256:
            return
        draft = target.with_suffix(".part")
        self._require_room(manifest)
        came = self._receive(manifest, draft)
        if came < manifest.size_bytes:  # without an error: the next look goes on
            raise _BrokenOffError(
                f"Of {manifest} {came:,} of {manifest.size_bytes:,} bytes came.",
                fix="Nothing need be done: it goes on by itself.",
            )
        if file_sha256(draft) != manifest.sha256:
            draft.unlink(missing_ok=True)
            raise DeliveryError(
                f"The file of {manifest} does not match its hash {manifest.sha256:.16}….",
                fix="Deliver it again: it was changed on the way, or at the hub.",
            )
        draft.replace(target)

    def _receive(self, manifest: Manifest, draft: Path) -> int:
        """Append what is missing; give how many bytes are there then."""
        came = draft.stat().st_size if draft.exists() else 0
        came = came if came < manifest.size_bytes else 0
        target = f"{_PLACE}/models/{manifest.sha256}"
        with (
            draft.open("r+b" if came else "wb") as file,
            self._line.parts(target, after_bytes=came) as parts,
        ):
            file.seek(came)
            for part in parts:
                came += len(part)
                if came > manifest.size_bytes:
                    break
                file.write(part)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())  # it is told to be here, and not fetched again
        return came

    def _require_room(self, manifest: Manifest) -> None:
        """Check that a file fits, before any of it is fetched.

        Raises:
            DeliveryError: If it does not.
        """
        most = self._config.limits.message_mb * 2**20
        if manifest.size_bytes > most:
            raise DeliveryError(
                f"{manifest} has {manifest.size_bytes:,} bytes; {self._config.name} takes "
                f"up to {most:,}.",
                fix="Let the site raise message-mb in the [limits] of node.toml.",
            )
        self._config.models.mkdir(parents=True, exist_ok=True, mode=0o700)
        free = shutil.disk_usage(self._config.models).free
        if free < manifest.size_bytes + _SPARE_BYTES:
            raise DeliveryError(
                f"{manifest} has {manifest.size_bytes:,} bytes; {free:,} are free at "
                f"{self._config.name}.",
                fix=_FIX_DISK,
            )


class _BrokenOffError(FlipLabError):
    """A file stopped coming: no reason to refuse it."""

    code = DeliveryError.code
