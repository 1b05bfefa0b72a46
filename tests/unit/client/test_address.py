"""Addresses as people have them at hand."""

from __future__ import annotations

import pytest

from flip_lab.client.address import DEFAULT_URL, is_address, read_address
from flip_lab.core.errors import InvalidValueError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLIP_LAB_URL", raising=False)
    monkeypatch.delenv("FLIP_LAB_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("given", "origin", "first"),
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765", "/flip"),
        ("http://127.0.0.1:8765/", "http://127.0.0.1:8765", "/flip"),
        ("http://127.0.0.1:8765/flip", "http://127.0.0.1:8765", "/flip"),
        ("http://127.0.0.1:8765/flip/v1", "http://127.0.0.1:8765", "/flip"),
        ("https://hub.example/user/x/flip?token=t", "https://hub.example", "/user/x/flip"),
        ("https://hub.example/user/x/lab?token=t", "https://hub.example", "/user/x/flip"),
        ("http://localhost:8888/lab/tree/a/b.ipynb", "http://localhost:8888", "/flip"),
        ("http://localhost:8888/tree?", "http://localhost:8888", "/flip"),
        ("http://[::1]:8765/flip", "http://[::1]:8765", "/flip"),
        ("unix:///run/my%20lab/api.sock", "http://localhost", "/flip"),
    ],
)
def test_where_the_api_is(given: str, origin: str, first: str) -> None:
    """The page that somebody looks at tells where the API is."""
    address = read_address(given)
    assert (address.origin, address.bases[0]) == (origin, first)


def test_a_socket_is_a_path() -> None:
    """A path may hold what a URL may not."""
    address = read_address("unix:///run/my%20lab/api.sock")
    assert address.socket == "/run/my lab/api.sock"
    assert address.is_here


def test_the_token_is_taken_off_the_url() -> None:
    """It is shown in no message, and no representation."""
    address = read_address("http://ada:pass@localhost:8888/lab?token=abc&x=1#a")
    assert address.token == "abc"  # noqa: S105  # a token that opens nothing
    assert "abc" not in f"{address!r} {address.url}"
    assert "pass" not in f"{address!r} {address.url}"


def test_what_is_given_comes_before_what_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument wins over the URL's token, and that over the environment."""
    monkeypatch.setenv("FLIP_LAB_URL", "http://elsewhere:1/flip?token=url")
    monkeypatch.setenv("FLIP_LAB_TOKEN", "set")
    told = [read_address(), read_address(None, "given"), read_address("http://other:2")]
    assert [address.token for address in told] == ["url", "given", "set"]
    assert read_address().origin == "http://elsewhere:1"


def test_without_anything_it_is_this_machine() -> None:
    """``flip-lab serve`` and ``connect()`` find each other."""
    assert read_address().url == DEFAULT_URL


@pytest.mark.parametrize(
    "given",
    [
        "127.0.0.1:8765",
        "ftp://host",
        "http://",
        "http://host:99999",
        "unix://host/a",
        "~/lab",
    ],
)
def test_other_things_are_refused(given: str) -> None:
    """The message says what would have been one."""
    with pytest.raises(InvalidValueError, match=r"127\.0\.0\.1:8765"):
        read_address(given)


def test_a_token_is_one_line() -> None:
    """A token with its newline would end a header."""
    with pytest.raises(InvalidValueError, match="token"):
        read_address("http://host", "abc\n")


def test_directories_are_no_addresses() -> None:
    """``--lab`` takes both."""
    assert not is_address(".flip-lab")
    assert not is_address("/labs/http")
    assert is_address("https://host")
