"""The training loop: plain PyTorch on a dataset that lives on the device."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robustkit.checks import check_images, check_labels, check_predictions
from robustkit.data import Dataset, as_float
from robustkit.data.dataset import check_dataset
from robustkit.errors import InputError
from robustkit.progress import progress
from robustkit.training.batches import Transform, own_randomness, subseed
from robustkit.training.checkpoints import Configuration, History, restore, save
from robustkit.training.epochs import Training
from robustkit.training.processes import Processes
from robustkit.training.schedules import Schedule, usual_peak
from robustkit.training.settings import (
    Adversarial,
    Precision,
    Settings,
    configuration,
    use_bfloat16,
)


@dataclass(frozen=True)
class TrainingResult:
    """What a training did: mean loss and training accuracy (a fraction) of each epoch, and speed.

    Both are of the images as trained on, batch by batch, while the weights change; with
    `consistency` the accuracy is that of the images before the transform. `seconds` covers all
    epochs, also those of earlier calls that a checkpoint continued.
    """

    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    epochs: int
    seconds: float
    images_per_second: float


def train(
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
    average: float | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    precision: Precision = "auto",
    channels_last: bool = True,
    on_epoch: Callable[[nn.Module, int], object] | None = None,
    processes: Processes | None = None,
) -> TrainingResult:
    """Train `model` in place by stochastic gradient descent, and leave it in eval mode.

    The whole dataset moves to the device of the model. 8-bit images reach the model in [0, 1],
    floating ones of any shape `(N, *shape)` as they are, after random crops with 4 reflected pixels
    and flips (`augment`, of 8-bit images), then `transform`, a function from float batches to
    batches of that shape, then the attack of `adversarial`.

    With `consistency` the loss is the cross-entropy of the images before the `transform`, plus
    `consistency` times the `robustkit.augment.jsd_loss` of those and two transformed views of each,
    which pass the network in one batch of three times the size (published weight: 12).

    With `average` the model ends with an exponential moving average of its weights and buffers over
    the steps, each of which keeps the fraction `average` of it: 0.98 looks back on some fifty.

    `learning_rate` is the peak of the `schedule`, reached at the fraction `peak_at` of the
    iterations (0.3 for "one-cycle", 2/5 for "triangular"); `clip` bounds the l2 norm of the
    gradient. Precision "auto" is bfloat16 autocast on a GPU and float32 elsewhere.

    All randomness follows from `seed`: on a CPU, with the same number of threads, two calls give
    the same weights bit for bit. The global generators are left as they were; dropout, and a
    transform that draws from them, see generators that are seeded anew each epoch.

    With `checkpoint`, the state is written there after each epoch, and a call with the same
    configuration continues from it to the weights of an uninterrupted run. A transform counts as
    the same when its name (its `repr`, for a module) is; it must keep no state between batches.

    `on_epoch` is called with the model, in eval mode, and the number of epochs done, before the
    first epoch and after each: to measure as it trains. It must leave the model as it is; an
    `average` takes its place at the end. A training that a checkpoint continues calls it for the
    epochs that are left.

    `processes` shares the training among several, each with its own call and its part of every
    batch: see `robustkit.training.distributed.Accelerated`.

    Raises `InputError` for impossible settings, data that the model cannot take, a model without
    trainable parameters, or a checkpoint of another configuration; `DataError` for a checkpoint
    that cannot be read or written; `RunError` when the loss is no longer finite.
    """
    processes = _checked_processes(processes, batch_size)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise InputError("no parameter asks for gradients; call model.requires_grad_(True) first.")
    device = processes.device(model)
    usual = usual_peak(schedule)
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        schedule=schedule,
        peak_at=usual if peak_at is None else peak_at,
        clip=clip,
        label_smoothing=label_smoothing,
        augment=augment,
        adversarial=adversarial,
        seed=seed,
        bfloat16=use_bfloat16(precision, device),
        channels_last=channels_last,
        consistency=consistency,
        average=average,
    )
    if consistency is not None and transform is None:
        raise InputError("consistency compares transformed views of an image; pass a transform.")
    model.to(device)
    images, labels = _on_device(dataset, model, device, augment)
    optimizer = torch.optim.SGD(
        parameters,
        lr=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=nesterov,
    )
    averaged = None
    if average is not None:
        averaged = AveragedModel(
            model, device=device, multi_avg_fn=get_ema_multi_avg_fn(average), use_buffers=True
        )
    # What a checkpoint holds of the network.
    weights = model if averaged is None else nn.ModuleList([model, averaged])
    made_by: Configuration = {}
    history = History()
    if checkpoint is not None:
        made_by = configuration(settings, model, dataset, transform)
        history = restore(checkpoint, made_by, weights, optimizer)
    if channels_last:
        weights.to(memory_format=torch.channels_last)
    joined = processes.joined(model)
    training = Training(
        *(model, joined, averaged, optimizer, images, labels, settings, transform, processes)
    )
    if on_epoch is not None and not history.losses:
        on_epoch(model, 0)
    try:
        with progress(epochs * len(images), "training") as bar:
            bar.disable = bar.disable or processes.rank > 0
            bar.update(len(history.losses) * len(images))
            for epoch in range(len(history.losses), epochs):
                started = time.perf_counter()
                purpose = f"epoch/{processes.rank}" if processes.rank else "epoch"
                with own_randomness(device, subseed(seed, purpose, epoch)):
                    loss, accuracy = training.epoch(epoch, bar.update)
                processes.agree(weights)
                history.losses.append(loss)
                history.accuracies.append(accuracy)
                history.seconds += time.perf_counter() - started
                bar.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.3f}")
                if checkpoint is not None and not processes.rank:
                    save(checkpoint, made_by, weights, optimizer, history)
                processes.wait()
                if on_epoch is not None:
                    model.eval()
                    on_epoch(model, epoch + 1)
        if averaged is not None:
            model.load_state_dict(averaged.module.state_dict())
    finally:
        model.eval()
    return TrainingResult(
        losses=tuple(history.losses),
        accuracies=tuple(history.accuracies),
        epochs=epochs,
        seconds=history.seconds,
        images_per_second=epochs * len(images) / history.seconds,
    )


def _checked_processes(processes: Processes | None, batch_size: int) -> Processes:
    if processes is None:
        return Processes()
    if not isinstance(processes, Processes):
        raise InputError(
            f"processes must be robustkit.training.distributed.Accelerated(), got {processes!r}."
        )
    if batch_size < processes.count:
        raise InputError(f"a batch of {batch_size} images has none for some of {processes.count}.")
    return processes


def _on_device(
    dataset: Dataset, model: nn.Module, device: torch.device, augment: bool
) -> tuple[Shaped[Tensor, "n *shape"], Int[Tensor, " n"]]:
    """Return the images and labels on `device`, if `model` can train on them; else `InputError`."""
    check_dataset(dataset)
    if len(dataset) == 0:
        raise InputError(f"{dataset!r} is empty.")
    images, labels = dataset.images.to(device), dataset.labels.to(device)
    model.eval()
    if images.is_floating_point():
        check_images(images, unit_range=False)
        if augment:
            raise InputError(
                f"{dataset!r} is floating point; random crops and flips are for 8-bit images. "
                "Train with augment=False, and pass a transform for other augmentation."
            )
    check_labels(labels, len(images), check_predictions(model, as_float(images[:1])))
    return images, labels
