"""Where a node keeps delivered models: the last few versions, and which of them is live.

One directory, changed by two processes at a site: the node installs what comes, the
endpoint makes a version live when its owner asks. A lock on ``lock`` keeps them apart; each
file is there whole or not at all, so a reader needs none::

    models/<sha256>.safetensors   the files
           <delivery>.json        signed manifests
           state.json             last delivery, and versions that were live, by model
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from flip_lab.core.errors import DeliveryError, ModelNotFoundError
from flip_lab.node.serving.manifest import Manifest, SignedManifest, verified_manifest
from flip_lab.node.serving.shelf_state import Installed, ShelfState

KEPT_VERSIONS = 3
"""Versions of a model that a node keeps; the live one is always among them."""

_STATE = "state.json"


class Shelf:
    """The models of one node.

    Args:
        directory: ``models`` in the node's directory; made when something comes.
        key: The public key of the node's hub.
    """

    def __init__(self, directory: Path, key: Ed25519PublicKey) -> None:
        """Read nothing yet."""
        self._directory = directory
        self._key = key

    @property
    def state(self) -> ShelfState:
        """What the node remembers.

        Raises:
            DeliveryError: If that cannot be read.
        """
        path = self._directory / _STATE
        try:
            told: dict[str, Any] = json.loads(path.read_bytes())
            produced = {str(k): tuple(map(int, v)) for k, v in told["produced"].items()}
            return ShelfState(last=int(told["last"]), produced=produced)
        except FileNotFoundError:
            return ShelfState()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DeliveryError(
                f"{path} cannot be read ({error!r:.100}).",
                fix="Delete it: deliveries come again, and files that are there are kept.",
            ) from error

    @property
    def tag(self) -> tuple[int, int]:
        """Something that changes whenever the state does; cheap to ask for."""
        try:
            found = (self._directory / _STATE).stat()
        except FileNotFoundError:
            return (0, 0)
        return (found.st_mtime_ns, found.st_ino)

    def file(self, sha256: str) -> Path:
        """Say where the file of this hash lies or would lie."""
        return self._directory / f"{sha256}.safetensors"

    def installed(self) -> list[Installed]:
        """Give what is kept, the oldest delivery first; what is damaged is left out."""
        state = self.state
        found = (self._read(path) for path in self._manifests())
        return [
            Installed(
                manifest=manifest,
                path=self.file(manifest.sha256),
                is_live=state.is_live(manifest.name, manifest.version),
            )
            for manifest in found
            if manifest is not None and self.file(manifest.sha256).exists()
        ]

    def install(self, signed: SignedManifest) -> None:
        """Keep a version whose file is there; one for production is live from now on.

        Args:
            signed: The manifest; another one of the same version goes.

        Raises:
            DeliveryError: If it is not the hub's, or older than the last delivery.
        """
        manifest = verified_manifest(signed, self._key)
        with self._changing() as state:
            _require_news(manifest, state)
            content = json.dumps(signed.plain()).encode()
            self._write(self._directory / f"{manifest.delivery:010d}.json", content)
            self._drop(manifest.name, manifest.version, but=manifest.delivery)
            after = replace(state, last=manifest.delivery)
            if manifest.stage == "production":
                after = after.with_live(manifest.name, manifest.version)
            self._keep(self._pruned(manifest.name, after))

    def withdraw(self, signed: SignedManifest) -> None:
        """Put a version away; the one that was live before it is live again.

        Raises:
            DeliveryError: If the manifest is not the hub's, or older than the last one.
        """
        manifest = verified_manifest(signed, self._key)
        with self._changing() as state:
            _require_news(manifest, state)
            after = replace(state, last=manifest.delivery)
            self._keep(after.without(manifest.name, manifest.version))
            self._drop(manifest.name, manifest.version)
            self._sweep()

    def skip(self, delivery: int) -> None:
        """Remember that a delivery was refused, so that it is not tried for ever."""
        with self._changing() as state:
            self._keep(replace(state, last=max(state.last, delivery)))

    def make_live(self, name: str, version: int) -> Installed:
        """Let a version that is kept answer predictions.

        Raises:
            ModelNotFoundError: If it is not kept here.
        """
        with self._changing() as state:
            kept = [each.manifest for each in self.installed()]
            numbers = sorted(each.version for each in kept if each.name == name)
            if version not in numbers:
                raise ModelNotFoundError(
                    f"Version {version} of {name!r} is not at this node.",
                    fix=f"Versions of it that are: {numbers or 'none'}.",
                )
            self._keep(state.with_live(name, version))
        return next(
            each
            for each in self.installed()
            if (each.manifest.name, each.manifest.version) == (name, version)
        )

    def draft(self) -> Path:
        """Give a new place for a file on its way in; who asks moves or removes it."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._directory / f".{os.getpid()}-{secrets.token_hex(6)}.part"

    def _manifests(self) -> list[Path]:
        return sorted(self._directory.glob("[0-9]*.json"))

    def _read(self, path: Path) -> Manifest | None:
        try:
            signed = SignedManifest.read(json.loads(path.read_bytes()))
            return verified_manifest(signed, self._key)
        except (OSError, ValueError, DeliveryError):
            return None

    def _pruned(self, name: str, state: ShelfState) -> ShelfState:
        """Put away versions of a model beyond those that are kept."""
        kept = [m for path in self._manifests() if (m := self._read(path))]
        mine = [m for m in kept if m.name == name]
        too_many = [m for m in mine if not state.is_live(name, m.version)]
        is_one_live = len(too_many) < len(mine)
        for manifest in too_many[: is_one_live - KEPT_VERSIONS]:
            state = state.without(name, manifest.version)
            self._drop(name, manifest.version)
        self._sweep()
        return state

    def _drop(self, name: str, version: int, *, but: int | None = None) -> None:
        """Remove the manifests of a version; files go with the next sweep."""
        for path in self._manifests():
            found = self._read(path)
            if found is None or found.delivery == but:
                continue
            if (found.name, found.version) == (name, version):
                path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove files that no manifest speaks of."""
        kept = {m.sha256 for path in self._manifests() if (m := self._read(path))}
        for path in self._directory.glob("*.safetensors"):
            if path.stem not in kept:
                path.unlink(missing_ok=True)

    def _keep(self, state: ShelfState) -> None:
        told = {
            "last": state.last,
            "produced": {k: [*v] for k, v in state.produced.items()},
        }
        self._write(self._directory / _STATE, json.dumps(told).encode())

    def _write(self, path: Path, content: bytes) -> None:
        draft = self.draft()
        try:
            with draft.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    @contextmanager
    def _changing(self) -> Generator[ShelfState]:
        """Keep the other process of this node from changing anything meanwhile."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._directory / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.state


def _require_news(manifest: Manifest, state: ShelfState) -> None:
    """Check that nobody sends an old delivery again, to bring an old model back.

    Raises:
        DeliveryError: If it is one.
    """
    if manifest.delivery <= state.last:
        raise DeliveryError(
            f"Delivery {manifest.delivery} ({manifest}) is not newer than the last one, "
            f"{state.last}.",
            fix="Deliver the model again: each delivery has a number of its own.",
        )
