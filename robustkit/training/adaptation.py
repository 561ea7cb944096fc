"""Adaptation to unlabelled test images: batch normalisation with their statistics."""

import copy
import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.checks import check_images, run_model
from robustkit.data import as_float
from robustkit.errors import InputError

_LAYERS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@torch.no_grad()
def adapt_batch_norm(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    *,
    prior: int | float = 0,
    batch_size: int = 512,
    unit_range: bool = True,
) -> nn.Module:
    """Return a copy of `model`, in eval mode, that normalises with the statistics of test images.

    The running mean and variance of each layer of batch normalisation become N / (N + n) times the
    old ones plus n / (N + n) times those of the n `images`. The rest of the model stays, and no
    label is needed.

    - `images`: `(n, *shape)`, uint8, or floating point in [0, 1], with `unit_range=False` of any
      finite range. Each batch goes to the device of the model.
    - `prior`: N, how many images the statistics of training are worth, at least 0. With 0 those of
      the images replace them.
    - `batch_size`: most images in one pass. While a batch passes, each layer normalises it with its
      own mixture, as published, so that later layers are measured on adapted features; the
      statistics of all batches are pooled at the end.

    Raises `InputError` for a model without batch normalisation that keeps statistics, images that
    it cannot take, a prior that is negative or not finite, or a batch size below 1.

    Source: Schneider et al., Improving robustness against common corruptions by covariate shift
    adaptation, NeurIPS 2020, section 3.
    """
    if not 0 <= prior < math.inf:
        raise InputError(f"prior must be a finite number of images of at least 0, got {prior}.")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}.")
    check_images(images, unit_range=unit_range, levels=True)
    adapted = copy.deepcopy(model).eval()
    meters = [
        _Meter(layer, len(images) / (prior + len(images)))
        for layer in adapted.modules()
        if isinstance(layer, _LAYERS) and layer.running_mean is not None
    ]
    if not meters:
        raise InputError(
            "the model has no batch normalisation that keeps running statistics, so there is "
            "nothing to adapt; choose a network that has, such as models.build('resnet20')."
        )
    device = next((parameter.device for parameter in adapted.parameters()), images.device)
    hooks = [meter.layer.register_forward_pre_hook(meter.measure) for meter in meters]
    for batch in images.split(batch_size):
        run_model(adapted, as_float(batch.to(device)))
    for hook, meter in zip(hooks, meters, strict=True):
        hook.remove()
        meter.conclude()
    return adapted


class _Meter:
    """The statistics of what reaches one layer, pooled over batches in float64."""

    def __init__(self, layer: nn.Module, weight: float) -> None:
        self.layer, self.weight = layer, weight
        self.old_mean, self.old_variance = (
            self._running("mean").clone(),
            self._running("var").clone(),
        )
        self.count = 0
        self.sum = torch.zeros_like(self.old_mean, dtype=torch.float64)
        self.sum_of_squares = torch.zeros_like(self.sum)

    def measure(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Measure a batch on its way into the layer, and let the layer normalise it with that."""
        features = inputs[0].to(torch.promote_types(inputs[0].dtype, torch.float32))
        count = features.numel() // features.shape[1]
        others = [axis for axis in range(features.ndim) if axis != 1]
        found = torch.var_mean(features, dim=others, correction=0)
        variance, mean = (statistic.double() for statistic in found)
        self.count += count
        self.sum += count * mean
        self.sum_of_squares += count * (variance + mean.square())
        self._mix(mean, variance)

    def conclude(self) -> None:
        """Leave the statistics of all batches in the layer; the old ones where none came by."""
        if self.count:
            mean = self.sum / self.count
            self._mix(mean, self.sum_of_squares / self.count - mean.square())

    def _mix(self, mean: Float[Tensor, " channels"], variance: Float[Tensor, " channels"]) -> None:
        for name, old, new in (
            ("mean", self.old_mean, mean),
            ("var", self.old_variance, variance),
        ):
            mixed = (1 - self.weight) * old.double() + self.weight * new
            self._running(name).copy_(mixed)

    def _running(self, name: str) -> Tensor:
        return self.layer.get_buffer(f"running_{name}")
