"""``node.toml``: what is written is what is read, and what is wrong is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import HubStateError, InvalidValueError, UnknownKeyError
from flip_lab.fl.data.site_source import source_in
from flip_lab.node.config import (
    DataSource,
    NodeConfig,
    NodeLimits,
    ServeSettings,
    load_node,
    write_node,
)

LEAST = '[node]\nname = "a"\nhub = "hub.example.org:8443"\n'


def write(directory: Path, text: str) -> Path:
    """Write a settings file as a site would."""
    (directory / "node.toml").write_text(text, "utf-8")
    return directory


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    """Every key, also those that are left out when nobody set them."""
    plain = NodeConfig(name="a", hub="127.0.0.1:8443", directory=tmp_path)
    full = replace(
        plain,
        hub="[::1]:8443",
        config={"partition-id": 0, "note": "ward 3", "gpu": False},
        data=DataSource(kind="csv", options={"path": "x.csv", "features": ["a", "b"]}),
        allow=("scenarios", "sha256:" + "0a" * 32),
        limits=NodeLimits(call_timeout_s=1.5, memory_mb=512, cpu_s=2.0, message_mb=8),
        logs_tail_lines=20,
        workers=2,
        serve=ServeSettings(port=0, token_file=tmp_path / "serve.token"),
    )
    for config in (plain, full):
        write_node(tmp_path, config)
        assert load_node(tmp_path) == config
    assert not list(tmp_path.glob("*.new"))


def test_a_site_allows_no_app_but_the_scenarios_unless_it_says_so(tmp_path: Path) -> None:
    """The defaults of a file with a name and a hub are the careful ones."""
    config = load_node(write(tmp_path, LEAST))
    assert config.allow == ("scenarios",)
    assert config.logs_tail_lines == 0
    assert config.data is None
    assert config.serve is None


def test_clients_see_where_the_data_is_as_node_configuration(tmp_path: Path) -> None:
    """The same keys that a stock SuperNode is given."""
    text = LEAST + '[config]\npartition-id = 3\n[data]\nkind = "npz"\npath = "x.npz"\n'
    seen = load_node(write(tmp_path, text)).node_config()
    assert seen["partition-id"] == 3
    source = source_in(seen)
    assert source == (DataSource(kind="npz", options={"path": "x.npz"}), tmp_path)


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("[node]\nname = ", InvalidValueError, "not valid TOML"),
        ('[node]\nhub = "h:1"\n', InvalidValueError, "lacks 'name'"),
        ('[node]\nname = "a"\nhub = "https://h:1"\n', InvalidValueError, "no https"),
        ('[node]\nname = "a\\nUser=root"\nhub = "h:1"\n', InvalidValueError, "one line"),
        (LEAST + 'alow = ["any"]\n', UnknownKeyError, "'allow'"),
        (LEAST + 'allow = ["all"]\n', InvalidValueError, '"any"'),
        (LEAST + 'allow = "any"\n', InvalidValueError, "a list"),
        (LEAST + "workers = -1\n", InvalidValueError, "from 0"),
        (LEAST + "workers = true\n", InvalidValueError, "whole number"),
        (LEAST + "[limits]\ncall-timeout-s = 0\n", InvalidValueError, "seconds"),
        (LEAST + "[limits]\nmemory-mb = 1\n", InvalidValueError, "from 64"),
        (LEAST + "[config]\nplaces = [1]\n", InvalidValueError, "single values"),
        (LEAST + "[serve]\nport = 70000\n", InvalidValueError, "65535"),
        (LEAST + "[limit]\n", UnknownKeyError, "limits"),
        ("node = 3\n", InvalidValueError, r"\[node\] table"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, error: type[Exception], told: str
) -> None:
    """With the file, the key and what may stand there."""
    with pytest.raises(error, match=told) as raised:
        load_node(write(tmp_path, text))
    assert "node.toml" in str(raised.value)


def test_a_directory_without_a_node_says_how_to_make_one(tmp_path: Path) -> None:
    """As when the wrong directory is named."""
    with pytest.raises(HubStateError, match="enroll"):
        load_node(tmp_path / "nowhere")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Whatever is in the file: settings, or an error of ours."""
    directory = tmp_path_factory.mktemp("node")
    (directory / "node.toml").write_bytes(content)
    with pytest.raises((InvalidValueError, UnknownKeyError)):
        load_node(directory)
