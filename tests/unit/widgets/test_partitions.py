"""The partition explorer: what it draws, what it refuses, and what it says to a launch."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest

from flip_lab.analysis import label_skew
from flip_lab.boards.partitions.choice import Split, launch_text
from flip_lab.boards.partitions.options import option_fields
from flip_lab.boards.scripts import style
from flip_lab.core.errors import InvalidValueError, PartitionError, UnknownNameError
from flip_lab.fl.partition import partition_frame
from flip_lab.fl.scenarios import load_scenario
from flip_lab.views.theme import PALETTES
from flip_lab.widgets.partitions import PartitionExplorer


@pytest.fixture
def explorer() -> PartitionExplorer:
    """Give an explorer of ten nodes."""
    return PartitionExplorer("digits-dirichlet")


def picture_of(explorer: PartitionExplorer) -> dict[str, Any]:
    """Give what the browser has been told; it must be JSON."""
    return json.loads(json.dumps(explorer.picture, allow_nan=False))


def choose(explorer: PartitionExplorer, **changes: object) -> dict[str, Any]:
    """Choose as the browser does, and give what it is told then."""
    explorer.set_state({"settings": {**explorer.settings, **changes}})
    return picture_of(explorer)


def test_the_picture_counts_what_a_run_will_train_on(explorer: PartitionExplorer) -> None:
    """Cells, sizes and distances are those of the partitions of the very scenario."""
    shown = picture_of(explorer)
    frame = partition_frame(load_scenario("digits-dirichlet"))
    counts = frame["num_examples"]
    assert shown["columns"]["counts"] == [counts[label::10] for label in range(10)]
    assert sum(shown["columns"]["largest"]) == sum(map(int, counts)) == 1797
    skew = label_skew(explorer.partitions)
    told = shown["columns"]["distance"]
    assert told == pytest.approx(list(skew["total_variation"]), rel=1e-3)
    assert shown["title"] == "digits over 10 nodes: dirichlet"
    assert shown["worst"][0]["node"] == "node 3"
    assert shown["matrix"]["values"][4][4] == 0


def test_what_is_chosen_is_what_can_be_launched(explorer: PartitionExplorer) -> None:
    """Overrides name what differs from the scenario, and nothing else."""
    assert explorer.overrides == {}
    assert explorer.python == 'lab.launch("digits-dirichlet")'
    shown = choose(explorer, num_partitions=20, options={"alpha": 0.1})
    assert shown["error"] is None
    assert explorer.overrides == {
        "data.num_partitions": 20,
        "data.options.alpha": 0.1,
    }
    assert shown["python"] == explorer.python
    again = load_scenario("digits-dirichlet", explorer.overrides)
    assert again == explorer.scenario
    assert PartitionExplorer(overrides=explorer.overrides).picture == explorer.picture


def test_another_partitioner_takes_other_options(explorer: PartitionExplorer) -> None:
    """Options that the new one does not know are not passed on."""
    choose(explorer, partitioner="pathological", options={"classes_per_partition": 3})
    assert explorer.overrides == {
        "data.partitioner": "pathological",
        "data.options": {"classes_per_partition": 3},
    }
    assert max(label_skew(explorer.partitions)["num_labels"]) == 3
    choose(explorer, partitioner="dirichlet", options={})
    assert explorer.overrides == {"data.options": {}}  # the scenario's alpha is taken away


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"num_partitions": 900}, PartitionError),
        ({"num_partitions": 0}, InvalidValueError),
        ({"partitioner": "natural", "options": {}}, PartitionError),
        ({"dataset": "digit"}, UnknownNameError),
        ({"options": {"alpha": "much"}}, InvalidValueError),
        ({"distance": "crow"}, InvalidValueError),
        ({"unheard_of": 1}, InvalidValueError),
    ],
)
def test_what_cannot_be_split_leaves_the_last_picture(
    explorer: PartitionExplorer, changes: dict[str, Any], error: type[Any]
) -> None:
    """The code stands beside it; the next good choice takes it away."""
    before = picture_of(explorer)
    shown = choose(explorer, **changes)
    assert shown.pop("error")["code"] == error.code
    assert before.pop("error") is None
    assert shown == before
    assert explorer.overrides == {}
    assert f"[{error.code}]" in repr(explorer)
    explorer.set_state({"settings": {**before_settings(), "seed": 1}})
    assert picture_of(explorer)["error"] is None


def before_settings() -> dict[str, Any]:
    """Give the settings of the scenario itself."""
    start = load_scenario("digits-dirichlet")
    return Split.of(start, distance="total_variation", order="auto").to_json()


def test_a_wrong_scenario_is_refused_in_python() -> None:
    """There is no picture to keep yet."""
    with pytest.raises(UnknownNameError):
        PartitionExplorer("digits-dirichlot")
    with pytest.raises(PartitionError):
        PartitionExplorer(overrides={"num_partitions": 900})


def test_earth_movers_need_labels_in_order() -> None:
    """Digits are numbers; diagnoses are not, and the note says so."""
    digits = picture_of(PartitionExplorer(distance="earth_mover"))
    assert digits["farthest"] == 9
    hearts = picture_of(PartitionExplorer("hospitals", distance="earth_mover"))
    assert hearts["distance"] == "total_variation"
    assert "no order" in hearts["notes"][0]
    assert "earth_mover" not in dict(hearts["distances"])
    assert hearts["nodes"][0] == "Cleveland"
    assert hearts["most_nodes"] == 4


def test_it_answers_when_all_has_been_drawn(
    explorer: PartitionExplorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser waits for that before it sends the next wish."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(explorer, "send", sent.append)
    explorer._hear(explorer, {"ask": "draw", "ticket": 3}, [])
    explorer._hear(explorer, "no question", [])
    assert sent == [{"ask": "draw", "ticket": 3}]


def test_pages_without_widgets_get_a_table_and_a_text(explorer: PartitionExplorer) -> None:
    """The same picture always reads the same."""
    data = explorer._repr_mimebundle_()[0]
    assert data["text/plain"] == repr(explorer) == repr(PartitionExplorer())
    assert "node 3: 0.60 from the whole, 223 examples, 6 (43%)" in repr(explorer)
    assert '<section class="flip-board flip-partitions flip-card">' in data["text/html"]
    assert "<script" not in data["text/html"]
    choose(explorer, num_partitions=900)
    assert "FLIP-110" in explorer._repr_mimebundle_()[0]["text/html"]


def test_a_form_has_a_control_for_each_option() -> None:
    """Kinds, defaults and ends come from the partitioner's signature."""
    fields = {field["name"]: field for field in option_fields("dirichlet")}
    assert fields["alpha"]["kind"] == "number"
    assert (fields["alpha"]["low"], fields["alpha"]["high"]) == (0.01, 100.0)
    assert "strong skew" in fields["alpha"]["help"]
    assert fields["self_balancing"]["kind"] == "switch"
    modes = option_fields("pathological")[1]
    assert modes["choices"] == ["random", "deterministic", "first-deterministic"]
    shards = option_fields("shard")[0]
    assert (shards["kind"], shards["optional"], shards["default"]) == ("whole", True, None)
    assert option_fields("iid") == ()


def test_long_launches_are_broken_into_lines() -> None:
    """As the formatter would; a scenario object has a name of its own."""
    changes = {"data.partitioner": "pathological", "data.options": {"on": True}, "seed": 3}
    text = launch_text("digits-dirichlet", changes)
    lab: Any = type("Lab", (), {"launch": lambda _self, what, overrides: (what, overrides)})
    assert eval(text, {"lab": lab()}) == ("digits-dirichlet", changes)  # noqa: S307  # our own text
    assert max(map(len, text.splitlines())) <= 88
    assert launch_text(load_scenario("hospitals"), {}) == "lab.launch(scenario)"


@pytest.mark.parametrize("name", ["partitions", "fleet"])
def test_the_shades_are_those_of_the_figures(name: str) -> None:
    """A share has one colour in the widget and in figures."""
    told = dict(re.findall(r"--flip-shade-(\d): light-dark\(([^)]+)\)", style(name)))
    both = [told[str(at)].upper().split(", ") for at in range(1, 6)]
    assert tuple(light for light, _ in both) == PALETTES["light"].scale
    assert tuple(dark for _, dark in both) == PALETTES["dark"].scale


def test_the_catalogue_offers_what_there_is(explorer: PartitionExplorer) -> None:
    """Data sets and partitioners of the registries, plug-ins among them."""
    told = cast("dict[str, Any]", explorer.catalogue)
    assert {"digits", "heart-disease", "mnist-5k"} <= set(told["datasets"])
    assert set(told["partitioners"]) >= {"iid", "dirichlet", "natural"}
    json.dumps(told, allow_nan=False)
