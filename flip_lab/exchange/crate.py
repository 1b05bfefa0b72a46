# rocrate ships no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""RO-Crate: runs described for people and machines that know nothing of FLIP Lab.

The crate follows RO-Crate 1.1, the Process Run Crate 0.5, which stands on that, and the
draft Federated Learning profile 0.1, whose own example does the same: each run is a
``CreateAction`` whose instrument is Flower, whose objects are the data and the
configuration, whose results are the model and its metrics. The files are those of the
Parquet export, so a crate can be imported again.

Sources: https://www.researchobject.org/workflow-run-crate/profiles/process_run_crate/,
https://esciencelab.org.uk/federated-learning-ro-crate-profile/
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flip_lab.core.clock import at_utc
from flip_lab.exchange import parquet, sealed
from flip_lab.exchange.parcels import Parcel
from flip_lab.exchange.parquet import Bundle
from flip_lab.exchange.records import RunRecord, Series

MADE_AS = "ro-crate"

_VERSION = "1.1"
_PROCESS = "https://w3id.org/ro/wfrun/process/0.5"
_FEDERATED = (
    "https://esciencelab.org.uk/federated-learning-ro-crate-profile/"
    "federated-learning-profile.html"
)
_ENDS = {
    "completed": "http://schema.org/CompletedActionStatus",
    "failed": "http://schema.org/FailedActionStatus",
    "stopped": "http://schema.org/FailedActionStatus",
}
_MEASURED = {
    "federated": "aggregated from the clients",
    "central": "measured centrally",
    "server": "logged by the server",
}
_PARQUET = "application/vnd.apache.parquet"


def write(records: Sequence[RunRecord], bundle: Bundle, folder: Path) -> None:
    """Write a crate into an empty directory, and seal it.

    Args:
        records: The runs.
        bundle: Their tables and files.
        folder: An empty directory.
    """
    parquet.lay_out(bundle, folder, made_as=MADE_AS)
    _Crate(folder, bundle).describe(records)
    sealed.seal(folder, {"made_as": MADE_AS, "runs": sorted(bundle.specs)})


def read(path: Path) -> Generator[Parcel]:
    """Read the runs of a crate that FLIP Lab exported; errors as of ``parquet.read``."""
    return parquet.read(path, made_as=MADE_AS)


class _Crate:
    """Describes the files of one directory."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        from rocrate.rocrate import ROCrate

        self._folder = folder
        self._bundle = bundle
        self._crate = ROCrate(version=_VERSION)

    def describe(self, records: Sequence[RunRecord]) -> None:
        """Write ``ro-crate-metadata.json``."""
        crate, root = self._crate, self._crate.root_dataset
        names = sorted({record.experiment or record.name for record in records})
        crate.name = f"Federated-learning runs: {', '.join(names)}"
        crate.description = (
            f"{len(records)} runs recorded by FLIP Lab: what was asked for, what every "
            "client did, the metrics by round, and the models."
        )
        crate.license = self._context(
            "http://rightsstatements.org/vocab/UND/1.0/",
            "CreativeWork",
            name="Copyright Undetermined",
            description="Whoever exported the runs chose no licence: ask before reuse.",
        )
        authors = sorted({record.author for record in records} - {""})
        if authors:
            root["author"] = [self._author(name) for name in authors]
        self._tables()
        actions = [self._action(record) for record in records]
        root["mentions"] = actions
        profiles = [self._profile(_PROCESS, "Process Run Crate", "0.5")]
        if all(_model(record) for record in records):
            profiles.append(self._profile(_FEDERATED, "Federated Learning RO-Crate", "0.1"))
        root["conformsTo"] = profiles
        crate.metadata.write(self._folder)

    def _tables(self) -> None:
        self._file("README.md", "What is in this crate", "text/markdown")
        self._file("schema.json", "The tables' columns", "application/json")
        for name in sorted(self._bundle.tables):
            self._file(f"{name}.parquet", f"Table {name}", _PARQUET)
        for run_id in sorted(self._bundle.logs):
            self._file(f"logs/{run_id}.log", f"Output of run {run_id}", "text/plain")

    def _action(self, record: RunRecord) -> Any:  # noqa: ANN401  # an entity
        run_id = record.run_id
        spec = self._file(
            f"specs/{run_id}.json", f"Configuration of run {run_id}", "application/json"
        )
        properties: dict[str, Any] = {
            "@type": "CreateAction",
            "name": f"Run {run_id} of {record.name}",
            "description": _description(record),
            "startTime": _moment(record.started_s or record.created_s),
            "endTime": _moment(record.ended_s),
            "actionStatus": _ENDS[record.state],
        }
        if record.author:
            properties["agent"] = self._author(record.author)
        if record.error:
            properties["error"] = f"{record.error.get('code')}: {record.error.get('what')}"
        return self._crate.add_action(
            instrument=self._software(record.spec or {}),
            identifier=f"#run-{run_id}",
            object=[spec, *self._data(record), *self._parameters(record)],
            result=[*self._files(record), *self._metrics(record)],
            properties=properties,
        )

    def _software(self, spec: Mapping[str, Any]) -> Any:  # noqa: ANN401  # an entity
        version = str((spec.get("lineage") or {}).get("flwr", ""))
        return self._context(
            f"https://github.com/adap/flower/tree/v{version}",
            "SoftwareApplication",
            name="Flower",
            description="The federated-learning framework, run by FLIP Lab.",
            url="https://flower.ai",
            version=version or "unknown",
        )

    def _data(self, record: RunRecord) -> Generator[Any]:
        digest = str(record.lineage.get("data_sha256") or "")
        if not digest:
            return
        name = record.parameters.get("data.dataset", "data")
        entity = self._context(
            f"#data-{digest}/",
            "Dataset",
            name=f"Training data {name}",
            description="Held by the clients, who each have a part; known here by the "
            f"SHA-256 {digest}.",
            identifier=f"sha256:{digest}",
        )
        self._crate.root_dataset.append_to("hasPart", entity)
        yield entity

    def _parameters(self, record: RunRecord) -> Generator[Any]:
        for name, text in sorted(record.parameters.items()):
            yield self._context(
                f"#parameter-{record.run_id}-{quote(name, safe='')}",
                "PropertyValue",
                name=name,
                value=text,
            )

    def _files(self, record: RunRecord) -> Generator[Any]:
        for file in record.files:
            kind = file.media_type or "application/octet-stream"
            title = f"{file.name} of run {record.run_id}"
            yield self._file(f"files/{sealed.sha256_of(file.path)}", title, kind)

    def _metrics(self, record: RunRecord) -> Generator[Any]:
        for series in record.series:
            identity = quote("/".join(series.identity), safe="/")
            yield self._context(
                f"#metric-{record.run_id}-{identity.replace('/', '-')}",
                "PropertyValue",
                name=series.name,
                description=_meaning(series),
                propertyID=f"urn:flip-lab:metric:{identity}",
                value=str(series.values[-1]),
            )

    def _file(self, place: str, name: str, kind: str) -> Any:  # noqa: ANN401  # an entity
        path = self._folder / place
        return self._crate.add_file(
            path,
            place,
            properties={
                "name": name,
                "description": f"{name}, as kept by FLIP Lab.",
                "encodingFormat": kind,
                "contentSize": str(path.stat().st_size),
            },
        )

    def _profile(self, uri: str, name: str, version: str) -> Any:  # noqa: ANN401  # entity
        return self._context(uri, "CreativeWork", name=name, version=version)

    def _author(self, name: str) -> Any:  # noqa: ANN401  # an entity
        return self._context(f"#person-{quote(name, safe='')}", "Person", name=name)

    def _context(self, identity: str, kind: str, **properties: str) -> Any:  # noqa: ANN401  # an entity
        from rocrate.model import ContextEntity

        entity = ContextEntity(
            self._crate, identity, properties={"@type": kind, **properties}
        )
        return self._crate.add(entity)


def _moment(time_s: float) -> str:
    return at_utc(time_s).isoformat(timespec="seconds")


def _model(record: RunRecord) -> bool:
    return any(file.name == "model" for file in record.files)


def _meaning(series: Series) -> str:
    phase, scope, _ = series.identity
    return f"{phase}, {_MEASURED.get(scope, scope)}, after round {series.rounds[-1]}"


def _description(record: RunRecord) -> str:
    origin = (
        f" Forked from run {record.parent_run_id} after round {record.forked_at_round}."
        if record.parent_run_id
        else ""
    )
    rounds = f"{len(record.rounds)} rounds of federated learning; {record.state}."
    return f"{rounds}{origin} {record.note}".strip()
