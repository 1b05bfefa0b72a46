"""Finds the chain of layers in a model, whether it is a Sequential or has a forward.

``torch.fx`` runs ``forward`` once on a stand-in and writes down what is called. A model
is a chain if every step takes the result of the one before and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import dropwhile
from typing import TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from flip_lab.fl.vectorised_bottom import BottomLinear
from flip_lab.fl.vectorised_descent import StackedParameter
from flip_lab.fl.vectorised_layers import (
    Function,
    ImageLayers,
    NotStackableError,
    Slope,
    StackedFlattening,
    StackedFunction,
    StackedLayer,
    StackedLinear,
    log_softmax_slope,
    relu_slope,
    sigmoid_slope,
    tanh_slope,
)

Chain: TypeAlias = tuple[tuple[str, nn.Module], ...]
"""The layers of a model in order, each with its name in ``state_dict()``."""
Owned: TypeAlias = tuple[nn.Module, list[StackedParameter]]
"""A layer with the clients' parameters of it."""

_AS_LAYER: Mapping[object, Callable[..., nn.Module]] = {
    functional.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
    torch.tanh: nn.Tanh,
    "tanh": nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    "sigmoid": nn.Sigmoid,
    torch.flatten: nn.Flatten,
    "flatten": nn.Flatten,
    functional.max_pool2d: nn.MaxPool2d,
    functional.log_softmax: nn.LogSoftmax,
    torch.log_softmax: nn.LogSoftmax,
    "log_softmax": nn.LogSoftmax,
}
_RESHAPES = ("view", "reshape")  # x.view(-1, 400) flattens what has 400 numbers


_ON_IMAGES = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_FUNCTIONS: Mapping[type[nn.Module], tuple[Function, Slope]] = {
    nn.ReLU: (torch.relu, relu_slope),
    nn.Tanh: (torch.tanh, tanh_slope),
    nn.Sigmoid: (torch.sigmoid, sigmoid_slope),
}


def has_free_parameters_only(model: nn.Module) -> bool:
    """Say whether all of a model's state is trained, each parameter for itself."""
    free = [name for name, each in model.named_parameters() if each.requires_grad]
    return free == list(model.state_dict())


def chain_of(model: nn.Module) -> Chain:
    """Find the layers of a model.

    Raises:
        NotStackableError: If it is no chain of layers, or has buffers, or parameters that
            are tied or fixed.
    """
    if not has_free_parameters_only(model):
        raise NotStackableError
    try:
        nodes = list(fx.symbolic_trace(model).graph.nodes)
    except Exception as error:  # a forward may do anything with what it is given
        raise NotStackableError from error
    inner, last = nodes[1:-1], nodes[0]
    for node in [*inner, nodes[-1]]:
        if node.all_input_nodes != [last] or len(last.users) != 1:
            raise NotStackableError
        last = node
    return tuple((str(node.target), _layer(model, node)) for node in inner)


def _layer(model: nn.Module, node: fx.Node) -> nn.Module:
    """Give the layer that a step of ``forward`` amounts to."""
    if node.op == "call_module":
        return model.get_submodule(str(node.target))
    arguments = node.args[1:]
    options = {key: value for key, value in node.kwargs.items() if value is not None}
    options.pop("_stacklevel", None)  # for torch's warnings
    if node.target in _RESHAPES and len(arguments) == 2 and arguments[0] == -1:  # noqa: PLR2004  # rows, columns
        return nn.Flatten()
    make = _AS_LAYER.get(node.target)
    if make is None:
        raise NotStackableError
    try:
        return make(*arguments, **options)
    except TypeError as error:  # an option that the layer does not have
        raise NotStackableError from error


def stack_layers(
    chain: Chain, parameters: Mapping[str, StackedParameter]
) -> list[StackedLayer]:
    """Give the layers of a chain for many clients.

    Args:
        chain: The layers of one client.
        parameters: The clients' parameters, by their names in ``state_dict()``.

    Raises:
        NotStackableError: If a layer is not known here.
    """
    owned = [
        (layer, [parameters[f"{name}.{key}"] for key, _ in layer.named_parameters()])
        for name, layer in chain
    ]
    last_image = max(
        (place for place, (layer, _) in enumerate(owned) if type(layer) in _ON_IMAGES),
        default=-1,
    )
    bottom, rest = owned[: last_image + 1], owned[last_image + 1 :]
    if not all(type(layer) in {*_ON_IMAGES, *_FUNCTIONS} for layer, _ in bottom):
        raise NotStackableError
    if any(getattr(layer, "padding_mode", "zeros") != "zeros" for layer, _ in bottom):
        raise NotStackableError
    if bottom:
        return [ImageLayers(bottom), *(_stacked(layer, own) for layer, own in rest)]
    return _on_examples(rest)


def _on_examples(owned: list[Owned]) -> list[StackedLayer]:
    """Stack layers of which a linear one may be the first to do anything."""
    stacked = [_stacked(layer, own) for layer, own in owned]
    above = list(dropwhile(lambda each: isinstance(each, StackedFlattening), stacked))
    num_flat = len(stacked) - len(above)
    if above and isinstance(above[0], StackedLinear):
        return [BottomLinear(*owned[num_flat][1], flattens=num_flat > 0), *above[1:]]
    return stacked


def _stacked(layer: nn.Module, own: list[StackedParameter]) -> StackedLayer:
    """Give one layer for many clients; a subclass of it may do something else."""
    if type(layer) is nn.Linear:
        return StackedLinear(*own)
    if type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
        return StackedFlattening()
    if type(layer) is nn.LogSoftmax and layer.dim in {1, -1}:
        return StackedFunction(_log_softmax, log_softmax_slope, of_vectors=True)
    if type(layer) in _FUNCTIONS:
        return StackedFunction(*_FUNCTIONS[type(layer)])
    raise NotStackableError


def _log_softmax(inputs: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(inputs, dim=-1)
