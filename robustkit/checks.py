"""Checks at the door: what every public function asks of images, labels and models."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.errors import InputError, RobustkitError

# Only a view that repeats its values has as many; a copy would need terabytes.
_MOST_VALUES = 2**40


def check_held(name: str, values: Shaped[Tensor, "..."]) -> None:
    """Refuse a tensor on the meta device, and what `check_size` refuses; raises `InputError`.

    `name` is that of the argument. No value is looked at, so no device is waited for.
    """
    if values.device.type == "meta":
        raise InputError(
            f"{name}: the device 'meta' holds shapes and no values; make the tensor on 'cpu'."
        )
    check_size(name, values)


def check_size(name: str, values: Shaped[Tensor, "..."]) -> None:
    """Refuse a view of more values than memory holds; raises `InputError`."""
    if values.numel() > _MOST_VALUES:
        raise InputError(
            f"{name}: the shape {tuple(values.shape)} stands for {values.numel():.1e} values, more "
            "than memory holds; pass a part at a time."
        )


def check_device(device: str | torch.device) -> torch.device:
    """Return a device that tensors can be on here; raises `InputError` for any other."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"device {str(device)!r} cannot be used here ({reason}); use 'cpu'."
        ) from error


def run_model(model: nn.Module, images: Shaped[Tensor, "..."]) -> Tensor:
    """Return what a model makes of images.

    Raises `InputError` that says what the model was given where it fails, as a network of other
    channels, another dtype or another device does.
    """
    try:
        found: Tensor = model(images)
    except (RobustkitError, torch.OutOfMemoryError):
        raise
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"the model fails on images of shape {tuple(images.shape)}, {images.dtype}, on "
            f"{images.device}: {error}"
        ) from error
    return found


def check_images(
    images: Shaped[Tensor, "..."], *, unit_range: bool = True, levels: bool = False
) -> None:
    """Refuse anything but a non-empty, finite, floating batch `(N, ...)`, in [0, 1] if asked.

    Raises `InputError`. The range is not asked of geometry, which may leave the image box. With
    `levels` a non-empty batch of 8-bit levels (uint8) will do as well.
    """
    if images.ndim < 2:
        raise InputError(
            f"images must be a batch (N, C, H, W), got shape {tuple(images.shape)}; "
            "add a batch dimension with images.unsqueeze(0)."
        )
    if images.shape[0] == 0 or images.numel() == 0:
        raise InputError(f"the batch is empty: images have shape {tuple(images.shape)}.")
    if levels and images.dtype == torch.uint8:
        check_size("images", images)
        return
    if not images.is_floating_point():
        raise InputError(
            f"images must be floating point in [0, 1], got {images.dtype}; "
            "convert 8-bit images with robustkit.data.to_float(images)."
        )
    check_held("images", images)
    low, high = (float(value) for value in images.detach().aminmax())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        raise InputError("images contain NaN or infinite values; clean them first.")
    if unit_range and (low < 0 or high > 1):
        raise InputError(
            f"images must lie in [0, 1], got [{low:.4g}, {high:.4g}]. If they are normalised, undo "
            "it and put the normalisation inside the model: robustkit.models.Normalized(model, "
            "mean, std). If they are 0-255, divide by 255."
        )


def check_model(model: nn.Module) -> None:
    """Refuse a model with any module in training mode, where images of a batch interact.

    Raises `InputError`.
    """
    training = [name or type(model).__name__ for name, m in model.named_modules() if m.training]
    if training:
        raise InputError(
            f"the model is in training mode (module {training[0]!r}); call model.eval() first, or "
            "batch normalisation and dropout make the result of one image depend on the others."
        )


def check_logits(logits: Shaped[Tensor, "..."], count: int) -> None:
    """Refuse model outputs that are not `(count, K)` with K >= 2 classes; raises `InputError`."""
    if logits.ndim != 2 or logits.shape[0] != count:
        raise InputError(
            f"the model must map {count} images to logits ({count}, K), got {tuple(logits.shape)}."
        )
    if logits.shape[1] < 2:
        raise InputError(
            "the model has one output: a decision boundary needs at least two classes. Turn a "
            "binary score s into the logits torch.cat([-s, s], dim=1)."
        )


def check_labels(labels: Shaped[Tensor, "..."], count: int, classes: int) -> None:
    """Refuse labels that are not `count` integers in [0, classes); raises `InputError`."""
    if labels.shape != (count,):
        raise InputError(f"labels must have shape ({count},), got {tuple(labels.shape)}.")
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.is_complex():
        raise InputError(f"labels must be class indices (int64), got {labels.dtype}.")
    check_held("labels", labels)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise InputError(
            f"labels span [{low}, {high}] but the model has {classes} classes (0 to {classes - 1})."
        )


@torch.no_grad()
def check_predictions(
    model: nn.Module, images: Float[Tensor, "n *shape"], labels: Int[Tensor, " n"] | None = None
) -> int:
    """Check model, images and labels together and return the number of classes, from one image.

    Raises `InputError`.
    """
    check_model(model)
    logits = run_model(model, images[:1])
    check_logits(logits, 1)
    if labels is not None:
        check_labels(labels, len(images), logits.shape[1])
    return int(logits.shape[1])
