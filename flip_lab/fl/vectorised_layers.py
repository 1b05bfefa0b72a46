"""Layers of many clients at once, with their gradients worked out by hand.

For small models most of the time goes into calling operations, not into computing. Here
one batched matrix product serves all clients, the gradient of a linear layer is subtracted
where the weights are, and the first step multiplies with the weights that all clients
still share.

Every tensor begins with ``(num_clients, batch, …)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol, TypeAlias

import torch
from torch import nn

from flip_lab.fl.vectorised_descent import StackedParameter

Function: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
Slope: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Gives the gradient of a function's inputs from that of its outputs and its outputs."""

VECTORS = 3
"""Dimensions where examples are vectors: client, example, feature."""


class NotStackableError(Exception):
    """The model is no chain of layers that are known here; another way must do."""


class StackedLayer(Protocol):
    """One layer of many clients.

    Attributes:
        has_parameters: Whether it learns.
    """

    has_parameters: bool

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute the outputs, and remember what the gradient needs."""
        ...

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor:
        """Move the layer's parameters and give the gradient of its inputs.

        Args:
            gradient: The gradient of the outputs.
            through: Whether a layer below needs the gradient; if not, anything is given.
        """
        ...


class StackedLinear:
    """A linear layer over vectors; two batched products for a gradient step.

    Args:
        weight: Shape ``(num_outputs, num_inputs)`` for each client.
        bias: Shape ``(num_outputs,)`` for each client; ``None`` if there is none.
    """

    has_parameters = True

    def __init__(
        self, weight: StackedParameter, bias: StackedParameter | None = None
    ) -> None:
        """Take the parameters of all clients."""
        self._weight, self._bias = weight, bias
        self._inputs = weight.start

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply each client's inputs with its weights."""
        if inputs.dim() != VECTORS:
            raise NotStackableError
        self._inputs = inputs
        if self._weight.is_shared:
            return self._forward_shared(inputs)
        turned = self._weight.of(len(inputs)).transpose(1, 2)
        if self._bias is None:
            return torch.bmm(inputs, turned)
        return torch.baddbmm(self._bias.of(len(inputs)).unsqueeze(1), inputs, turned)

    def _forward_shared(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply with what all clients share, in one product for all of them."""
        outputs = nn.functional.linear(inputs, self._weight.start)
        return self._with_bias(outputs)

    def _with_bias(self, outputs: torch.Tensor) -> torch.Tensor:
        if self._bias is None:
            return outputs
        return outputs.add_(self._bias.of(len(outputs)).unsqueeze(1))

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor:
        """Move weights and biases."""
        weight, below = self._weight, gradient
        if through and weight.is_shared:
            below = torch.matmul(gradient, weight.start)
        elif through:
            below = torch.bmm(gradient, weight.of(len(gradient)))
        weight.descend((gradient.transpose(1, 2), self._inputs))
        self._move_bias(gradient)
        return below

    def _move_bias(self, gradient: torch.Tensor) -> None:
        if self._bias is not None:
            self._bias.descend(gradient.sum(1))


class ImageLayers:
    """The layers on images, at the bottom of a model: each client's own, one by one.

    A grouped convolution gains little and rounds otherwise, and what one client computes
    fits into the cache. Pooling runs with the channels last in memory: that is ten times
    faster and picks the same numbers.

    Args:
        layers: Layers in order, each with its clients' parameters.
    """

    has_parameters = True

    def __init__(self, layers: Sequence[tuple[nn.Module, list[StackedParameter]]]) -> None:
        """Take layers and parameters of all clients."""
        self._layers = [layer for layer, _ in layers]
        self._counts = [len(parameters) for _, parameters in layers]
        self._parameters = [each for _, parameters in layers for each in parameters]
        self._leaves: list[torch.Tensor] = []
        self._outputs = torch.empty(0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute client by client."""
        values = (each.of(len(inputs)) for each in self._parameters)
        self._leaves = [value.detach().requires_grad_() for value in values]
        with torch.enable_grad():
            own = zip(*(leaf.unbind() for leaf in self._leaves), strict=True)
            outputs = [self._one(*each) for each in zip(inputs.unbind(), own, strict=True)]
            self._outputs = torch.stack(outputs)
        return self._outputs.detach()

    def _one(
        self, values: torch.Tensor, parameters: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        left = iter(parameters)
        for layer, count in zip(self._layers, self._counts, strict=True):
            own = tuple(islice(left, count))
            if isinstance(layer, nn.Conv2d):
                values = _convolve(layer, values, *own)
            else:
                values = layer(values.contiguous(memory_format=torch.channels_last))
        return values

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor:
        """Move weights and biases; there is never a layer with weights below."""
        del through
        gradients = torch.autograd.grad(self._outputs, self._leaves, gradient)
        for parameter, own in zip(self._parameters, gradients, strict=True):
            parameter.descend(own)
        return gradient


def _convolve(
    layer: nn.Conv2d,
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    return nn.functional.conv2d(
        inputs,
        weight,
        bias,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
    )


class StackedFlattening:
    """Every example as one vector."""

    has_parameters = False

    def __init__(self) -> None:
        """Remember the shape of the inputs from step to step."""
        self._shape = torch.Size()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Flatten what comes after client and example."""
        self._shape = inputs.shape
        return inputs.flatten(2)

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor:
        """Give the gradient the shape of the inputs."""
        return gradient.reshape(self._shape) if through else gradient


class StackedFunction:
    """A function without parameters whose slope is known from its value.

    Args:
        function: Of all inputs at once.
        slope: Gives the gradient of the inputs.
        of_vectors: Whether it takes vectors only.
    """

    has_parameters = False

    def __init__(
        self,
        function: Function,
        slope: Slope,
        *,
        of_vectors: bool = False,
    ) -> None:
        """Take the function."""
        self._function, self._slope, self._of_vectors = function, slope, of_vectors
        self._outputs = torch.empty(0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute the outputs."""
        if self._of_vectors and inputs.dim() != VECTORS:
            raise NotStackableError
        self._outputs = self._function(inputs)
        return self._outputs

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor:
        """Multiply with the slope."""
        return self._slope(gradient, self._outputs) if through else gradient


def relu_slope(gradient: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Give the gradient below ``relu``: zero where the output is zero."""
    return gradient * outputs.sign()  # masks are slow


def tanh_slope(gradient: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Give the gradient below ``tanh``."""
    return gradient * (1 - outputs * outputs)


def sigmoid_slope(gradient: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Give the gradient below ``sigmoid``."""
    return gradient * (outputs * (1 - outputs))


def log_softmax_slope(gradient: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Give the gradient below ``log_softmax`` over the last dimension."""
    return gradient - outputs.exp() * gradient.sum(-1, keepdim=True)
