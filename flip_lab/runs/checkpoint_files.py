"""Checkpoints on the disk: ``runs/<run_id>/checkpoints``.

```
checkpoints/round-000007/checkpoint.json    the manifest: names and hashes of all files
                         model.safetensors  the model
                         state.pack         what the server loop remembers
            journal/000007-….pack           what rounds added: metrics, clients' states
```

A checkpoint appears by the renaming of its directory: a kill at any instant leaves it whole
or not at all. It is brought to the disk afterwards, in the background; what a power cut
tears, the hashes tell, and an older checkpoint is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import copy2, rmtree
from typing import Any

import orjson
import xxhash

from flip_lab.core.errors import CorruptArtifactError, StoreFormatError
from flip_lab.runs.checkpoints import Manifest
from flip_lab.store.layout import explained
from flip_lab.store.packs import Bytes, Packed, read_pack

MODEL, STATE = "model.safetensors", "state.pack"
_MANIFEST = "checkpoint.json"
_FORMAT = 1
_FIX = "An older checkpoint is taken in its place; restore the file from a copy of the lab."


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        run_dir: The run's directory.
    """

    def __init__(self, run_dir: Path) -> None:
        """Look at nothing yet."""
        self.root = run_dir / "checkpoints"
        self.journal = self.root / "journal"

    def folder(self, server_round: int) -> Path:
        """Give the directory of a round's checkpoint."""
        return self.root / f"round-{server_round:06d}"

    def draft(self, server_round: int) -> Path:
        """Make the directory in which a checkpoint is written before it appears.

        Raises:
            StoreNotWritableError: If it cannot be made.
        """
        draft = self.root / f".round-{server_round:06d}"
        with explained(draft):
            try:
                draft.mkdir()
            except OSError:  # the run's first one, or one that was left behind
                self.journal.mkdir(parents=True, exist_ok=True)
                rmtree(draft, ignore_errors=True)
                draft.mkdir()
        return draft

    def publish(self, draft: Path, manifest: Manifest) -> None:
        """Let a written checkpoint appear.

        Raises:
            StoreNotWritableError: If the disk does not take it.
        """
        body = orjson.dumps({"format": _FORMAT, **manifest.to_json()})
        proof = xxhash.xxh3_128_hexdigest(body).encode()
        final = self.folder(manifest.server_round)
        with explained(draft):
            (draft / _MANIFEST).write_bytes(body + b"\n" + proof + b"\n")
            try:
                draft.rename(final)
            except OSError:  # of a run that was resumed before it
                rmtree(final, ignore_errors=True)
                draft.rename(final)

    def rounds(self) -> list[int]:
        """List the rounds with a checkpoint, good or not, in order."""
        folders = self.root.glob("round-*")
        return sorted(int(folder.name.partition("-")[2]) for folder in folders)

    def manifest(self, server_round: int) -> Manifest:
        """Read what a checkpoint says of itself.

        Raises:
            CorruptArtifactError: If there is none, or it was torn.
            StoreFormatError: If a newer version wrote it: it is good, and stays.
        """
        path = self.folder(server_round) / _MANIFEST
        try:
            body, proof, _ = path.read_bytes().split(b"\n")
            if xxhash.xxh3_128_hexdigest(body).encode() != proof:
                raise CorruptArtifactError(f"{path} no longer matches its hash.", fix=_FIX)
            data: dict[str, Any] = orjson.loads(body)
            if data.pop("format") > _FORMAT:
                raise StoreFormatError(
                    f"{path} was written by a newer version of FLIP Lab.",
                    fix="Update FLIP Lab (pip install -U flip-lab).",
                )
            return Manifest.from_json(data)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptArtifactError(
                f"{path} cannot be read: {error!r}.", fix=_FIX
            ) from error

    def manifests(self) -> list[Manifest]:
        """List the checkpoints whose manifest can be read, oldest first."""
        found: list[Manifest] = []
        for server_round in self.rounds():
            with suppress(CorruptArtifactError, StoreFormatError):
                found.append(self.manifest(server_round))
        return found

    def read(self, manifest: Manifest, piece: Packed) -> tuple[dict[str, Any], Bytes]:
        """Read one file of a checkpoint, checked against its hash.

        Raises:
            CorruptArtifactError: If it is gone, or is not what was written.
        """
        own = piece in manifest.own
        return read_pack(self.folder(manifest.server_round) if own else self.journal, piece)

    def check(self, manifest: Manifest) -> None:
        """Read all files of a checkpoint, to find out whether they are good.

        Raises:
            CorruptArtifactError: If one is not.
        """
        for piece in (*manifest.own, *manifest.journal):
            self.read(manifest, piece)

    def remove(self, *paths: Path) -> None:
        """Remove checkpoints and journals; what cannot be removed does no harm."""
        for path in paths:
            with suppress(OSError):
                if path.parent == self.journal:
                    path.unlink()
                else:
                    (path / _MANIFEST).unlink()  # from here on it is none
            rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what no checkpoint refers to: drafts, torn ones, unused journals."""
        good = {each.server_round: each for each in self.manifests()}
        for server_round in self.rounds():
            if server_round not in good:
                self.remove(self.folder(server_round))
        for draft in self.root.glob(".*"):
            rmtree(draft, ignore_errors=True)
        used = {piece.name for each in good.values() for piece in each.journal}
        self.remove(*(p for p in self.journal.glob("*") if p.name not in used))

    def sync(self, manifest: Manifest, on_disk: set[str]) -> None:
        """Bring a checkpoint to the disk, so that it survives a power cut.

        Args:
            manifest: The checkpoint.
            on_disk: Names of journals that are there already.

        Raises:
            StoreNotWritableError: If the disk does not take it.
        """
        folder = self.folder(manifest.server_round)
        with explained(folder):
            for path in self._parts(manifest, on_disk):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def _parts(self, manifest: Manifest, on_disk: set[str]) -> Iterator[Path]:
        """Give all that must be on the disk, directories last."""
        folder = self.folder(manifest.server_round)
        yield from (folder / piece.name for piece in manifest.own)
        yield folder / _MANIFEST
        new = (piece.name for piece in manifest.journal if piece.name not in on_disk)
        yield from (self.journal / name for name in new)
        yield from (folder, self.journal, self.root)

    def copy_to(self, other: CheckpointFolder, manifest: Manifest) -> None:
        """Give another run a checkpoint of its own; files are shared where they can be.

        Raises:
            StoreNotWritableError: If it cannot be written.
        """
        source = self.folder(manifest.server_round)
        target = other.folder(manifest.server_round)
        with explained(target):
            other.journal.mkdir(parents=True)
            target.mkdir()
            for path in source.iterdir():
                _link(path, target / path.name)
            for piece in manifest.journal:
                _link(self.journal / piece.name, other.journal / piece.name)


def _link(source: Path, target: Path) -> None:
    """Share an immutable file, or copy it where the file system cannot."""
    try:
        target.hardlink_to(source)
    except OSError:
        copy2(source, target)
