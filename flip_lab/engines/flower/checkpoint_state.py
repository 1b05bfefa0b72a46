"""What a server loop remembers between two rounds, written down and put back.

A strategy's state is the data among its attributes; functions and the like stay those of
the new process, whose app built them again. Python objects are pickled: such a file is as
trustworthy as the lab's own directory, where it never leaves, and holds no object that a
client made (what clients send are Flower's records: numbers, texts and bytes).
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from io import BytesIO
from pickle import PickleBuffer
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
import xxhash
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import Result, Strategy

from flip_lab.core.errors import CorruptArtifactError, StrategyStateError
from flip_lab.engines.flower.watching import MARK

_TOOLS = (
    FunctionType,
    BuiltinFunctionType,
    MethodType,
    ModuleType,
    partial,
    type,
)
_MODEL = "model"
_FIX = "An older checkpoint is taken in its place."

Attributes: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class LoopState:
    """What a call of ``Strategy.start`` holds between two rounds.

    Attributes:
        strategy: The strategy.
        result: The model and the metrics so far.
        train_config: What the clients are told in training; strategies may change it.
        evaluate_config: What they are told in evaluation.
    """

    strategy: Strategy
    result: Result
    train_config: ConfigRecord
    evaluate_config: ConfigRecord


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A loop's state as bytes.

    Attributes:
        content: The pickle.
        buffers: The arrays that it refers to, without a copy: to be written before the
            loop goes on.
        left_out: Attributes that cannot be pickled; they stay those of the new process.
    """

    content: bytes
    buffers: list[PickleBuffer]
    left_out: list[str]


class LoopMemory:
    """Writes down the state of one loop, and puts it back.

    Args:
        state: The loop before its first round, as the app built it.
    """

    def __init__(self, state: LoopState) -> None:
        """Note how everything was at the beginning: what a fork changes differs from it."""
        self._state = state
        self._left_out: list[str] = []
        self._base = {
            path: {name: self._digest(value) for name, value in _data_of(each).items()}
            for path, each in _family(state.strategy)
        }
        self._base_configs = [dict(config) for config in self._configs()]

    def _configs(self) -> tuple[ConfigRecord, ConfigRecord]:
        return self._state.train_config, self._state.evaluate_config

    def _digest(self, value: object) -> str | None:
        """Give a hash of a value as it was at the beginning; ``None`` if it has none."""
        try:
            content, buffers = _pickled(value, self._state)
        except Exception:  # noqa: BLE001  # foreign objects may raise anything
            return None
        hashed = xxhash.xxh3_128(content)
        for buffer in buffers:
            hashed.update(buffer.raw())
        return hashed.hexdigest()

    def freeze(self, *, with_model: bool) -> Frozen:
        """Write down the loop as it is now.

        Args:
            with_model: Whether the model's values are to be among it.

        Returns:
            The bytes, valid until the loop goes on.

        Raises:
            StrategyStateError: If something cannot be pickled that was not found before.
        """
        try:
            content, buffers = self._pickle(with_model=with_model)
        except Exception:  # noqa: BLE001  # foreign objects may raise anything
            self._left_out = self._unpicklable()
            content, buffers = self._pickle_the_rest(with_model=with_model)
        return Frozen(content=content, buffers=buffers, left_out=self._left_out)

    def _pickle_the_rest(self, *, with_model: bool) -> tuple[bytes, list[PickleBuffer]]:
        try:
            return self._pickle(with_model=with_model)
        except Exception as error:
            raise StrategyStateError(
                f"The state of {_kind(self._state.strategy)} cannot be kept: {error!r}.",
                fix="Keep numbers, texts, lists, arrays and NumPy generators in a "
                "strategy's attributes.",
            ) from error

    def _pickle(self, *, with_model: bool) -> tuple[bytes, list[PickleBuffer]]:
        state = self._state
        whole = {
            "kinds": {path: _kind(each) for path, each in _family(state.strategy)},
            "attributes": {
                path: self._kept(each, path) for path, each in _family(state.strategy)
            },
            "configs": [dict(config) for config in self._configs()],
            "base": self._base,
            "base_configs": self._base_configs,
            "generators": _generators(),
            _MODEL: state.result.arrays if with_model else None,
        }
        return _pickled(whole, state, names_model=not with_model)

    def _kept(self, strategy: Strategy, path: str) -> Attributes:
        data = _data_of(strategy)
        return {
            name: value
            for name, value in data.items()
            if _dotted(path, name) not in self._left_out
        }

    def _unpicklable(self) -> list[str]:
        return [
            _dotted(path, name)
            for path, each in _family(self._state.strategy)
            for name, value in _data_of(each).items()
            if self._digest(value) is None
        ]

    def thaw(self, frozen: Frozen, model: ArrayRecord | None, *, is_fork: bool) -> None:
        """Put the loop where it was when ``frozen`` was made.

        Args:
            frozen: What ``freeze`` gave, in this process or in another.
            model: The model's arrays; ``None`` when they are among what was frozen.
            is_fork: Whether the app may differ. What the fork's author changed stays
                changed: a value is put back only if the app builds it as before.

        Raises:
            CorruptArtifactError: If the bytes cannot be read.
            StrategyStateError: If the app starts another strategy, and is no fork.
        """
        result = self._state.result
        whole = _unpickled(frozen, model, dict(_family(self._state.strategy)))
        result.arrays = whole[_MODEL] if model is None else model
        for path, each in _family(self._state.strategy):
            if whole["kinds"].get(path) == _kind(each):
                base = whole["base"].get(path, {}) if is_fork else None
                self._put_back(each, path, whole["attributes"][path], base)
            elif not is_fork:
                raise StrategyStateError(
                    f"The checkpoint holds the state of {whole['kinds'].get(path)}, and "
                    f"the ServerApp now starts {_kind(each)}.",
                    fix="Resume with the app that the run was launched from, or fork: a "
                    "fork may change its strategy.",
                )
        bases = whole["base_configs"]
        for config, then, base in zip(
            self._configs(), whole["configs"], bases, strict=True
        ):
            _put_back_config(config, then, base if is_fork else None)
        _set_generators(whole["generators"])

    def _put_back(
        self,
        strategy: Strategy,
        path: str,
        then: Attributes,
        base: Mapping[str, str | None] | None,
    ) -> None:
        ours = self._base.get(path, {})
        for name, value in then.items():
            unchanged = base is None or ours.get(name) == base.get(name)
            if unchanged:
                vars(strategy)[name] = value


def _put_back_config(
    config: ConfigRecord, then: Mapping[str, Any], base: Mapping[str, Any] | None
) -> None:
    if base is None:
        config.clear()
        config.update(then)
        return
    ours = dict(config)
    for name, value in then.items():
        if name not in base or ours.get(name) == base[name]:
            config[name] = value


def _family(strategy: Strategy, path: str = "") -> Iterator[tuple[str, Strategy]]:
    """Give a strategy and those that it wraps, each with the path to it."""
    yield path, strategy
    for name, value in vars(strategy).items():
        if isinstance(value, Strategy) and value is not strategy:
            yield from _family(value, _dotted(path, name))


def _dotted(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _data_of(strategy: Strategy) -> Attributes:
    """Give the attributes that are data: no functions, no wrapped strategies."""
    return {
        name: value
        for name, value in vars(strategy).items()
        if name != MARK and not isinstance(value, (*_TOOLS, Strategy))
    }


def _kind(strategy: Strategy) -> str:
    return f"{type(strategy).__module__}:{type(strategy).__qualname__}"


def _generators() -> tuple[Any, Any, Any]:
    numpy_ = np.random.get_state()  # noqa: NPY002  # what foreign code draws from
    return random.getstate(), numpy_, torch.get_rng_state().numpy()


def _set_generators(states: tuple[Any, Any, Any]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002  # as above
    torch.set_rng_state(torch.from_numpy(states[2].copy()))  # pyright: ignore[reportUnknownMemberType]  # untyped


def _pickled(
    value: object, state: LoopState, *, names_model: bool = False
) -> tuple[bytes, list[PickleBuffer]]:
    """Pickle; arrays stay outside, and strategies and the model are only named."""
    named: dict[int, tuple[str, str]] = {
        id(each): ("strategy", path) for path, each in _family(state.strategy)
    }
    if names_model:
        named[id(state.result.arrays)] = (_MODEL, "")
        named |= {id(each): (_MODEL, name) for name, each in state.result.arrays.items()}
    cloudpickle: Any = import_module("cloudpickle")  # classes of notebook cells, by value
    buffers: list[PickleBuffer] = []

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, thing: object) -> tuple[str, str] | None:
            return named.get(id(thing))

    stream = BytesIO()
    Pickler(stream, protocol=5, buffer_callback=buffers.append).dump(value)
    return stream.getvalue(), buffers


def _unpickled(
    frozen: Frozen, model: ArrayRecord | None, strategies: Mapping[str, Strategy]
) -> dict[str, Any]:
    class Unpickler(pickle.Unpickler):  # noqa: S301  # our own file, see above
        def persistent_load(
            self, pid: tuple[str, str]
        ) -> Strategy | ArrayRecord | Array | None:
            kind, name = pid
            if kind == "strategy":
                return strategies.get(name)  # a fork may wrap less
            assert model is not None  # noqa: S101  # only named when it is kept apart
            return model[name] if name else model

    try:
        return Unpickler(BytesIO(frozen.content), buffers=frozen.buffers).load()
    except Exception as error:
        raise CorruptArtifactError(
            f"A checkpoint's state cannot be read: {type(error).__name__}: {error}.",
            fix=_FIX,
        ) from error
