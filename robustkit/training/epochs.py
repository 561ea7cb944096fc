"""An epoch of training: its batches in order, and a step of the optimizer for each."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from robustkit.errors import RunError
from robustkit.training.batches import Transform, prepare, subseed
from robustkit.training.losses import batch_loss
from robustkit.training.processes import Processes
from robustkit.training.schedules import learning_rate_at
from robustkit.training.settings import Settings


@dataclass(frozen=True)
class Training:
    """A network, its data on the device, and how it trains on them.

    `joined` is `model` as several processes train it; `averaged` follows it, if anything does.
    """

    model: nn.Module
    joined: nn.Module
    averaged: AveragedModel | None
    optimizer: torch.optim.Optimizer
    images: Shaped[Tensor, "n *shape"]
    labels: Int[Tensor, " n"]
    settings: Settings
    transform: Transform | None
    processes: Processes

    def epoch(self, epoch: int, advance: Callable[[int], object]) -> tuple[float, float]:
        """Train for an epoch; return the mean loss and the accuracy."""
        settings, processes = self.settings, self.processes
        device, count = self.images.device, len(self.images)
        generator = torch.Generator().manual_seed(subseed(settings.seed, "order", epoch))
        order = torch.randperm(count, generator=generator).to(device)
        steps = math.ceil(count / settings.batch_size)
        # Sums stay on the device: reading them each batch would make a GPU wait.
        loss_sum = torch.zeros((), device=device)
        correct = torch.zeros((), device=device, dtype=torch.int64)
        for step, together in enumerate(order.split(settings.batch_size), start=epoch * steps):
            rate = learning_rate_at(
                step,
                settings.epochs * steps,
                settings.learning_rate,
                settings.schedule,
                settings.peak_at,
            )
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            own = together[processes.rank :: processes.count]
            # Of the last batch there may be no image left; all processes must take the step.
            indices = own if len(own) else together[:1]
            targets = self.labels[indices]
            batch = prepare(
                *(self.model, self.images[indices], targets, indices, settings),
                *(self.transform, epoch),
            )
            self.joined.train()
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
                loss, logits = batch_loss(self.joined, batch, targets, settings)
            self.optimizer.zero_grad()
            # Shares of one batch may differ by an image; gradients are averaged over processes.
            share = len(own) * processes.count / len(together)
            (loss if share == 1 else loss * share).backward()
            if settings.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip)
            self.optimizer.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
            loss_sum += loss.detach() * len(own)
            correct += (logits.detach().argmax(dim=1) == targets)[: len(own)].sum()
            advance(len(together))
        mean = float(processes.total(loss_sum)) / count
        if not math.isfinite(mean):
            raise RunError(
                f"the loss is {mean} in epoch {epoch + 1}; lower learning_rate, or set clip to "
                "bound the gradient."
            )
        return mean, int(processes.total(correct)) / count
