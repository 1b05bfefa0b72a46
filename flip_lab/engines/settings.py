"""The settings of a run: what is in force, what a user may set, and how it gets there.

A setting is a number, a text or a switch that travels to the clients in a message's
``ConfigRecord``, that stands in Flower's run configuration, or that is a strategy's public
attribute. Setting one lays it over what the app sends: the app's own records and objects
in the run configuration stay as they are, so the app never notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import cast

from flwr.app import ConfigRecord, Message, RecordDict

from flip_lab.core.edits import Value
from flip_lab.core.errors import CommandRefusedError, nearest
from flip_lab.core.events import EventKind, Json
from flip_lab.core.ports import Emit
from flip_lab.engines.flower.messages import for_client, phase_of

SCOPES = ("train", "evaluate", "strategy", "run")
_NOT_SETTINGS = frozenset({"server-round", "scenario"})
_NAMES_OF_RECORDS = "_key"  # between the app's two halves; another one would break them


def python_name(key: str) -> str:
    """Spell a setting as Python does: ``learning_rate`` for ``learning-rate``."""
    return key.replace("-", "_")


class SettingsBook:
    """Knows a run's settings; safe to ask from several threads.

    Args:
        run_config: Flower's run configuration, as the run began with it.
        emit: Where changes are recorded.

    Attributes:
        is_known: Whether the app has shown what it sends.
        policy: When rounds close, where the run has a policy; only told, not set here.
    """

    def __init__(self, run_config: Mapping[str, Value], emit: Emit) -> None:
        """Know the run configuration; the rest is learnt as the app shows it."""
        self._emit = emit
        self._lock = Lock()
        self._known: dict[str, dict[str, Value]] = {scope: {} for scope in SCOPES}
        self._run_config = dict(run_config)
        self._set: Mapping[str, Value] = {}
        self._excluded: list[int] = []
        self._told: Mapping[str, Json] = {}
        self.is_known = False
        self.policy: Mapping[str, Json] = {}
        self._learn("run", run_config)

    # --- learning ----------------------------------------------------------------

    def learn(self, scope: str, values: Mapping[str, object]) -> None:
        """Take in what an app shows of its settings.

        Args:
            scope: One of ``SCOPES``; others are ignored.
            values: Its values by key; what is no single value is left out.
        """
        if scope in self._known:
            self._learn(scope, values)
            self.is_known = self.is_known or scope != "strategy"

    def _learn(self, scope: str, values: Mapping[str, object]) -> None:
        found = {
            python_name(key): value
            for key, value in values.items()
            if isinstance(value, bool | int | float | str)
            and key not in _NOT_SETTINGS
            and not key.endswith(_NAMES_OF_RECORDS)
        }
        with self._lock:
            self._known[scope] = {**found, **self._laid_over(scope, found)}

    def tell(self, server_round: int) -> None:
        """Record the settings in force, if they changed since the last time."""
        with self._lock:
            now: dict[str, Json] = {scope: {**self._known[scope]} for scope in SCOPES}
            now["excluded"] = list(self._excluded)
            if self.policy:
                now["policy"] = {**self.policy}
            if now == self._told:
                return
            self._told = now
        self._emit(EventKind.SETTINGS, now, server_round=server_round)

    # --- setting -----------------------------------------------------------------

    def check(self, values: Mapping[str, Value]) -> None:
        """Refuse names that no scope has, and values of another type.

        Raises:
            CommandRefusedError: If one of the values cannot be set.
        """
        for name, value in values.items():
            now = self._values_of(name)
            if not now:
                raise CommandRefusedError(
                    f"This run knows no setting {name!r}.", fix=nearest(name, self.names())
                )
            for known in now:
                _coerced(name, value, known)

    def has(self, names: Iterable[str]) -> bool:
        """Whether all of these are known, though the app may not have shown everything."""
        return all(self._values_of(name) for name in names)

    def names(self) -> list[str]:
        """List the settings."""
        with self._lock:
            return sorted({name for known in self._known.values() for name in known})

    def _values_of(self, name: str) -> list[Value]:
        scopes, key = _split(name)
        with self._lock:
            return [self._known[s][key] for s in scopes if key in self._known[s]]

    def put_in_force(
        self, values: Mapping[str, Value], excluded: Iterable[int]
    ) -> dict[str, Value]:
        """Let these values hold from now on.

        Args:
            values: All that was set so far, by name.
            excluded: The partitions that are left out.

        Returns:
            The values of the run configuration that clients see from now on, where they
            differ from those that the run began with.
        """
        with self._lock:
            self._set = dict(values)
            self._excluded = sorted(excluded)
            for scope, known in self._known.items():
                known.update(self._laid_over(scope, known))
            return {
                key: self._known["run"][python_name(key)]
                for key, value in self._run_config.items()
                if self._known["run"].get(python_name(key), value) != value
            }

    def _laid_over(self, scope: str, known: Mapping[str, Value]) -> dict[str, Value]:
        """Give what was set of a scope, in the types that the app uses."""
        found: dict[str, Value] = {}
        for name, value in self._set.items():
            scopes, key = _split(name)
            if scope in scopes and key in known:
                found[key] = _coerced(name, value, known[key])
        return found

    def lay_over(self, messages: list[Message]) -> list[Message]:
        """Give messages as they travel, with what was set in place of what the app wrote.

        Messages that share one content go on sharing one.
        """
        contents: dict[int, RecordDict] = {}
        for message in messages:
            if id(message.content) not in contents:
                contents[id(message.content)] = self._content(message)
        if all(contents[id(each.content)] is each.content for each in messages):
            return messages
        return [for_client(each, contents[id(each.content)]) for each in messages]

    def _content(self, message: Message) -> RecordDict:
        phase, records = phase_of(message), dict(message.content.items())
        configs = {n: r for n, r in records.items() if isinstance(r, ConfigRecord)}
        known = {key: value for each in configs.values() for key, value in each.items()}
        self.learn(phase, known)
        with self._lock:
            named = {python_name(key): cast("Value", v) for key, v in known.items()}
            over = self._laid_over(phase, named) if phase in SCOPES else {}
        if not over:
            return message.content
        for name, config in configs.items():
            values = {key: over.get(python_name(key), v) for key, v in config.items()}
            records[name] = ConfigRecord(values)
        return RecordDict(records)

    def set_on(self, strategy: object) -> None:
        """Set what was set of a strategy, and learn what it has now."""
        with self._lock:
            over = self._laid_over("strategy", self._known["strategy"])
        for name, value in over.items():
            setattr(strategy, name, value)
        self.learn("strategy", _attributes(strategy))

    def number(self, name: str) -> float:
        """Give a strategy's number, 0 if it has none of this name."""
        with self._lock:
            value = self._known["strategy"].get(name, 0)
        return value if isinstance(value, int | float) else 0


def _attributes(strategy: object) -> dict[str, object]:
    return {name: v for name, v in vars(strategy).items() if not name.startswith("_")}


def _split(name: str) -> tuple[tuple[str, ...], str]:
    """Tell the scopes that a name means, and the name within them."""
    scope, dot, key = name.partition(".")
    if dot and scope in SCOPES:
        return (scope,), python_name(key)
    return SCOPES, python_name(name)


def _coerced(name: str, value: Value, known: Value) -> Value:
    """Give a value in the type that the app uses.

    Raises:
        CommandRefusedError: If it has another one.
    """
    if type(value) is type(known):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and type(known) is float:
        return float(value)
    if is_number and type(known) is int and float(value).is_integer():
        return int(value)
    raise CommandRefusedError(
        f"The setting {name!r} is {known!r}, and {value!r} is no {type(known).__name__}.",
        fix=f"Give it as {type(known).__name__}, such as {known!r}.",
    )
