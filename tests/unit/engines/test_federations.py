"""Finding federations by name, packing apps for nodes, and what is worth a second try."""

from __future__ import annotations

import io
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest

from flip_lab.core.errors import (
    AppError,
    InvalidValueError,
    UnknownFederationError,
    UnknownKeyError,
)
from flip_lab.engines.federations import federation_names, load_federation
from flip_lab.engines.flower.fab import build_fab
from flip_lab.engines.flower.runtime import retries

APP = Path(__file__).parents[2] / "apps" / "numpy"

HOSPITALS = """
[federations.hospitals]
address = "hub.example.org:8000"
root-certificates = "certificates/ca.crt"
superexec-secret = "/etc/flip/superexec.secret"
"""


@pytest.fixture(autouse=True)
def user_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the real user's configuration out of the tests."""
    path = tmp_path / "config" / "flip-lab" / "flip-lab.toml"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Give a project directory with a notebook folder in it."""
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    return tmp_path / "project"


def test_paths_are_relative_to_the_file_that_names_them(project: Path) -> None:
    """A notebook in a folder finds the project's file above it."""
    (project / "flip-lab.toml").write_text(HOSPITALS)
    found = load_federation("hospitals", project / "notebooks")
    assert found.address == "hub.example.org:8000"
    assert found.root_certificates == project / "certificates" / "ca.crt"
    assert found.superexec_secret == Path("/etc/flip/superexec.secret")


def test_the_nearest_file_that_has_the_name_wins(project: Path, user_config: Path) -> None:
    """A project may redefine a federation, and lack others that the user has."""
    user_config.write_text(HOSPITALS + HOSPITALS.replace("hospitals", "banks"))
    (project / "flip-lab.toml").write_text(HOSPITALS.replace("hub.", "test-hub."))
    assert load_federation("hospitals", project).address == "test-hub.example.org:8000"
    assert load_federation("banks", project).address == "hub.example.org:8000"
    assert federation_names(project) == ["banks", "hospitals"]


def test_an_unknown_name_is_told_with_the_nearest_one(
    project: Path, user_config: Path
) -> None:
    """The message lists the names of every file that was read."""
    (project / "flip-lab.toml").write_text(HOSPITALS)
    user_config.write_text(HOSPITALS.replace("hospitals", "banks"))
    with pytest.raises(UnknownFederationError, match="Did you mean 'hospitals'") as caught:
        load_federation("hospital", project)
    assert "banks, hospitals" in caught.value.what
    assert caught.value.code == "FLIP-502"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (HOSPITALS.replace("address", "adress"), UnknownKeyError),
        (HOSPITALS.replace('"hub.example.org:8000"', "8000"), InvalidValueError),
        ('[federations.hospitals]\naddress = "hub:8000"\n', InvalidValueError),
        ("[federations]\nhospitals = 1\n", InvalidValueError),
        ("federations = 1\n", InvalidValueError),
        ("[federations.hospitals\n", InvalidValueError),
    ],
)
def test_a_wrong_table_is_an_error_that_names_the_file(
    project: Path, text: str, error: type[Exception]
) -> None:
    """Misspelt, missing and mistyped values are told before anything is contacted."""
    (project / "flip-lab.toml").write_text(text)
    with pytest.raises(error, match=r"flip-lab\.toml"):
        load_federation("hospitals", project)


def test_a_hub_is_named_with_a_token(project: Path) -> None:
    """Instead of the secret; how long runs wait for it may be said, too."""
    (project / "flip-lab.toml").write_text(
        '[federations.north]\naddress = "hub:8443"\ntoken = "north.token"\n'
        "hub-wait-s = 30\naccept-non-finite = true\n"
    )
    found = load_federation("north", project)
    assert found.token == project / "north.token"
    assert found.superexec_secret is None
    assert (found.hub_wait_s, found.accept_non_finite) == (30.0, True)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "neither token nor superexec-secret"),
        ('token = "t"\nsuperexec-secret = "s"', "both token and superexec-secret"),
        ('token = "t"\nhub-wait-s = "long"', "hub-wait-s = 'long'"),
        ('token = "t"\nhub-wait-s = -1', "hub-wait-s = -1"),
        ('token = "t"\nhub-wait-s = nan', "hub-wait-s = nan"),
        ('token = "t"\naccept-non-finite = 1', "accept-non-finite = 1"),
    ],
)
def test_a_federation_is_a_hub_or_a_stock_superlink(
    project: Path, lines: str, why: str
) -> None:
    """One of both, and every value of its kind."""
    text = f'[federations.north]\naddress = "hub:8443"\n{lines}\n'
    (project / "flip-lab.toml").write_text(text)
    with pytest.raises(InvalidValueError, match=why):
        load_federation("north", project)


def test_a_file_that_is_no_utf_8_is_an_error_that_names_it(project: Path) -> None:
    """Some editors save another encoding."""
    (project / "flip-lab.toml").write_bytes('[federations."köln"]'.encode("latin-1"))
    with pytest.raises(InvalidValueError, match=r"flip-lab\.toml is not valid TOML"):
        load_federation("köln", project)


def app_files() -> dict[str, bytes]:
    """Read the NumPy app."""
    paths = [APP / "pyproject.toml", *(APP / "numpyexample").glob("*.py")]
    return {str(path.relative_to(APP)): path.read_bytes() for path in paths}


def test_each_run_has_a_bundle_of_its_own_with_its_configuration() -> None:
    """The hash claims the run, so the same app twice must give two hashes."""
    config = {"learning-rate": 0.25, "optimizer.name": "sgd", "is-quick": True}
    first, second = build_fab(app_files(), config), build_fab(app_files(), config)
    assert first.hash_str != second.hash_str
    with zipfile.ZipFile(io.BytesIO(first.content)) as bundle:
        names = set(bundle.namelist())
        flower = tomllib.loads(bundle.read("pyproject.toml").decode())["tool"]["flwr"]
    assert flower["app"]["config"] == config
    assert set(app_files()) <= names


@pytest.mark.parametrize(
    "files", [{}, {"pyproject.toml": b"[project]"}, {"pyproject.toml": b"name ="}]
)
def test_an_app_that_flower_does_not_take_is_an_app_error(files: dict[str, bytes]) -> None:
    """Flower's many exceptions become one code."""
    with pytest.raises(AppError, match="cannot be packed"):
        build_fab(files, {})


def answer(status: int) -> httpx.HTTPStatusError:
    """Make what httpx raises for a status."""
    request = httpx.Request("POST", "https://hub.example.org/v1/runtime/pull-messages")
    response = httpx.Response(status, request=request)
    return httpx.HTTPStatusError(str(status), request=request, response=response)


@pytest.mark.parametrize(
    ("fault", "num_calls"),
    [
        (answer(500), 2),
        (answer(503), 2),
        (httpx.ReadTimeout("slow"), 1),
        (httpx.ReadError("stale connection"), 2),
        (httpx.ConnectError("nobody there: for those who can wait longer"), 1),
        (answer(401), 1),
        (answer(403), 1),
        (httpx.ConnectError("certificate verify failed"), 1),
    ],
)
def test_faults_are_tried_again_and_refusals_are_not(
    fault: Exception, num_calls: int
) -> None:
    """One fault is survived; a refusal reaches the caller at once, without a signal."""
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise fault
        return "done"

    invoker = retries()
    invoker.wait_function = lambda _: None
    if num_calls == 2:
        assert invoker.invoke(call) == "done"
    else:
        with pytest.raises(type(fault)):
            invoker.invoke(call)
    assert len(calls) == num_calls


def test_patience_ends() -> None:
    """A server that only ever fails is given up, with its own error."""

    def call() -> None:
        raise answer(500)

    with pytest.raises(httpx.HTTPStatusError):
        retries(max_tries=1).invoke(call)
