"""The labels that a model gives to images, batch by batch."""

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from robustkit.checks import check_held, check_images, check_logits, check_model, run_model
from robustkit.data import as_float
from robustkit.errors import InputError


def predict(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    *,
    batch_size: int = 512,
    unit_range: bool = True,
) -> Int[Tensor, " n"]:
    """Return the labels `(N,)` that `model` gives to images `(N, *shape)`, on their device.

    Images are uint8 in 0 to 255 or floating point in [0, 1], with `unit_range=False` of any finite
    range; each batch goes to the device of the model. Raises `InputError` for other images, a model
    in training mode, or NaN logits.
    """
    return labels_and_classes(model, images, batch_size, unit_range)[0]


@torch.no_grad()
def labels_and_classes(
    model: nn.Module, images: Shaped[Tensor, "..."], batch_size: int, unit_range: bool
) -> tuple[Int[Tensor, " n"], int]:
    """Return the labels of `predict`, and how many classes the model has logits for."""
    check_model(model)
    check_images(images, unit_range=unit_range, levels=True)
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}.")
    device = next((parameter.device for parameter in model.parameters()), images.device)
    if device.type != "meta":
        check_held("images", images)
    # Such a model would have to find the levels of floating point images again.
    levels = getattr(model, "takes_levels", False)
    labels, not_a_number, classes = [], torch.zeros((), dtype=torch.bool, device=device), 0
    for batch in images.split(batch_size):
        batch = batch.to(device)
        logits = run_model(model, batch if levels else as_float(batch))
        check_logits(logits, len(batch))
        check_held("the logits of the model", logits)
        not_a_number |= logits.isnan().any()
        classes = logits.shape[1]
        labels.append(logits.argmax(dim=1))
    if not_a_number:
        raise InputError("the model returns NaN; check its weights and the range of its input.")
    return torch.cat(labels).to(images.device), classes
