"""The processes that share a training: where each is, and what passes between them."""

import torch
from torch import Tensor, nn


class Processes:
    """One process, which trains alone on the device of the network.

    The training loop asks it for all that several processes would do together; a subclass joins
    more of them.
    """

    count = 1
    rank = 0

    def device(self, model: nn.Module) -> torch.device:
        """Return the device that this process trains `model` on."""
        return next(model.parameters()).device

    def joined(self, model: nn.Module) -> nn.Module:
        """Return the model whose backward pass averages gradients over all processes."""
        return model

    def total(self, share: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return share

    def agree(self, model: nn.Module) -> None:
        """Give every process the buffers that the first one has."""

    def wait(self) -> None:
        """Return when every process has come here."""
