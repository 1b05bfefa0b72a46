"""Real runs in other tools' hands: MLflow, W&B's sync, the RO-Crate validator."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from flip_lab.core.events import EventKind
from flip_lab.core.state import RunState
from flip_lab.exchange.names import keys_of
from flip_lab.runs.exports import export_runs
from flip_lab.runs.imports import import_runs
from flip_lab.runs.lab import Lab
from flip_lab.runs.life_sign import is_alive
from flip_lab.runs.packing import record_of
from flip_lab.runs.run import Run
from flip_lab.store import query
from flip_lab.store.layout import LabDir, open_lab
from flip_lab.store.schema import TABLES

pytestmark = pytest.mark.slow

CRATE_PYTHON = "FLIP_LAB_CRATE_VALIDATOR"
CRATE_CONTEXT = "FLIP_LAB_CRATE_CONTEXT"

VALIDATE = """
import json, sys
from pathlib import Path
from rocrate_validator import models, services
from rocrate_validator.utils import document_loader
from rocrate_validator.utils.http import HttpRequester

class Answer:  # the context, as w3id.org would give it
    status_code, headers = 200, {"Content-Type": "application/ld+json"}
    text = Path(sys.argv[2]).read_text()
    def json(self): return json.loads(self.text)
    def raise_for_status(self): pass

HttpRequester.get = HttpRequester.head = lambda *_, **__: Answer()
document_loader._fetch_json_ld = lambda _: Answer().json()
settings = services.ValidationSettings(rocrate_uri=sys.argv[1], offline=True,
    profile_identifier="process-run-crate-0.5",
    requirement_severity=models.Severity.REQUIRED)
issues = services.validate(settings).get_issues()
print(json.dumps([f"{each.check.identifier}: {each.message}" for each in issues]))
"""


@pytest.fixture(scope="module")
def runs(
    shared_lab: Lab,
    slow_app: Path,
    until: Callable[[Callable[[], bool]], None],
    process_of: Callable[[Run], psutil.Process],
) -> list[Run]:
    """Give a run that went well, its fork, and one whose process was killed."""
    first = shared_lab.launch("hospitals", overrides={"train.num_rounds": 2})
    assert first.wait(240) is RunState.COMPLETED, first.logs(tail=30)
    fork = first.fork(1, overrides={"train.num_rounds": 3})
    assert fork.wait(240) is RunState.COMPLETED, fork.logs(tail=30)
    endless = {"num-server-rounds": 1_000_000}  # until it is killed
    failed = shared_lab.launch(slow_app, overrides=endless)
    until(lambda: any(e.kind is EventKind.ROUND_ENDED for e in failed.events()))
    process_of(failed).kill()
    assert failed.wait(240) is RunState.FAILED
    for run in (first, fork):
        until(lambda run=run: not is_alive(shared_lab.path / "runs" / run.run_id))
    return [first, fork, failed]


@pytest.fixture(scope="module")
def lab(shared_lab: Lab) -> LabDir:
    """Give the lab's directory."""
    return open_lab(shared_lab.path)


def _ids(runs: list[Run]) -> list[str]:
    return sorted(run.run_id for run in runs)


@pytest.mark.parametrize("kind", ["flip", "parquet", "ro-crate"])
def test_whole_runs_make_equal_tables(
    kind: str, runs: list[Run], lab: LabDir, tmp_path: Path
) -> None:
    """All that a real run leaves is in the other lab, table by table."""
    if kind == "ro-crate":
        pytest.importorskip("rocrate", reason="needs pip install 'flip-lab[crate]'")
    other = open_lab(tmp_path / "other")
    out = export_runs(lab, _ids(runs), tmp_path / "out", format=kind)
    assert sorted(import_runs(other, out)) == _ids(runs)
    for name in TABLES:
        if name != "audit":
            mine, theirs = (query.table(at, name, as_="rows") for at in (lab, other))
            assert repr(theirs) == repr(mine), name


def test_a_copy_can_be_forked_and_repeated(
    runs: list[Run], lab: LabDir, tmp_path: Path
) -> None:
    """With its checkpoints and its lineage a run is at home in the other lab."""
    other = Lab(tmp_path / "other")
    export_runs(lab, [runs[0].run_id], other.path, format="flip")
    copy = other.run(runs[0].run_id)
    assert copy.result().arrays.keys() == runs[0].result().arrays.keys()
    fork = copy.fork(1, overrides={"train.num_rounds": 3})
    assert fork.wait(240) is RunState.COMPLETED, fork.logs(tail=30)
    assert fork.outcome().model_sha256 == runs[1].outcome().model_sha256
    again = other.rerun(copy.run_id, timeout_s=240)
    assert again.ok, again


@pytest.mark.filterwarnings("default")  # MLflow warns of what it will change itself
def test_mlflow_shows_the_runs(runs: list[Run], lab: LabDir, tmp_path: Path) -> None:
    """MLflow's client finds every metric, the fork below its parent, the failure's code."""
    pytest.importorskip("mlflow", reason="needs pip install 'flip-lab[mlflow]'")
    from mlflow import MlflowClient

    out = export_runs(lab, _ids(runs), tmp_path / "out", format="mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    found = {
        each.data.tags["flip_lab.run_id"]: each for each in client.search_runs(experiments)
    }
    first, fork, failed = (found[run.run_id] for run in runs)
    assert fork.data.tags["mlflow.parentRunId"] == first.info.run_id
    assert [each.info.status for each in (first, fork, failed)] == [
        "FINISHED",
        "FINISHED",
        "FAILED",
    ]
    assert runs[2].error is not None
    assert failed.data.tags["flip_lab.error"].startswith(runs[2].error.code)
    for key, series in keys_of(record_of(lab, runs[0]).series).items():
        history = client.get_metric_history(first.info.run_id, key)
        assert [point.value for point in history] == series.values
    artifacts = client.list_artifacts(first.info.run_id)
    assert any(each.path.endswith("model") for each in artifacts)
    other = open_lab(tmp_path / "other")
    assert sorted(import_runs(other, out)) == _ids(runs)
    assert import_runs(other, out, format="mlflow") == import_runs(other, out)
    ask = "SELECT * EXCLUDE (sequence, time_at) FROM metrics ORDER BY ALL"
    assert query.sql(other, ask, as_="rows") == query.sql(lab, ask, as_="rows")


class _Server(ThreadingHTTPServer):
    """What ``wandb sync`` needs of W&B's server; keeps what is sent."""

    def __init__(self) -> None:
        """Listen on a port of this machine."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """Answer one request as far as the client looks at answers."""
        if path.startswith("/upload/"):
            self.files[path.removeprefix("/upload/")] = body
        elif path.endswith("/file_stream"):
            sent = json.loads(body).get("files", {}).get("wandb-history.jsonl", {})
            self.history += map(json.loads, sent.get("content", []))
        elif path.startswith("/graphql"):
            return {"data": self._data(json.loads(body))}
        return {}

    def _data(self, question: dict[str, Any]) -> dict[str, Any]:
        text, values = question["query"], question.get("variables") or {}
        if "upsertBucket" in text:
            self.asked.append(values)
            entity = {"id": "1", "name": "entity"}
            project = {"id": "2", "name": values.get("project"), "entity": entity}
            bucket = {"id": "3", "name": values["name"], "project": project, "config": "{}"}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if "createRunFiles" in text:
            files = [
                {"name": name, "uploadUrl": f"{self.url}/upload/{name}"}
                for name in values["files"]
            ]
            return {"createRunFiles": {"runID": "3", "uploadHeaders": [], "files": files}}
        return {}


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to the server."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a question or take a part of a file stream."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, _Server)
        answer = json.dumps(self.server.answer(self.path, body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST  # noqa: N815  # the library's name

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # theirs
        """Say nothing."""


@pytest.fixture
def server() -> Generator[_Server]:
    """Give a server that ``wandb sync`` takes for W&B's."""
    with _Server() as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_wandb_sync_takes_the_runs(
    runs: list[Run], lab: LabDir, tmp_path: Path, server: _Server
) -> None:
    """W&B's own program uploads every row, every file and the settings."""
    pytest.importorskip("wandb", reason="needs pip install 'flip-lab[wandb]'")
    out = export_runs(lab, [runs[0].run_id], tmp_path / "out", format="wandb")
    (folder,) = out.iterdir()
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "sync", "--yes", str(folder)],
        cwd=tmp_path,
        env={
            **os.environ,
            "WANDB_API_KEY": "0" * 40,  # the server above asks for none
            "WANDB_BASE_URL": server.url,
            "WANDB_ERROR_REPORTING": "false",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Finished syncing" in done.stderr + done.stdout
    record = record_of(lab, runs[0])
    assert server.asked[0]["name"] == record.run_id
    assert server.asked[0]["project"] == record.experiment
    config = json.loads(server.asked[0]["config"])
    assert config["flip_lab.run_id"]["value"] == record.run_id
    for key, series in keys_of(record.series).items():
        sent = [(row["_step"], row[key]) for row in server.history if key in row]
        assert sent == list(zip(series.rounds, series.values, strict=True)), key
    assert {"flip_lab.json", "0-model"} <= server.files.keys()
    assert server.files["0-model"] == record.files[0].path.read_bytes()


def test_the_crate_is_valid(runs: list[Run], lab: LabDir, tmp_path: Path) -> None:
    """The community's validator finds nothing that the profile requires amiss.

    ``roc-validator`` does not live beside our pins: the variable names the Python of an
    environment of its own. The other one names RO-Crate's ``context.jsonld`` on the disk.
    """
    pytest.importorskip("rocrate", reason="needs pip install 'flip-lab[crate]'")
    python, context = os.environ.get(CRATE_PYTHON), os.environ.get(CRATE_CONTEXT)
    if not python or not context:
        pytest.skip(f"needs {CRATE_PYTHON} and {CRATE_CONTEXT}: see this test's docstring")
    out = export_runs(lab, _ids(runs), tmp_path / "out", format="ro-crate")
    done = subprocess.run(
        [python, "-c", VALIDATE, str(out), context],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_crate_describes_the_runs(runs: list[Run], lab: LabDir, tmp_path: Path) -> None:
    """Each run is an action: Flower its instrument, model and metrics its results."""
    rocrate = pytest.importorskip(
        "rocrate.rocrate", reason="needs pip install 'flip-lab[crate]'"
    )
    good = [run.run_id for run in runs[:2]]
    crate = rocrate.ROCrate(export_runs(lab, good, tmp_path / "out", format="ro-crate"))
    actions = crate.root_dataset["mentions"]
    assert sorted(action.id for action in actions) == [
        f"#run-{each}" for each in sorted(good)
    ]
    profiles = [each.id for each in crate.root_dataset["conformsTo"]]
    assert any("federated-learning" in each for each in profiles)
    (fork,) = [each for each in actions if each.id == f"#run-{runs[1].run_id}"]
    assert runs[0].run_id in fork["description"]
    assert fork["instrument"]["name"] == "Flower"
    kinds = [each.type for each in fork["result"]]
    assert "File" in kinds
    assert "PropertyValue" in kinds
    assert any(each.type == "Dataset" for each in fork["object"])
    parquet = [each.id for each in crate.data_entities if each.id.endswith(".parquet")]
    assert {"metrics.parquet", "clients.parquet", "events.parquet"} <= set(parquet)
