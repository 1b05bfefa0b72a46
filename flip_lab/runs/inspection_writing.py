"""Keeps the replies of the round that a run is stopped at (``flip_lab.runs.inspection``).

Nothing here must survive a power cut: the run that is stopped does not either.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage, rmtree
from typing import Any, cast

import numpy as np
from flwr.app import ArrayRecord, Message

from flip_lab.core.errors import NothingToInspectError
from flip_lab.engines.flower.update_sums import Values
from flip_lab.runs.inspection import FORMAT, REPLIES, inspection_dir
from flip_lab.runs.live_replies import LiveReplies
from flip_lab.runs.round_replies import ReplyFacts, RoundReplies
from flip_lab.store.layout import explained, write_atomic

MOST_BYTES = 2 * 2**30
"""Bytes of arrays that are kept of a break, if half of the free disk is not less."""


def write_inspection(  # noqa: PLR0913  # what a round consists of
    run_dir: Path,
    *,
    server_round: int,
    because: str,
    replies: Sequence[Message],
    sent: ArrayRecord | None,
    partition_of: Callable[[int], int],
    metrics: Mapping[str, float] | None = None,
    durations_s: Mapping[int, float] | None = None,
) -> None:
    """Keep a round's replies, so that a notebook can look at them.

    The numbers of all replies are kept, and as many arrays as there is room for: of clients
    whose values are not finite first, then of those that drifted farthest.

    Args:
        run_dir: The run's directory.
        server_round: The round.
        because: Why the run stops here, in words.
        replies: The replies, also those with an error.
        sent: The arrays that all of them were sent; ``None`` when there were none.
        partition_of: Gives the partition of a node; -1 when unknown.
        metrics: Metrics of the federation that are known already.
        durations_s: Seconds that clients took, by partition.

    Raises:
        StoreNotWritableError: If not even the numbers can be kept; nothing is left behind.
    """
    live = LiveReplies(
        server_round,
        replies,
        sent,
        partition_of=partition_of,
        metrics=metrics,
        durations_s=durations_s,
    )
    folder = inspection_dir(run_dir)
    drop_inspection(run_dir)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    kept = _keep_arrays(
        folder / f"arrays-{server_round:06d}-{secrets.token_hex(4)}.d", live
    )
    body = {
        "format": FORMAT,
        "because": because,
        "table": live.table.to_json(),
        "arrays": {"folder": kept.folder, "node_ids": kept.node_ids, "note": kept.note},
    }
    try:  # Python's own JSON keeps NaN and the infinities
        write_atomic(folder / REPLIES, json.dumps(body).encode())
    except BaseException:
        drop_inspection(run_dir)
        raise


def drop_inspection(run_dir: Path) -> None:
    """Remove what is kept of a break; what cannot be removed does no harm."""
    folder = inspection_dir(run_dir)
    with suppress(OSError):
        (folder / REPLIES).unlink(missing_ok=True)
    for arrays in folder.glob("arrays-*.d"):
        rmtree(arrays, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Which arrays are kept.

    Attributes:
        folder: Name of their directory; empty when none are kept.
        node_ids: Clients whose arrays are there.
        note: Why not all are; empty when they are.
    """

    folder: str = ""
    node_ids: Sequence[int] = ()
    note: str = ""


def _keep_arrays(folder: Path, live: RoundReplies) -> _Kept:
    from safetensors import SafetensorError

    if not live.sent:
        return _Kept(note="No arrays were sent in this round.")
    try:
        folder.mkdir()
        room = min(MOST_BYTES, disk_usage(folder).free // 2)
        return _fill(folder, live, room)
    except (OSError, SafetensorError) as error:
        rmtree(folder, ignore_errors=True)
        return _Kept(note=f"The arrays could not be kept ({error}).")


def _fill(folder: Path, live: RoundReplies, room: int) -> _Kept:
    room -= 2 * _num_bytes(live.sent)
    if room < 0:
        folder.rmdir()
        return _Kept(note="No arrays are kept: there is no room for them.")
    _write(folder / "sent", live.sent)
    _write(folder / "mean_update", live.mean_update)
    node_ids: list[int] = []
    wanted = sorted(
        (each for each in live.table.replies if each.layer_norms), key=_less_urgent
    )
    for each in wanted:
        with suppress(NothingToInspectError):
            arrays = live.arrays(each.client.node_id)
            room -= _num_bytes(arrays)
            if room < 0:
                break
            _write(folder / str(each.client.node_id), arrays)
            node_ids.append(each.client.node_id)
    left_out = len(wanted) - len(node_ids)
    note = (
        f"Arrays are kept of {len(node_ids)} clients, those farthest off: "
        f"there is no room for {left_out} more."
    )
    return _Kept(folder=folder.name, node_ids=node_ids, note=note if left_out else "")


def _less_urgent(reply: ReplyFacts) -> tuple[bool, float]:
    norm = reply.client.numbers["update_norm"]
    return (bool(np.isfinite(norm)), -norm if np.isfinite(norm) else 0.0)


def _num_bytes(arrays: Values) -> int:
    return sum(values.nbytes for values in arrays.values())


def _write(path: Path, arrays: Values) -> None:
    import safetensors.numpy

    save = cast("Any", safetensors.numpy).save_file  # its os.PathLike lacks an argument
    save(dict(arrays), path.with_suffix(".safetensors"))
