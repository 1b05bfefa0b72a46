"""An endpoint in a process of its own: over TLS, ended with its owner, or refused."""

from __future__ import annotations

import ssl
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flip_lab.core.errors import InvalidValueError, NotAllowedError, PredictionError
from flip_lab.fl.data.catalog import load_dataset
from flip_lab.node.config import NodeConfig, ServeSettings, write_node
from flip_lab.node.serving.listening import Place, serve
from flip_lab.node.serving.server import PLACE_FILE, serve_beside
from flip_lab.testing.credentials import write_server_certificates
from flip_lab.testing.serving_site import ServingSite


@pytest.fixture
def site(tmp_path: Path) -> ServingSite:
    """Give a site with a model."""
    config = NodeConfig(
        name="north",
        hub="hub:8443",
        directory=tmp_path,
        config={"partition-id": 0},
        serve=ServeSettings(port=0),
    )
    site = ServingSite(config=config)
    write_node(tmp_path, config)
    public = site.key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "hub.pub").write_bytes(pem)
    site.deliver(1)
    return site


@pytest.mark.slow
def test_others_may_ask_over_tls(site: ServingSite, tmp_path: Path) -> None:
    """With a certificate it may listen anywhere; it is gone when its owner stops it."""
    files = write_server_certificates(tmp_path, host="127.0.0.1")
    settings = ServeSettings(
        host="0.0.0.0",  # noqa: S104  # that is what is tested
        port=0,
        certificate=files.certificate,
        key=files.key,
    )
    row = load_dataset("digits").features[0].tolist()
    with serve_beside(replace(site.config, serve=settings)) as beside:
        place = beside.wait()
        assert place.url.startswith("https://")
        url = place.url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104  # as above
        context = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        headers = {"Authorization": f"Bearer {place.token_file.read_text().strip()}"}
        with httpx.Client(
            base_url=url, verify=context, headers=headers, timeout=120
        ) as client:
            told = client.post("/predict", json={"input": row}).raise_for_status().json()
        assert told["model"]["version"] == 1
        assert (tmp_path / PLACE_FILE).exists()
    assert not (tmp_path / PLACE_FILE).exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, verify=context)


@pytest.mark.slow
def test_what_cannot_start_says_why(site: ServingSite, tmp_path: Path) -> None:
    """It is not tried again and again: somebody must change something."""
    token = tmp_path / "serve.token"
    token.write_text("a-token-that-all-may-read")
    token.chmod(0o644)
    with serve_beside(site.config) as beside, pytest.raises(PredictionError) as caught:
        beside.wait()
    assert "chmod 600" in caught.value.detail


def nobody(_: Place) -> None:
    """Fail: it must not listen."""
    raise AssertionError


def test_it_is_not_open_to_the_network_without_tls(site: ServingSite) -> None:
    """Whoever reads the network would read the token."""
    for host in ("0.0.0.0", "10.1.2.3", "::", "hospital.example.org"):  # noqa: S104  # as above
        open_to_all = replace(site.config, serve=ServeSettings(host=host, port=0))
        with pytest.raises(NotAllowedError, match="without TLS"):
            serve(open_to_all, on_ready=nobody)
    half = ServeSettings(port=0, certificate=site.config.directory / "server.pem")
    with pytest.raises(InvalidValueError, match="not both"):
        serve(replace(site.config, serve=half), on_ready=nobody)
