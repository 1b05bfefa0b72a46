"""What a user sets is laid over what the app sends; the app's own objects never change."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from flip_lab.core.errors import CommandRefusedError
from flip_lab.core.events import EventKind, Json
from flip_lab.engines.flower.messages import become_server
from flip_lab.engines.settings import SettingsBook, python_name

become_server(1)


class Told:
    """Keeps what is emitted."""

    def __init__(self) -> None:
        self.bodies: list[Mapping[str, Any]] = []

    def __call__(
        self, kind: EventKind, body: Mapping[str, Json], *, server_round: int
    ) -> None:
        """Keep it."""
        assert kind is EventKind.SETTINGS
        self.bodies.append({**body, "round": server_round})


def a_book(**run_config: Any) -> SettingsBook:  # noqa: ANN401  # any setting
    """Give a book that nobody hears of."""
    return SettingsBook(run_config, Told())


def batch(phase: str = "train", /, **config: Any) -> list[Message]:  # noqa: ANN401  # any setting
    """Give two messages that share one content."""
    named = {key.replace("_", "-"): value for key, value in config.items()}
    arrays = ArrayRecord([np.zeros(3)])
    content = RecordDict({"arrays": arrays, "config": ConfigRecord(named)})
    return [Message(content, node, phase) for node in (1, 2)]


def config_of(message: Message) -> dict[str, Any]:
    """Give what a client reads."""
    return dict(message.content["config"])


def test_what_was_set_travels_and_the_app_does_not_notice() -> None:
    """Messages that shared a content go on sharing one, arrays included."""
    book = a_book()
    sent = batch(learning_rate=0.1, epochs=2, server_round=3)
    book.put_in_force({"learning_rate": 0.01}, ())
    first, second = book.lay_over(sent)
    assert config_of(first) == {"learning-rate": 0.01, "epochs": 2, "server-round": 3}
    assert first.content is second.content is not sent[0].content
    assert first.content["arrays"] is sent[0].content["arrays"]
    assert first.metadata is sent[0].metadata
    assert config_of(sent[0])["learning-rate"] == 0.1


def test_messages_that_nobody_changes_are_those_of_the_app() -> None:
    """It costs nothing."""
    sent = batch(learning_rate=0.1)
    assert a_book().lay_over(sent) is sent


@pytest.mark.parametrize(
    ("name", "trained", "evaluated"),
    [("rate", 9.0, 9.0), ("train.rate", 9.0, 1.0), ("evaluate.rate", 1.0, 9.0)],
)
def test_a_scope_before_a_name_means_one_place(
    name: str, trained: float, evaluated: float
) -> None:
    """Without it the name is set wherever it is found."""
    book = a_book(rate=1.0)
    book.put_in_force({name: 9}, ())
    assert config_of(book.lay_over(batch("train", rate=1.0))[0])["rate"] == trained
    assert config_of(book.lay_over(batch("evaluate", rate=1.0))[0])["rate"] == evaluated


def test_clients_see_other_values_of_the_run_configuration() -> None:
    """In the app's spelling; only those that differ, and none any more when set back."""
    book = a_book(**{"local-epochs": 5, "rate": 0.5})
    assert book.put_in_force({"local_epochs": 7, "rate": 0.5}, ()) == {"local-epochs": 7}
    assert book.put_in_force({"local_epochs": 5}, ()) == {}


def test_a_strategy_has_what_was_set_and_shows_what_it_has() -> None:
    """Its public numbers, texts and switches; not what it keeps to itself."""
    strategy = SimpleNamespace(fraction=1.0, min_nodes=2, _secret=3, arrays_key="arrays")
    book = a_book()
    book.set_on(strategy)
    assert book.names() == ["fraction", "min_nodes"]
    book.put_in_force({"strategy.fraction": 1, "min_nodes": 4.0}, ())
    book.set_on(strategy)
    assert (strategy.fraction, type(strategy.fraction)) == (1.0, float)
    assert (strategy.min_nodes, type(strategy.min_nodes)) == (4, int)
    assert book.number("min_nodes") == 4
    assert book.number("unheard_of") == 0


def test_settings_are_told_when_they_change_and_not_before() -> None:
    """A round number in a message is no setting, or every round would tell."""
    told = Told()
    book = SettingsBook({}, told)
    for server_round in (1, 2):
        book.lay_over(batch(rate=0.1, server_round=server_round))
        book.tell(server_round)
    book.put_in_force({"rate": 0.2}, [7, 3])
    book.lay_over(batch(rate=0.1))
    book.tell(3)
    assert [(body["round"], body["train"]) for body in told.bodies] == [
        (1, {"rate": 0.1}),
        (3, {"rate": 0.2}),
    ]
    assert told.bodies[-1]["excluded"] == [3, 7]


@pytest.mark.parametrize("value", ["fast", True, 2.5])
def test_a_value_of_another_type_is_refused(value: Any) -> None:  # noqa: ANN401  # any value
    """The app would fail on it, in every client at once."""
    book = a_book(epochs=2)
    with pytest.raises(CommandRefusedError, match="epochs"):
        book.check({"epochs": value})


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """And with all that there are."""
    with pytest.raises(CommandRefusedError, match="Did you mean 'learning_rate'"):
        a_book(**{"learning-rate": 0.1}).check({"learning_rat": 1.0})


@given(st.dictionaries(st.from_regex(r"[a-z][a-z\-]{0,6}", fullmatch=True), st.floats()))
def test_what_is_set_is_what_a_client_reads(config: dict[str, float]) -> None:
    """Whatever the values are, NaN included; and the rest stays as it was."""
    book = a_book()
    changed = dict(list(config.items())[::2])
    book.put_in_force({python_name(key): 7.0 for key in changed}, ())
    [sent, _] = book.lay_over(batch("train", **config))
    expected = {key: 7.0 if key in changed else value for key, value in config.items()}
    assert repr(config_of(sent)) == repr(expected)
