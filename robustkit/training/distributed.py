"""Training on several devices: the loop of `train`, each process on its share of every batch.

Processes, devices and the averaging of gradients are those of Accelerate, which starts the script:
`accelerate launch --num_processes 4 script.py`. Orders, schedules, augmentation, losses and
checkpoints are those of `train`.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.checks import check_images, check_labels, check_predictions
from robustkit.data import Dataset, as_float
from robustkit.errors import InputError, RunError
from robustkit.progress import progress
from robustkit.training.batches import Transform, own_randomness, prepare, subseed
from robustkit.training.checkpoints import History, restore, save
from robustkit.training.loop import TrainingResult
from robustkit.training.losses import batch_loss
from robustkit.training.schedules import Schedule, learning_rate_at, usual_peak
from robustkit.training.settings import (
    Adversarial,
    Precision,
    Settings,
    configuration,
    use_bfloat16,
)

if TYPE_CHECKING:
    from accelerate import Accelerator


def train_distributed(
    model: nn.Module,
    dataset: Dataset,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 128,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 5e-4,
    schedule: Schedule = "one-cycle",
    peak_at: float | None = None,
    clip: float | None = None,
    label_smoothing: float = 0.0,
    augment: bool = False,
    transform: Transform | None = None,
    adversarial: Adversarial | None = None,
    consistency: int | float | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    precision: Precision = "auto",
    channels_last: bool = True,
    synchronize: bool = True,
    cpu: bool = False,
) -> TrainingResult:
    """Train `model` in place as `train` does, in as many processes as Accelerate has started.

    Every process calls this with the same arguments, and has the trained model when it returns, on
    its own device: a GPU each, or the processor with `cpu`. Process r of n trains on the images r,
    r + n, ... of each batch, so that `batch_size` is that of all processes together, and the
    weights are those of `train` up to rounding; a single process gives them bit for bit. They are
    not where random numbers are not keyed per image: dropout, and a `transform` that draws from
    the global generators, see other numbers in each process.

    With `synchronize`, batch normalisation takes its statistics over the batches of all processes,
    which torch can do on GPUs only; without, over each process's own share.

    A `checkpoint` is written by the first process and read by all, on a file system that they
    share. It is one of `train`: either continues what the other began, in any number of processes.

    The other arguments and errors are those of `train`. Also raises `InputError` where Accelerate
    is not installed, for a batch smaller than the number of processes, and for batch normalisation
    that cannot be synchronised.
    """
    accelerator = _accelerator(cpu)
    device, processes = accelerator.device, accelerator.num_processes
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        schedule=schedule,
        peak_at=usual_peak(schedule) if peak_at is None else peak_at,
        clip=clip,
        label_smoothing=label_smoothing,
        augment=augment,
        adversarial=adversarial,
        seed=seed,
        bfloat16=use_bfloat16(precision, device),
        channels_last=channels_last,
        consistency=consistency,
    )
    model.to(device)
    images, labels = _checked(model, dataset, settings, transform, device)
    if batch_size < processes:
        raise InputError(f"a batch of {batch_size} images has none for some of {processes}.")
    optimizer = torch.optim.SGD(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )
    made_by = configuration(settings, model, dataset, transform) if checkpoint else {}
    history = restore(checkpoint, made_by, model, optimizer) if checkpoint else History()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    together = _together(model, accelerator, synchronize)
    try:
        with progress(epochs * len(images), "training") as bar:
            bar.disable = bar.disable or not accelerator.is_main_process
            bar.update(len(history.losses) * len(images))
            for epoch in range(len(history.losses), epochs):
                started = time.perf_counter()
                purpose = "epoch" + f"/{accelerator.process_index}" * accelerator.process_index
                with own_randomness(device, subseed(seed, purpose, epoch)):
                    loss, accuracy = _epoch(
                        *(accelerator, together, model, optimizer, images, labels, settings),
                        *(transform, epoch, bar.update),
                    )
                history.losses.append(loss)
                history.accuracies.append(accuracy)
                history.seconds += time.perf_counter() - started
                if checkpoint and accelerator.is_main_process:
                    save(checkpoint, made_by, model, optimizer, history)
                accelerator.wait_for_everyone()
    finally:
        model.eval()
    return TrainingResult(
        losses=tuple(history.losses),
        accuracies=tuple(history.accuracies),
        epochs=epochs,
        seconds=history.seconds,
        images_per_second=epochs * len(images) / history.seconds,
    )


def _accelerator(cpu: bool) -> "Accelerator":
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as error:
        raise InputError(
            "training in several processes needs Accelerate: pip install 'robustkit[scale]'."
        ) from error
    return Accelerator(cpu=cpu)


def _checked(
    model: nn.Module,
    dataset: Dataset,
    settings: Settings,
    transform: Transform | None,
    device: torch.device,
) -> tuple[Shaped[Tensor, "n *shape"], Int[Tensor, " n"]]:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError("no parameter asks for gradients; call model.requires_grad_(True) first.")
    if settings.consistency is not None and transform is None:
        raise InputError("consistency compares transformed views of an image; pass a transform.")
    if len(dataset) == 0:
        raise InputError(f"{dataset!r} is empty.")
    images, labels = dataset.images.to(device), dataset.labels.to(device)
    model.eval()
    if images.is_floating_point():
        check_images(images, unit_range=False)
        if settings.augment:
            raise InputError(
                f"{dataset!r} is floating point; random crops and flips are for 8-bit images. "
                "Train with augment=False, and pass a transform for other augmentation."
            )
    check_labels(labels, len(images), check_predictions(model, as_float(images[:1])))
    return images, labels


def _together(model: nn.Module, accelerator: "Accelerator", synchronize: bool) -> nn.Module:
    """Return the model whose backward pass averages gradients over processes."""
    if accelerator.num_processes == 1:
        return model
    normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    if synchronize and normalised:
        if accelerator.device.type != "cuda":
            raise InputError(
                "batch normalisation is synchronised between GPUs only; with synchronize=False "
                "each process takes statistics of its own share."
            )
        # The layers are replaced in place, and the names of the state stay.
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    together: nn.Module = accelerator.prepare_model(model)
    return together


def _epoch(
    accelerator: "Accelerator",
    together: nn.Module,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Shaped[Tensor, "n *shape"],
    labels: Int[Tensor, " n"],
    settings: Settings,
    transform: Transform | None,
    epoch: int,
    advance: Callable[[int], object],
) -> tuple[float, float]:
    device, count = images.device, len(images)
    rank, processes = accelerator.process_index, accelerator.num_processes
    generator = torch.Generator().manual_seed(subseed(settings.seed, "order", epoch))
    order = torch.randperm(count, generator=generator).to(device)
    steps = math.ceil(count / settings.batch_size)
    sums = torch.zeros(2, device=device, dtype=torch.float64)
    for step, batch_indices in enumerate(order.split(settings.batch_size), start=epoch * steps):
        plan = (step, settings.epochs * steps, settings.learning_rate, settings.schedule)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(*plan, settings.peak_at)
        own = batch_indices[rank::processes]
        # Of the last batch there may be no image left; all processes must take the step.
        indices = own if len(own) else batch_indices[:1]
        targets = labels[indices]
        batch = prepare(model, images[indices], targets, indices, settings, transform, epoch)
        together.train()
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16):
            loss, logits = batch_loss(together, batch, targets, settings)
        optimizer.zero_grad()
        # Shares of one batch may differ by an image; gradients are averaged over processes.
        share = len(own) * processes / len(batch_indices)
        (loss if share == 1 else loss * share).backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        if len(own):
            correct = (logits.detach().argmax(dim=1) == targets).sum()
            sums += torch.stack([loss.detach().double() * len(own), correct.double()])
        advance(len(batch_indices))
    mean, right = (accelerator.reduce(sums, "sum") / count).tolist()
    if not math.isfinite(mean):
        raise RunError(
            f"the loss is {mean} in epoch {epoch + 1}; lower learning_rate, or set clip to bound "
            "the gradient."
        )
    return mean, right
