"""The registry over HTTP: the same verbs, with tags, ranges and problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

from flip_lab.runs.artifacts import add_artifact
from flip_lab.runs.lab import Lab
from flip_lab.store.blobs import Blobs
from flip_lab.store.layout import LabDir

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture
def models(
    ask: Callable[..., TestClient], lab_dir: LabDir, make_run: Callable[..., Any]
) -> TestClient:
    """Give a client of a lab with two runs that keep a model, made before it is served."""
    for number, run_id in enumerate(("r1", "r2")):
        make_run(run_id)
        add_artifact(lab_dir, run_id, "model", {"w": np.full(50, float(number))})
    return ask()


def register(client: TestClient, run_id: str, name: str = "digits", **more: Any) -> Any:  # noqa: ANN401  # JSON
    """Register a run's model."""
    answer = client.post("models", json={"run_id": run_id, "name": name, **more})
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()


def stages(client: TestClient, name: str = "digits") -> dict[int, str]:
    """Give the stage of each version."""
    found = client.get(f"models/{name}").json()["versions"]
    return {each["version"]: each["stage"] for each in found}


def test_a_version_is_made_of_a_run_once(models: TestClient) -> None:
    """201 the first time, 200 the second, in the name of who asked."""
    body = {"run_id": "r1", "name": "digits", "note": "n", "tags": ["b", "a"]}
    first = models.post("models", json=body)
    again = models.post("models", json=body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["tags"] == ["a", "b"]
    assert first.json()["registered_by"] == "ada"
    assert first.headers["etag"] == models.get("models/digits/versions/1").headers["etag"]


def test_lists_come_in_pages(models: TestClient) -> None:
    """By name and number, and only what is asked for."""
    for name in ("b", "a"):
        for run_id in ("r1", "r2"):
            register(models, run_id, name)
    models.patch("models/a/versions/2", json={"stage": "staging"})
    seen: list[tuple[str, int]] = []
    cursor: str | None = None
    while True:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = models.get("models", params=params).json()
        seen += [(each["name"], each["version"]) for each in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    of_b = models.get("models", params={"name": "b", "limit": 1}).json()
    assert [each["name"] for each in of_b["items"]] == ["b"]
    wrong = models.get("models", params={"name": "a", "cursor": of_b["next_cursor"]})
    assert wrong.json()["code"] == "FLIP-704"
    staged = models.get("models", params={"stage": "staging"}).json()["items"]
    assert [(each["name"], each["version"]) for each in staged] == [("a", 2)]


def test_the_table_says_what_the_api_says(models: TestClient, lab_dir: LabDir) -> None:
    """Column for column, so that a frame of either is the same."""
    register(models, "r1", tags=["t"])
    models.patch("models/digits/versions/1", json={"stage": "production"})
    [row] = models.get("models").json()["items"]
    [told] = Lab(lab_dir.root).models(as_="rows")
    assert row.keys() == told.keys()
    for name in row.keys() - {"metrics", "registered_at", "staged_at"}:
        assert row[name] == told[name], name
    for name in ("registered_at", "staged_at"):
        assert row[name][:23] == told[name].isoformat()[:23]


def test_stages_move_and_roll_back(models: TestClient) -> None:
    """One in production; the one before is archived, and comes back."""
    for run_id in ("r1", "r2"):
        register(models, run_id)
    for version in (1, 2):
        answer = models.patch(
            f"models/digits/versions/{version}", json={"stage": "production"}
        )
        assert (answer.status_code, answer.json()["stage"]) == (200, "production")
    whole = models.get("models/digits").json()
    assert (whole["production"], whole["before"]) == (2, 1)
    assert stages(models) == {1: "archived", 2: "production"}
    assert models.post("models/digits/roll-back").json()["version"] == 1
    assert stages(models) == {1: "production", 2: "archived"}
    none = models.post("models/digits/roll-back")
    assert (none.status_code, none.json()["code"]) == (409, "FLIP-452")
    assert models.get("models/digits/versions/production").json()["version"] == 1


def test_nobody_undoes_what_they_did_not_see(models: TestClient) -> None:
    """With ``If-Match`` a change counts for what was seen, for versions and models."""
    register(models, "r1")
    seen = models.get("models/digits/versions/1").headers["etag"]
    whole = models.get("models/digits").headers["etag"]
    path = "models/digits/versions/1"
    moved = models.patch(path, json={"stage": "staging"}, headers={"If-Match": seen})
    assert moved.status_code == 200
    stale = models.patch(path, json={"stage": "archived"}, headers={"If-Match": seen})
    assert (stale.status_code, stale.json()["code"]) == (412, "FLIP-705")
    for answer in (
        models.delete(path, headers={"If-Match": seen}),
        models.post("models/digits/roll-back", headers={"If-Match": whole}),
    ):
        assert answer.status_code == 412
    assert stages(models) == {1: "staging"}
    tag = moved.headers["etag"]
    assert models.delete(path, headers={"If-Match": tag}).status_code == 204
    assert models.get("models/digits").status_code == 404


def test_who_knows_it_already_gets_304(models: TestClient) -> None:
    """Lists, models, versions and files."""
    register(models, "r1")
    for path in ("", "/digits", "/digits/versions/1", "/digits/versions/1/file"):
        tag = models.get(f"models{path}").headers["etag"]
        again = models.get(f"models{path}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")


def test_the_file_comes_whole_and_in_parts(models: TestClient) -> None:
    """Its tag is its hash; a browser saves it under a name that says what it is."""
    version = register(models, "r1")
    path = "models/digits/versions/latest/file"
    whole = models.get(path)
    np.testing.assert_array_equal(safetensors.numpy.load(whole.content)["w"], np.zeros(50))
    assert whole.headers["etag"] == f'"{version["sha256"]}"'
    assert 'filename="digits-1.safetensors"' in whole.headers["content-disposition"]
    assert whole.headers["x-content-type-options"] == "nosniff"
    part = models.get(path, headers={"Range": "bytes=8-15"})
    assert (part.status_code, part.content) == (206, whole.content[8:16])
    beyond = models.get(path, headers={"Range": f"bytes={version['size_bytes']}-"})
    assert beyond.status_code == 416


def test_a_damaged_file_is_not_given(models: TestClient, lab_dir: LabDir) -> None:
    """Nor put into production."""
    version = register(models, "r1")
    Blobs(lab_dir).place(version["sha256"]).write_bytes(b"x")
    for answer in (
        models.get("models/digits/versions/1/file"),
        models.patch("models/digits/versions/1", json={"stage": "production"}),
    ):
        assert answer.json()["code"] == "FLIP-405"
        assert answer.status_code >= 400


def test_production_is_not_deleted(models: TestClient) -> None:
    """409, and it is still there."""
    register(models, "r1")
    models.patch("models/digits/versions/1", json={"stage": "production"})
    answer = models.delete("models/digits/versions/1")
    assert (answer.status_code, answer.json()["code"]) == (409, "FLIP-452")
    assert stages(models) == {1: "production"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "x"}, 422, "FLIP-703"),
        ({"name": "x", "run_id": "r1", "upload": "u"}, 422, "FLIP-703"),
        ({"name": "x", "upload": "u", "at_round": 1}, 422, "FLIP-703"),
        ({"name": "x", "run_id": "r1", "other": 1}, 422, "FLIP-703"),
        ({"name": "a/b", "run_id": "r1"}, 422, "FLIP-103"),
        ({"name": "x", "run_id": "r9"}, 404, "FLIP-301"),
        ({"name": "x", "run_id": "r1", "artifact": "y"}, 422, "FLIP-450"),
        ({"name": "x", "run_id": "r1", "at_round": 1}, 409, "FLIP-308"),
        ({"name": "x", "upload": "0" * 32}, 404, "FLIP-709"),
    ],
)
def test_what_cannot_be_registered(
    models: TestClient, body: dict[str, Any], status: int, code: str
) -> None:
    """Each with its code."""
    answer = models.post("models", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "path", ["nothing", "digits/versions/2", "digits/versions/production", "a%2Fb", "%00"]
)
def test_what_is_not_there(models: TestClient, path: str) -> None:
    """404, whatever the name."""
    register(models, "r1")
    assert models.get(f"models/{path}").status_code == 404


@pytest.mark.parametrize("which", ["0", "-1", "1.5", "newest", str(2**31)])
def test_what_is_no_version(models: TestClient, which: str) -> None:
    """A number or a stage is."""
    register(models, "r1")
    assert models.get(f"models/digits/versions/{which}").status_code == 422


def test_guests_look_and_strangers_do_not(models: TestClient, ask: Any) -> None:  # noqa: ANN401  # a fixture
    """Changing is for those who may."""
    register(models, "r1")
    guest, stranger = ask("guest"), ask(None)
    assert guest.get("models/digits/versions/1/file").status_code == 200
    changes: list[tuple[str, str, Any]] = [
        ("POST", "models", {"run_id": "r1", "name": "x"}),
        ("PATCH", "models/digits/versions/1", {"stage": "staging"}),
        ("POST", "models/digits/roll-back", None),
        ("DELETE", "models/digits/versions/1", None),
    ]
    for method, path, body in changes:
        assert guest.request(method, path, json=body).status_code == 403
        assert stranger.request(method, path, json=body).status_code == 401
    assert stranger.get("models").status_code == 401
    assert stages(models) == {1: "none"}
