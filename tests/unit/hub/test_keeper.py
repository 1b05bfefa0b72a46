"""What an active hub looks after each second, and what it does once it can again."""

from __future__ import annotations

from pathlib import Path

import pytest

from flip_lab.core.errors import StoreNotWritableError
from flip_lab.hub import active
from flip_lab.hub.active import _Keeper
from flip_lab.testing.hub_probe import Asked, ProbedHub, Signer

RUNS = (11, 12, 13)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProbedHub:
    """Give a hub that looks after things when a test says so, and not in between."""
    monkeypatch.setattr(active, "_TICK_S", 3600.0)
    return ProbedHub(tmp_path / "hub")


def test_ends_of_runs_are_written_down_once_the_disk_has_room(
    hub: ProbedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them: no run is under way for ever because the disk was full as it ended."""

    async def story(asked: Asked) -> None:
        service = asked.active.service
        for run_id in RUNS:
            service.database.runs.started(
                flower_run_id=run_id, fab_sha256="0" * 64, person="ada"
            )
        keeper, ended = _Keeper(service), service.database.runs.ended
        news = [[], [], [*RUNS]]  # the state names each end once
        is_full = [False, True, True, False, False, False]

        def write(run_id: int, outcome: str) -> None:
            if is_full.pop(0):
                raise StoreNotWritableError("The disk is full.", fix="Free some space.")
            ended(run_id, outcome)

        monkeypatch.setattr(service.database.runs, "ended", write)
        monkeypatch.setattr(service.state, "sweep", news.pop)
        for _ in range(2):
            with pytest.raises(StoreNotWritableError):
                keeper.tick()
        keeper.tick()
        found = {run.flower_run_id: run.outcome for run in service.database.runs.list()}
        assert found == dict.fromkeys(RUNS, "unknown")

    hub.play(story)


def test_who_is_revoked_while_a_hub_starts_is_not_let_in(hub: ProbedHub) -> None:
    """Between the first look at who is enrolled, and the first at who has changed."""
    signer = Signer()
    hub.enrol("north", signer)

    async def story(asked: Asked) -> None:
        service = asked.active.service
        known = service.keys.of_id(signer.node_id)
        assert known is not None
        assert service.keys.lets_in(known.fingerprint)
        hub.revoke("north")
        _Keeper(service).tick()
        assert not service.keys.lets_in(known.fingerprint)

    hub.play(story)
