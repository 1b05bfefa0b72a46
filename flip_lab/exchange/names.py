"""What a metric is called elsewhere, and what a metric from elsewhere is here.

Here a metric has a phase, a scope and a name; elsewhere it has one key. Keys that we make
read ``train/federated/train_loss``. Tools that refuse some characters get others in their
place, and the sidecar keeps the true name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flip_lab.exchange.records import Series

PHASES = ("train", "evaluate", "query")
SCOPES = ("federated", "central", "server")

_PARTS = 3
_TRAINING = ("train", "training", "fit")


def keys_of(
    series: Iterable[Series], *, clean: Callable[[str], str] = str
) -> dict[str, Series]:
    """Give every series a key of its own.

    Args:
        series: The metrics of one run.
        clean: Makes a key that the other tool takes; two names may become the same.

    Returns:
        The series by key; keys that would be the same get ``-2``, ``-3``.
    """
    found: dict[str, Series] = {}
    for each in series:
        wish = clean("/".join(each.identity))
        key, number = wish, 2
        while key in found:
            key, number = f"{wish}-{number}", number + 1
        found[key] = each
    return found


def empty_series(key: str) -> Series:
    """Say which metric a key stands for, where no sidecar tells.

    A key that we would make is taken apart. Any other keeps its name whole; it counts as
    measured centrally, and as training when a part of it says so.
    """
    parts = key.split("/", _PARTS - 1)
    if len(parts) == _PARTS and parts[0] in PHASES and parts[1] in SCOPES:
        return Series(phase=parts[0], scope=parts[1], name=parts[2])
    words = key.lower().replace("/", "_").replace(".", "_").replace("-", "_").split("_")
    is_training = any(word in _TRAINING for word in words)
    return Series(phase="train" if is_training else "evaluate", scope="central", name=key)
