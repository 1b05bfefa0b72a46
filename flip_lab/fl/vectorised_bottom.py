"""The linear layer at the bottom of a model: all of its inputs are known beforehand.

So its outputs for the shared start are worked out for many steps in one product, and what
the steps add waits: a step's weights are the start plus the gradients so far, each times
the inputs it came from. A few rows of gradients are less than the weights they stand for;
those are written once, when the rows become too many or somebody asks.
"""

from __future__ import annotations

import torch
from torch import nn

from flip_lab.fl.vectorised_batches import Batch
from flip_lab.fl.vectorised_descent import StackedParameter
from flip_lab.fl.vectorised_layers import VECTORS, NotStackableError, StackedLinear


class BottomLinear(StackedLinear):
    """A linear layer over the examples themselves.

    Args:
        parameters: Weight and bias, if there is one; see ``StackedLinear``.
        flattens: Whether each example is made one vector first.
    """

    def __init__(self, *parameters: StackedParameter, flattens: bool) -> None:
        """Take the parameters of all clients."""
        super().__init__(*parameters)
        self._flattens = flattens
        self._window: torch.Tensor | None = None
        self._first, self._end = 0, 0  # of the step, in the window; 0 if it does not wait

    def forward_batch(self, batch: Batch) -> torch.Tensor:
        """Multiply each client's examples with its weights."""
        if self._may_wait(batch):
            return self._from_start(batch)
        features = batch.features
        return self.forward(features.flatten(2) if self._flattens else features)

    def _may_wait(self, batch: Batch) -> bool:
        """Say whether computing with what waits is less work than with the weights."""
        self._first, self._end = batch.first, 0
        width, num_outputs = batch.labels.shape[1], self._weight.start.shape[0]
        if self._window is None:
            if width > num_outputs or not self._weight.can_wait():
                return False
            self._prepare(batch.window, num_outputs // width * width)
        end = batch.first + width
        if batch.window is self._window and end <= self._gradients.shape[1]:
            self._end = end
        return self._end > 0

    def _prepare(self, window: torch.Tensor, num_rows: int) -> None:
        """Work out the outputs of the start for the examples whose gradients may wait."""
        examples = window[:, :num_rows]
        self._window = window
        self._examples = examples.flatten(2) if self._flattens else examples
        if self._examples.dim() != VECTORS:
            raise NotStackableError
        self._scores = nn.functional.linear(self._examples, self._weight.start)
        self._gradients = torch.zeros_like(self._scores)
        self._weight.wait((self._gradients.transpose(1, 2), self._examples))

    def _from_start(self, batch: Batch) -> torch.Tensor:
        """Add what the gradients so far do to this step's examples."""
        count, here = len(batch.labels), slice(self._first, self._end)
        outputs = self._scores[:count, here]
        if self._first:  # gradients so far count by how alike their examples are
            before = self._examples[:count, : self._first].transpose(1, 2)
            alike = torch.bmm(self._examples[:count, here], before)
            gradients = self._gradients[:count, : self._first]
            outputs = torch.baddbmm(outputs, alike, gradients)
        return self._with_bias(outputs)

    def backward(self, gradient: torch.Tensor, *, through: bool) -> torch.Tensor:
        """Move weights and biases."""
        if not self._end:
            return super().backward(gradient, through=through)
        place = self._gradients[: len(gradient), self._first : self._end]
        torch.mul(gradient, -self._weight.rate, out=place)
        self._move_bias(gradient)
        return gradient  # nothing is below
