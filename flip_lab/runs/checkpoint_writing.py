"""How one checkpoint gets into its folder, and from there to the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from threading import Condition, Lock, Thread
from typing import Any

from flip_lab.core.clock import now_s, tick_s
from flip_lab.core.errors import FlipLabError, StoreNotWritableError
from flip_lab.engines.flower.checkpoint_state import Frozen
from flip_lab.runs.checkpoint_files import STATE, CheckpointFolder
from flip_lab.runs.checkpoint_journal import Entry
from flip_lab.runs.checkpoints import Manifest
from flip_lab.store.packs import Buffer, Packed, write_pack

_MANY_GONE = 4  # files and folders: worth waking up for
_MOST_GONE = 8  # that may wait for their removal
_SYNC_EVERY_S = 0.25  # a disk is not asked for more, however short the rounds are


class Writing:
    """One checkpoint on its way: nothing of it stays unless it is published."""

    def __init__(self, folder: CheckpointFolder, server_round: int) -> None:
        self._folder = folder
        self._round = server_round
        self._draft: Path | None = None
        self._added: Path | None = None
        self.size_bytes = 0

    def pack(
        self, name: str, header: Mapping[str, Any], buffers: Iterable[Buffer]
    ) -> Packed:
        """Write one of the checkpoint's own files."""
        if self._draft is None:
            self._draft = self._folder.draft(self._round)
        return self._counted(write_pack(self._draft / name, header, buffers))

    def state(self, frozen: Frozen) -> Packed:
        """Write what the loop remembers."""
        buffers = [buffer.raw() for buffer in frozen.buffers]
        lengths = [len(frozen.content), *(buffer.nbytes for buffer in buffers)]
        return self.pack(STATE, {"lengths": lengths}, [frozen.content, *buffers])

    def journal(self, entries: list[Entry]) -> Packed:
        """Write what the rounds since the last checkpoint added."""
        self._draft = self._folder.draft(self._round)
        marks = [
            (kind, number, -1 if content is None else len(content))
            for kind, number, content in entries
        ]
        contents = [content for *_, content in entries if content is not None]
        name = f"{self._round:06d}-{now_s():.6f}.pack"
        self._added = self._folder.journal / name
        return self._counted(write_pack(self._added, {"entries": marks}, contents))

    def _counted(self, packed: Packed) -> Packed:
        self.size_bytes += packed.size_bytes
        return packed

    def publish(self, manifest: Manifest) -> None:
        """Let the checkpoint appear."""
        if self._draft is not None:
            self._folder.publish(self._draft, manifest)

    def undo(self) -> None:
        """Leave nothing behind."""
        if self._draft is not None:
            rmtree(self._draft, ignore_errors=True)
        if self._added is not None:
            with suppress(OSError):
                self._added.unlink(missing_ok=True)


class Disk:
    """Brings checkpoints to the disk, one at a time, in a thread of its own.

    Where rounds are short, not each of them: a power cut costs some more rounds then, a
    quarter of a second in all.

    Args:
        folder: Where they are.
        trouble: Told when the disk does not take one.

    Attributes:
        reached: The round of the newest checkpoint that is on the disk; 0 before.
    """

    def __init__(
        self, folder: CheckpointFolder, trouble: Callable[[FlipLabError], None]
    ) -> None:
        self._folder = folder
        self._trouble = trouble
        self._lock = Lock()
        self._news = Condition(self._lock)
        self._haste = Condition(self._lock)  # apart: nobody is woken to rest on
        self._waiting: Manifest | None = None
        self._gone: list[Path] = []
        self._is_closed = False
        self._on_disk: set[str] = set()  # journals that are there already
        self._thread: Thread | None = None
        self.reached = 0

    def bring(self, manifest: Manifest, gone: list[Path]) -> None:
        """Ask for a checkpoint to be brought to the disk, and for old ones to be removed.

        One that still waits gives way to the newer one. A slow disk does not let old ones
        pile up: then they are removed here and now.
        """
        with self._lock:
            self._waiting = manifest
            self._gone += gone
            if len(self._gone) > _MOST_GONE:
                gone, self._gone = self._gone, []
            else:
                gone = []
            self._tell()
        self._folder.remove(*gone)
        if self._thread is None:
            self._thread = Thread(target=self._work, name="flip-checkpoints", daemon=True)
            self._thread.start()

    def _tell(self) -> None:
        self._news.notify()
        if self._is_urgent():
            self._haste.notify()

    def _is_urgent(self) -> bool:
        """Whether there is something to do before the disk is asked again."""
        return self._is_closed or len(self._gone) >= _MANY_GONE

    def _work(self) -> None:
        due_s = 0.0
        while True:
            with self._lock:
                self._haste.wait_for(self._is_urgent, max(0.0, due_s - tick_s()))
                self._news.wait_for(lambda: self._waiting or self._is_closed)
                gone, self._gone = self._gone, []
                manifest = None
                is_due = self._is_closed or tick_s() >= due_s
                if is_due:
                    manifest, self._waiting = self._waiting, None
            self._folder.remove(*gone)
            if manifest is not None:
                self._sync(manifest)
                due_s = tick_s() + _SYNC_EVERY_S
            elif is_due:  # closed, and nothing waits
                return

    def _sync(self, manifest: Manifest) -> None:
        try:
            self._folder.sync(manifest, self._on_disk)
        except StoreNotWritableError as error:
            if self._folder.folder(manifest.server_round).exists():
                self._trouble(error)
        else:
            self._on_disk |= {piece.name for piece in manifest.journal}
            self.reached = manifest.server_round

    def close(self) -> None:
        """Bring what waits to the disk and end the thread."""
        with self._lock:
            self._is_closed = True
            self._tell()
        if self._thread is not None:
            self._thread.join()
