"""A scenario: what to run, as frozen data. Names and numbers only, no live object.

Ranges stand beside the fields as ``annotated_types`` constraints; the border that reads
scenario files (``flip_lab.fl.scenarios``) enforces them and the launch form shows them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, TypeAlias, cast

from annotated_types import Ge, Gt, Le, MinLen

from flip_lab.core.errors import UnknownKeyError, nearest

Scalar: TypeAlias = bool | int | float | str
Options: TypeAlias = Mapping[str, Scalar | list[Scalar]]


def _no_options() -> dict[str, Scalar | list[Scalar]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Which data, and how it lies on the nodes.

    Attributes:
        dataset: Name in the data-set registry, such as ``"heart-disease"``.
        partitioner: Name in the partitioner registry, such as ``"dirichlet"``.
        num_partitions: Number of nodes, one partition each.
        test_fraction: Share of each partition kept for evaluation.
        options: Arguments of the partitioner, such as ``alpha``.
    """

    dataset: str
    partitioner: str = "iid"
    num_partitions: Annotated[int, Ge(1)]
    test_fraction: Annotated[float, Gt(0), Le(0.9)] = 0.2
    options: Options = field(default_factory=_no_options)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which model is trained.

    Attributes:
        name: Name in the model registry, such as ``"mlp"``.
        options: Arguments of the model, such as ``hidden``.
    """

    name: str = "logistic"
    options: Options = field(default_factory=_no_options)


@dataclass(frozen=True, kw_only=True)
class StrategySpec:
    """How the server aggregates.

    Attributes:
        name: Name in the strategy registry, such as ``"FedAvg"``.
        options: Arguments of the strategy, such as ``fraction_train``.
    """

    name: str = "FedAvg"
    options: Options = field(default_factory=_no_options)


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """How long the federation trains and what each client does in a round.

    Attributes:
        num_rounds: Rounds of training and evaluation.
        local_epochs: Passes over a client's own data in one round.
        batch_size: Examples in one step of gradient descent.
        learning_rate: Step size of plain SGD, no unit.
        momentum: Momentum of SGD, no unit, below 1.
        weight_decay: L2 penalty, no unit.
    """

    num_rounds: Annotated[int, Ge(1)] = 10
    local_epochs: Annotated[int, Ge(1)] = 1
    batch_size: Annotated[int, Ge(1)] = 32
    learning_rate: Annotated[float, Gt(0)] = 0.05
    momentum: Annotated[float, Ge(0), Le(0.999)] = 0.0
    weight_decay: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the scenario must show, so that a test can check it.

    Attributes:
        says: The expectation in one sentence, for people.
        metric: Federated evaluation metric of the last round, such as ``"eval_accuracy"``.
        at_least: A number; or ``"local_only"`` or ``"pooled"``, the mean over the nodes of
            a model trained without the federation; or ``"scenario:NAME"``, the same metric
            of another scenario.
        margin: How much better than ``at_least`` it must be, in the metric's unit; may be
            negative (a tolerance).
    """

    says: str
    metric: str = "eval_accuracy"
    at_least: float | str
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What to run: data, model, strategy, training and what it must show.

    Attributes:
        name: Short name, as in the file ``scenarios/<name>.toml``.
        title: One line for lists and figures.
        description: What a reader learns from it; Markdown.
        seed: Every random draw of a run derives from it.
        data: Which data, and how it lies on the nodes.
        model: Which model is trained.
        strategy: How the server aggregates.
        train: Rounds and local training.
        expect: What a run must show.
    """

    name: Annotated[str, MinLen(1)]
    title: str = ""
    description: str = ""
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    data: DataSpec
    model: ModelSpec = field(default_factory=ModelSpec)
    strategy: StrategySpec = field(default_factory=StrategySpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    expect: tuple[Expectation, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Hash of all that changes a run's numbers: 64 hexadecimal digits.

        Title, description and expectations do not count.
        """
        numbers = asdict(self)
        for prose in ("name", "title", "description", "expect"):
            del numbers[prose]
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()

    def override(self, changes: Mapping[str, Any]) -> Scenario:
        """Give a copy with some values changed.

        Args:
            changes: New values by dotted path (``train.num_rounds``,
                ``data.options.alpha``), by field name where only one part has it
                (``num_rounds``, ``dataset``) or by part for its name (``strategy``).

        Raises:
            UnknownKeyError: If a path names no field; the message names the nearest one.
        """
        scenario = self
        for key, value in changes.items():
            path = self.path(key)
            scenario = cast("Scenario", _put(scenario, path.split(".", 2), value))
        return scenario

    def paths(self) -> list[str]:
        """List the dotted path of every value; a table of options is one of them."""
        return _paths(self)

    def path(self, key: str) -> str:
        """Say what ``override`` takes a name for: give its dotted path.

        Raises:
            UnknownKeyError: If it names no field; the message names the nearest one.
        """
        paths = self.paths()
        for exact in (key, f"{key}.name"):
            if exact in paths:
                return exact
        matches = [path for path in paths if path.endswith(f".{key}")]
        if len(matches) == 1:
            return matches[0]
        head, _, option = key.partition(".options.")
        if option and f"{head}.options" in paths:
            return key
        raise UnknownKeyError(f"A scenario has no value {key!r}.", fix=nearest(key, paths))


def _paths(part: Any, prefix: str = "") -> list[str]:  # noqa: ANN401  # any spec
    """List the dotted path of every field below ``part``."""
    found: list[str] = []
    for item in fields(part):
        value = getattr(part, item.name)
        path = f"{prefix}{item.name}"
        found += _paths(value, f"{path}.") if is_dataclass(value) else [path]
    return found


def _put(part: Any, path: list[str], value: Any) -> Any:  # noqa: ANN401  # any spec
    """Give a copy of ``part`` with one value deep inside replaced."""
    head, *rest = path
    if isinstance(part, Mapping):
        return {**cast("Mapping[str, Any]", part), head: value}
    inner = _put(getattr(part, head), rest, value) if rest else value
    return replace(part, **{head: inner})
