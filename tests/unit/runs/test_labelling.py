"""Tags, notes, archive and trash: what was said last counts, and can be taken back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import (
    IllegalTransitionError,
    InvalidValueError,
    NothingToUndoError,
    RunNotFoundError,
    StoreError,
    StoreNotWritableError,
)
from flip_lab.core.state import RunState
from flip_lab.runs import trash
from flip_lab.runs.lab import Lab
from flip_lab.runs.life_sign import held_lock
from flip_lab.runs.run import Run
from flip_lab.runs.spec import RunSpec
from flip_lab.store.audit import audit_path, labels, read_audit
from flip_lab.store.layout import LabDir, open_lab, write_json_atomic

MakeRun = Callable[..., Run]
AWKWARD = ["'", '"', "'); DROP TABLE runs; --", "select", "*", "ünïcödé 🎉", "a b", "?"]


@pytest.fixture
def lab(lab_dir: LabDir, make_run: MakeRun) -> Lab:
    """Give a lab with three runs that have ended."""
    for run_id in ("r1", "r2", "r3"):
        make_run(run_id)
    return Lab(lab_dir.root)


def row(lab: Lab, run_id: str = "r1") -> Any:  # noqa: ANN401  # a row of a frame
    """Give a run's row, archived or not."""
    return lab.sql("SELECT * FROM runs WHERE run_id = ?", [run_id]).iloc[0]


def test_a_tag_is_there_at_once(lab: Lab) -> None:
    """For lists, for SQL, and on the handle's side."""
    lab.tag("r1", "baseline", "good")
    lab.run("r1").tag("paper")
    assert list(row(lab).tags) == ["baseline", "good", "paper"]
    assert list(lab.runs(tag="paper").run_id) == ["r1"]
    lab.untag("r1", "good", "never given")
    assert list(row(lab).tags) == ["baseline", "paper"]


def test_a_tag_may_be_any_text(lab: Lab) -> None:
    """Quotes, keywords and marks mean nothing in it."""
    lab.tag("r2", *AWKWARD)
    assert list(row(lab, "r2").tags) == sorted(AWKWARD)
    assert list(lab.runs(tag=AWKWARD).run_id) == ["r2"]
    assert lab.runs(tag=[*AWKWARD, "other"]).empty
    assert list(lab.runs({"tags": [AWKWARD[2], "other"]}).run_id) == ["r2"]
    assert list(row(lab).tags) == []


def test_the_same_tag_however_it_was_typed(lab: Lab) -> None:
    """An accent may be a letter of its own; space around a tag is none of it."""
    lab.tag("r1", "cafe\u0301 ", "café")
    assert list(row(lab).tags) == ["café"]


@pytest.mark.parametrize("tag", ["", "  ", "a\nb", "\udcff", "x" * 201, None, 3, ["a"]])
def test_what_is_no_tag_is_refused(lab: Lab, tag: str) -> None:
    """Nothing is on record then, not even the good one beside it."""
    with pytest.raises(InvalidValueError):
        lab.tag("r1", "good", tag)
    with pytest.raises(InvalidValueError):
        lab.tag("r1")
    assert read_audit(open_lab(lab.path)) == []


def test_several_runs_are_one_action(lab: Lab) -> None:
    """Handles, ids, beginnings of ids, or a frame; undone together."""
    lab.tag([lab.run("r1"), "r2"], "both")
    lab.tag(lab.runs("run_id > ?", parameters=["r2"]), "last")
    assert list(lab.runs(tag="both").run_id) == ["r2", "r1"]
    assert list(lab.runs(tag="last").run_id) == ["r3"]
    assert str(lab.undo()) == "undone: tag 'last' of r3"
    assert str(lab.undo()) == "undone: tag 'both' of r1, r2"
    assert lab.runs(tag="both").empty
    assert [record.run_ids for record in read_audit(open_lab(lab.path))] == [
        ("r1", "r2"),
        ("r3",),
        ("r3",),
        ("r1", "r2"),
    ]


def test_one_wrong_run_and_nothing_is_done(lab: Lab) -> None:
    """An action is done to all its runs or to none."""
    with pytest.raises(RunNotFoundError):
        lab.tag(["r1", "nobody"], "x")
    with pytest.raises(RunNotFoundError):
        lab.delete(["r1", "r"])
    for wrong in (3, None, [None]):
        with pytest.raises(InvalidValueError):
            lab.archive(wrong)  # pyright: ignore[reportArgumentType]  # users err
    assert read_audit(open_lab(lab.path)) == []


def test_no_run_is_nothing_to_do(lab: Lab) -> None:
    """A search may find none."""
    none = lab.runs("false")
    lab.tag(none, "x")
    lab.note(none, "x")
    lab.archive([])
    lab.delete(none)
    lab.undelete([])
    assert read_audit(open_lab(lab.path)) == []


def test_the_last_note_counts(lab: Lab) -> None:
    """An empty one takes it away; undoing brings back the one before."""
    text = "first line\nsecond: 'quoted' \"twice\" 🎉"
    lab.run("r1").note(text)
    assert row(lab).note == text
    lab.note("r1", "")
    assert not row(lab).note
    lab.undo()
    assert row(lab).note == text


@pytest.mark.parametrize("text", [None, 3, "\udcff", "x" * 100_001])
def test_what_is_no_note_is_refused(lab: Lab, text: str) -> None:
    """Before anything is written."""
    with pytest.raises(InvalidValueError):
        lab.note("r1", text)


def test_archived_runs_are_put_away(lab: Lab) -> None:
    """Lists leave them out unless asked; SQL and their handles still find them."""
    lab.archive(["r1", "r2"])
    assert list(lab.runs().run_id) == ["r3"]
    assert list(lab.runs(archived=True).run_id) == ["r3", "r2", "r1"]
    assert list(lab.runs("is_archived", archived=True).run_id) == ["r2", "r1"]
    assert bool(row(lab).is_archived)
    assert set(lab.metrics().run_id) == {"r3"}
    assert set(lab.metrics(runs=["r1"]).run_id) == {"r1"}
    lab.unarchive("r1")
    assert list(lab.runs().run_id) == ["r3", "r1"]


def test_a_deleted_run_is_nowhere(lab: Lab) -> None:
    """At once, in every table, and by its id; the trash knows it."""
    run = lab.run("r1")
    run.note("will be missed")
    lab.delete(run)
    assert "r1" not in set(lab.runs(archived=True).run_id)
    for table in ("runs", "metrics", "clients", "client_metrics", "rounds", "events"):
        assert "r1" not in set(lab.table(table).run_id), table
    with pytest.raises(RunNotFoundError, match="was deleted"):
        lab.run("r1")
    for tag in (run.tag, lambda text: lab.tag("r1", text)):
        with pytest.raises(RunNotFoundError):
            tag("x")
    [gone] = lab.deleted().itertuples()
    assert (gone.run_id, gone.name, gone.experiment) == ("r1", "hospitals", "hospitals")
    assert str(lab.undo()) == "undone: delete of r1"
    assert row(lab).note == "will be missed"
    assert lab.deleted().empty


def test_anybody_can_take_a_run_out_of_the_trash(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the end of its id, too; but undo is for one's own actions."""
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "ada")
    lab.delete(["r1", "r2"])
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "grace")
    assert list(lab.deleted().deleted_by) == ["ada", "ada"]
    with pytest.raises(NothingToUndoError, match="grace"):
        lab.undo()
    lab.undelete("1")
    assert set(lab.runs().run_id) == {"r1", "r3"}
    with pytest.raises(RunNotFoundError):
        lab.undelete("r1")


def test_a_run_under_way_cannot_be_deleted(lab: Lab, lab_dir: LabDir) -> None:
    """Nor those beside it."""
    spec = RunSpec.load(lab_dir.run_dir("r1"))
    folder = lab_dir.run_dir("r4")
    write_json_atomic(folder / "run.json", {**spec.to_json(), "run_id": "r4"})
    with held_lock(folder):
        with pytest.raises(IllegalTransitionError, match="r4"):
            lab.delete(["r1", "r4"])
        assert len(lab.runs()) == 4
    lab.delete(["r1", "r4"])
    assert len(lab.runs()) == 2


def test_a_deleted_run_is_not_resumed(lab: Lab, make_run: MakeRun) -> None:
    """Its handle may be older than the deletion."""
    run = make_run("r4", state=RunState.STOPPED, rounds=0)
    lab.delete(run)
    with pytest.raises(IllegalTransitionError, match="undelete"):
        run.resume_from_checkpoint()


def test_a_damaged_run_can_be_deleted(lab: Lab, lab_dir: LabDir) -> None:
    """That may be what one wants most."""
    (lab_dir.run_dir("r1") / "run.json").write_text("{")
    lab.delete("r1")
    assert list(lab.deleted().name) == [""]
    assert lab.empty_trash() == ["r1"]
    assert not lab_dir.run_dir("r1").exists()


def test_an_emptied_trash_is_empty_for_good(lab: Lab, lab_dir: LabDir) -> None:
    """Files and rows are gone; the log still knows."""
    lab.delete(["r1", "r2"])
    assert lab.empty_trash(older_than_s=3600.0) == []
    assert lab.empty_trash() == ["r1", "r2"]
    assert lab.deleted().empty
    assert not lab_dir.run_dir("r1").exists()
    assert not lab_dir.live_dir("r1").exists()
    assert list(lab.table("runs").run_id) == ["r3"]
    assert lab.empty_trash() == []
    with pytest.raises(NothingToUndoError):
        lab.undo()
    with pytest.raises(RunNotFoundError):
        lab.undelete("r1")
    assert [each.action for each in read_audit(lab_dir)] == ["delete", "empty_trash"]


def test_a_trash_half_emptied_is_emptied_by_the_next_call(
    lab: Lab, lab_dir: LabDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was noted as removed before its first file went."""

    def killed(folder: object) -> None:
        raise PermissionError(13, "no", str(folder))

    lab.delete("r1")
    with monkeypatch.context() as patch:
        patch.setattr(trash, "rmtree", killed)
        with pytest.raises(StoreNotWritableError):
            lab.empty_trash()
    assert lab_dir.run_dir("r1").exists()
    assert lab.deleted().empty
    assert "r1" not in set(lab.table("runs").run_id)
    assert lab.empty_trash() == []
    assert not lab_dir.run_dir("r1").exists()


def test_undo_takes_back_ones_own_last_action(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what others did since."""
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "ada")
    lab.tag("r1", "a")
    lab.note("r1", "from ada")
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "grace")
    lab.note("r1", "from grace")
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "ada")
    assert lab.undo().body == {"text": "from ada"}
    assert row(lab).note == "from grace"
    assert lab.undo().action == "tag"
    with pytest.raises(NothingToUndoError):
        lab.undo()
    assert list(row(lab).tags) == []


def test_undo_says_how_many(lab: Lab, make_run: MakeRun) -> None:
    """Not all their names."""
    make_run("r4")
    lab.archive(["r1", "r2", "r3", "r4"])
    assert str(lab.undo()) == "undone: archive of r1, r2, r3 and 1 more"


def test_all_of_it_is_on_record(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who did what to which run: a table like others."""
    monkeypatch.setenv("FLIP_LAB_AUTHOR", "ada")
    lab.tag("r1", "a")
    lab.delete("r1")
    lab.undo()
    rows = lab.sql("SELECT author, action, run_id, body FROM audit ORDER BY sequence")
    assert list(rows.action) == ["tag", "delete", "undo"]
    assert set(rows.author) == {"ada"}
    assert list(rows.run_id) == ["r1", "r1", "r1"]
    assert json.loads(rows.body[0]) == {"tags": ["a"]}


def test_a_log_that_cannot_be_written_refuses_all(lab: Lab, lab_dir: LabDir) -> None:
    """A directory in its place does what a read-only disk does, also for root."""
    audit_path(lab_dir).mkdir()
    for act in (lab.tag, lab.note):
        with pytest.raises(StoreError):
            act("r1", "x")


@dataclass
class Model:
    """What a run is labelled with, kept the simple way."""

    tags: frozenset[str] = frozenset()
    note: str = ""
    archived: bool = False
    deleted: bool = False


@dataclass
class World:
    """All runs, and how they were before each action."""

    now: dict[str, Model] = field(default_factory=dict[str, Model])
    before: list[dict[str, Model]] = field(default_factory=list[dict[str, Model]])


RUNS = ("r1", "r2")
ACTIONS = st.one_of(
    st.tuples(
        st.sampled_from(["tag", "untag"]),
        st.sets(st.sampled_from(RUNS), min_size=1),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=3),
    ),
    st.tuples(
        st.just("note"),
        st.sets(st.sampled_from(RUNS), min_size=1),
        st.text(st.characters(codec="utf-8"), max_size=5),
    ),
    st.tuples(
        st.sampled_from(["archive", "unarchive", "delete", "undelete"]),
        st.sets(st.sampled_from(RUNS), min_size=1),
        st.none(),
    ),
    st.tuples(st.just("undo"), st.none(), st.none()),
)


def changed(old: Model, action: str, what: Any) -> Model:  # noqa: ANN401  # as drawn
    """Do one action to a simple model of a run."""
    tags = {"tag": old.tags.union, "untag": old.tags.difference}.get(action)
    return Model(
        tags=old.tags if tags is None else tags(what),
        note=what if action == "note" else old.note,
        archived={"archive": True, "unarchive": False}.get(action, old.archived),
        deleted={"delete": True, "undelete": False}.get(action, old.deleted),
    )


def do(lab: Lab, world: World, action: str, runs: set[str], what: Any) -> None:  # noqa: ANN401  # as drawn
    """Do one action to the lab and to the model, unless the lab must refuse it."""
    if action == "undo":
        if world.before:
            lab.undo()
            world.now = world.before.pop()
        else:
            with pytest.raises(NothingToUndoError):
                lab.undo()
        return
    wanted = action == "undelete"
    arguments = {"tag": what, "untag": what, "note": [what]}.get(action, [])
    if any(world.now[run_id].deleted is not wanted for run_id in runs):
        with pytest.raises(RunNotFoundError):
            getattr(lab, action)(sorted(runs), *arguments)
        return
    getattr(lab, action)(sorted(runs), *arguments)
    world.before.append(world.now)
    world.now = world.now | {
        run_id: changed(world.now[run_id], action, what) for run_id in runs
    }


@given(actions=st.lists(ACTIONS, max_size=25))
def test_any_actions_give_what_a_simple_model_gives(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, set[str], Any]]
) -> None:
    """Undo goes back one state at a time, as far as one likes."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    home = open_lab(lab.path)
    for run_id in RUNS:
        write_json_atomic(home.run_dir(run_id) / "run.json", {"run_id": run_id})
    world = World(now={run_id: Model() for run_id in RUNS})
    for action, runs, what in actions:
        do(lab, world, action, runs, what)
    found = labels(read_audit(home))
    for run_id, expected in world.now.items():
        if (told := found.get(run_id)) is None:
            assert expected == Model()
            continue
        assert told.tags == tuple(sorted(expected.tags))
        assert told.note == expected.note
        assert told.is_archived == expected.archived
        assert told.is_hidden == expected.deleted
