"""How far augmented images stay from corrupted ones, in the feature space of a network."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.arguments import check_count
from robustkit.checks import check_held, check_images, check_model, run_model
from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.shapes import precise


@torch.no_grad()
def minimum_distance(
    augmented: Shaped[Tensor, "..."], corrupted: Shaped[Tensor, "..."], *, chunk: int = 1024
) -> Float[Tensor, "..."]:
    """Return the minimal sample distance: from each corrupted feature to the nearest augmented one.

    - `augmented`: `(A, D)` and `corrupted`: `(C, D)`, features in rows, neither zero nor infinite;
      the result is `(C,)`, cosine distances: one minus the largest cosine, in [0, 2]. With leading
      axes, the same in both, `(..., A, D)` and `(..., C, D)`, each group is compared within itself:
      the augmented and the corrupted versions of one image, say, then averaged over images.
    - `chunk`: most rows of either that are compared at a time, over all groups.

    Rows may be features of images, or their means over images, one a transform. Raises `InputError`
    for other shapes, zero and infinite features.

    Source: Mintun, Kirillov and Xie, On interaction between augmentations and corruptions in
    natural corruption robustness, NeurIPS 2021, who call it minimal sample distance, there with
    means over images and the Euclidean norm.
    """
    check_count("chunk", chunk, 1)
    if (
        min(augmented.ndim, corrupted.ndim) < 2
        or augmented.shape[:-2] != corrupted.shape[:-2]
        or augmented.shape[-1] != corrupted.shape[-1]
    ):
        raise InputError(
            "features must be (..., A, D) and (..., C, D) with the same leading axes and D, got "
            f"{tuple(augmented.shape)} and {tuple(corrupted.shape)}."
        )
    if augmented.device != corrupted.device:
        raise InputError(
            f"the features are on {augmented.device} and {corrupted.device}; move them to one."
        )
    references, queries = _directions(augmented), _directions(corrupted)
    dtype = torch.promote_types(references.dtype, queries.dtype)
    references, queries = references.to(dtype), queries.to(dtype)
    nearest = [_nearest(references, part, chunk) for part in queries.split(chunk, dim=1)]
    return torch.cat(nearest, dim=1).reshape(corrupted.shape[:-1])


def _directions(features: Shaped[Tensor, "..."]) -> Float[Tensor, "g m d"]:
    if not features.is_floating_point() or 0 in features.shape:
        raise InputError(
            f"features must be floating point and not empty, got {features.dtype} of shape "
            f"{tuple(features.shape)}."
        )
    check_held("features", features)
    groups = features.detach().flatten(0, -3) if features.ndim > 2 else features.detach()[None]
    groups = groups.to(precise(groups))
    lengths = groups.norm(dim=-1, keepdim=True)
    if not bool(((lengths > 0) & lengths.isfinite()).all()):
        raise InputError("a feature is zero, NaN or infinite and has no direction; leave it out.")
    directions: Tensor = groups / lengths
    return directions


def _nearest(
    references: Float[Tensor, "g a d"], queries: Float[Tensor, "g c d"], chunk: int
) -> Float[Tensor, "g c"]:
    best = torch.full(queries.shape[:2], 4.0, dtype=queries.dtype, device=queries.device)
    for part in references.split(chunk, dim=1):
        place = (queries @ part.mT).argmax(dim=2)
        found = part.gather(1, place[:, :, None].expand_as(queries))
        # Half the squared distance of unit vectors: of equal ones exactly zero, unlike 1 - cos.
        best = torch.minimum(best, (queries - found).square().sum(dim=2) / 2)
    return best


@torch.no_grad()
def penultimate_features(
    model: nn.Module, images: Shaped[Tensor, "..."], *, batch_size: int = 512
) -> Float[Tensor, "n d"]:
    """Return what enters the last `nn.Linear` that the model applies, `(N, D)`, for N images.

    `images` are `(N, *shape)`, uint8 or floating point in [0, 1]; each batch goes to the device of
    the model, the features to that of the images. Raises `InputError` for other images, a model in
    training mode, and one without such a layer or with another axis in its input.
    """
    check_model(model)
    check_count("batch_size", batch_size, 1)
    check_images(images, levels=True)
    device = next((parameter.device for parameter in model.parameters()), images.device)
    entered: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    features = []
    try:
        for batch in images.split(batch_size):
            entered.clear()
            run_model(model, as_float(batch.to(device)))
            if not entered or entered[-1].shape[:-1] != (len(batch),):
                raise InputError(
                    "the model does not apply an nn.Linear to features (N, D) at its end; take the "
                    "features with a hook of your own."
                )
            check_held("the features of the model", entered[-1])
            features.append(entered[-1].detach().to(images.device))
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat(features)
