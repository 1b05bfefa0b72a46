"""``node.toml``: a node's settings in the directory that its site keeps.

The site writes this file, nobody else: what it says of data, apps and limits is the
site's word, and nothing that comes from a hub changes it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import tomli_w

from flip_lab.core.errors import HubStateError, InvalidValueError
from flip_lab.fl.data.site_source import DataSource, NodeScalar
from flip_lab.node.settings import SCENARIOS, WORK, NodeConfig, NodeLimits, ServeSettings
from flip_lab.node.tables import Table

__all__ = [
    "SCENARIOS",
    "WORK",
    "DataSource",
    "NodeConfig",
    "NodeLimits",
    "NodeScalar",
    "ServeSettings",
    "checked_allowance",
    "load_node",
    "write_node",
]

FILE_NAME = "node.toml"
ANYTHING = "any"
_LONGEST_NAME = 200
_SERVE_FILES = ("token-file", "certificate", "key")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def load_node(directory: Path) -> NodeConfig:
    """Read the ``node.toml`` of a node's directory.

    Raises:
        HubStateError: If there is none.
        UnknownKeyError: If it holds a key that means nothing.
        InvalidValueError: If it is no TOML, or a value is missing, of the wrong type, or
            out of its range.
    """
    path = directory.expanduser().resolve() / FILE_NAME
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HubStateError(
            f"There is no node in {path.parent}: {FILE_NAME} is missing.",
            fix="Make one with `flip-lab node enroll`, or name its directory.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            f"{path} is not valid TOML: {error}.", fix="Correct that line."
        ) from error
    return _node(Table(where=str(path), values=table), path.parent)


def _node(root: Table, directory: Path) -> NodeConfig:
    node = root.table("node")
    root.only("node", "config", "data", "limits", "serve")
    node.only("name", "hub", "allow", "logs-tail-lines", "workers")
    return NodeConfig(
        name=_name(node),
        hub=_address(node),
        directory=directory,
        config=_scalars(root.table("config")),
        data=_data(root.table("data")) if "data" in root.values else None,
        allow=_allow(node),
        limits=_limits(root.table("limits")),
        logs_tail_lines=node.count("logs-tail-lines", 0),
        workers=node.count("workers", 0),
        serve=_serve(root.table("serve"), directory) if "serve" in root.values else None,
    )


def _name(node: Table) -> str:
    """Check the node's name: units and logs show it, so it stays on its line.

    Raises:
        InvalidValueError: If it cannot be one.
    """
    name = node.text("name")
    if len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidValueError(
            f"{node.where} has name = {name!r:.80}.",
            fix=f"Give it up to {_LONGEST_NAME} characters on one line.",
        )
    return name


def _address(node: Table) -> str:
    """Check ``host:port``.

    Raises:
        InvalidValueError: If it is something else.
    """
    hub = node.text("hub")
    if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}", hub):
        raise InvalidValueError(
            f"{node.where} has hub = {hub!r}.", fix='Write it as "host:port", no https://.'
        )
    return hub


def _allow(node: Table) -> tuple[str, ...]:
    allow = node.texts("allow", (SCENARIOS,))
    for entry in allow:
        checked_allowance(entry, node.where)
    return allow


def checked_allowance(entry: str, where: str) -> str:
    """Give an entry of the list of apps that may run.

    Args:
        entry: ``scenarios``, ``any`` or ``sha256:<app hash>``.
        where: What to call its place in the error.

    Raises:
        InvalidValueError: If it means nothing.
    """
    if entry in {SCENARIOS, ANYTHING} or _HASH.fullmatch(entry):
        return entry
    raise InvalidValueError(
        f"{where} allows {entry!r}.",
        fix=f'Write "{SCENARIOS}", "{ANYTHING}" or "sha256:" and 64 hex digits.',
    )


def _scalars(config: Table) -> dict[str, NodeScalar]:
    """Check Flower's node configuration.

    Raises:
        InvalidValueError: If a value is no single value.
    """
    found: dict[str, NodeScalar] = {}
    for key, value in config.values.items():
        if not isinstance(value, (bool, int, float, str)):
            raise InvalidValueError(
                f"{config.where} has {key} = {value!r}.",
                fix="Flower takes single values here: numbers, texts, true and false.",
            )
        found[key] = value
    return found


def _data(data: Table) -> DataSource:
    kind = data.text("kind")
    options = {key: value for key, value in data.values.items() if key != "kind"}
    return DataSource(kind=kind, options=options)


def _limits(table: Table) -> NodeLimits:
    table.only("call-timeout-s", "memory-mb", "cpu-s", "message-mb")
    given = table.values
    plain = NodeLimits()
    return NodeLimits(
        call_timeout_s=table.seconds("call-timeout-s", plain.call_timeout_s),
        memory_mb=table.count("memory-mb", 0, lowest=64) if "memory-mb" in given else None,
        cpu_s=table.seconds("cpu-s", 0) if "cpu-s" in given else None,
        message_mb=table.count("message-mb", plain.message_mb, lowest=1),
    )


def _serve(table: Table, directory: Path) -> ServeSettings:
    table.only("host", "port", *_SERVE_FILES)
    plain = ServeSettings()

    def file(key: str) -> Path | None:
        return directory / table.text(key) if key in table.values else None

    return ServeSettings(
        host=table.text("host", plain.host),
        port=table.count("port", plain.port, highest=65535),
        token_file=file("token-file"),
        certificate=file("certificate"),
        key=file("key"),
    )


def write_node(directory: Path, config: NodeConfig) -> Path:
    """Write the ``node.toml`` of a directory, in place of an older one, all or nothing.

    Args:
        directory: The node's directory; made if it is not there, for its owner only.
        config: The settings; ``config.directory`` is not written.

    Returns:
        The file.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / FILE_NAME
    fresh = path.with_suffix(".new")
    fresh.write_bytes(tomli_w.dumps(_tables(config, directory)).encode())
    return fresh.replace(path)


def _tables(config: NodeConfig, directory: Path) -> dict[str, object]:
    """Give settings as the file has them; what is as always is left out."""
    tables: dict[str, object] = {
        "node": {
            "name": config.name,
            "hub": config.hub,
            "allow": list(config.allow),
            "logs-tail-lines": config.logs_tail_lines,
            "workers": config.workers,
        },
        "config": dict(config.config),
        "limits": _given(config.limits),
    }
    if config.data:
        tables["data"] = {"kind": config.data.kind, **config.data.options}
    if config.serve:
        tables["serve"] = serve = _given(config.serve)
        for key in _SERVE_FILES:
            if isinstance(file := serve.get(key), Path):
                inside = file.is_relative_to(directory)
                serve[key] = str(file.relative_to(directory) if inside else file)
    return tables


def _given(settings: NodeLimits | ServeSettings) -> dict[str, object]:
    return {
        each.name.replace("_", "-"): value
        for each in fields(settings)
        if (value := getattr(settings, each.name)) is not None
    }
