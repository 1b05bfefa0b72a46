"""Ray's own key-value store, which every process of a session sees alike."""

from __future__ import annotations

from importlib import import_module

from flip_lab.engines.ray_head import NAMESPACE


class RayStore:
    """Short texts by key, in our namespace; each access is one question to Ray's head."""

    def __init__(self) -> None:
        """Use the session that this process is connected to."""
        store = import_module("ray.experimental.internal_kv")
        # Ray has no other store, and offers this one under these names only
        self._get = store._internal_kv_get  # noqa: SLF001
        self._put = store._internal_kv_put  # noqa: SLF001
        self._del = store._internal_kv_del  # noqa: SLF001

    def read(self, key: str) -> str | None:
        """Give a text; ``None`` where there is none."""
        found: bytes | None = self._get(key, namespace=NAMESPACE)
        return None if found is None else found.decode()

    def write(self, key: str, text: str) -> None:
        """Put a text in place of what is there."""
        self._put(key, text, namespace=NAMESPACE)

    def claim(self, key: str, text: str) -> bool:
        """Put a text where none is; false when somebody else has done so."""
        return not self._put(key, text, overwrite=False, namespace=NAMESPACE)

    def delete(self, key: str) -> None:
        """Leave nothing there."""
        self._del(key, namespace=NAMESPACE)
