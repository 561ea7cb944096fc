"""Random pixels at their bounds: what a sparse attack must beat to have found anything."""

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit import rng
from robustkit.arguments import keys_of
from robustkit.attacks.box import Bounds, Box
from robustkit.attacks.result import AttackResult
from robustkit.attacks.trial import Trial
from robustkit.errors import InputError
from robustkit.shapes import chunks


@torch.inference_mode(False)
@torch.no_grad()
def random_pixels(
    model: nn.Module,
    images: Shaped[Tensor, "..."],
    labels: Shaped[Tensor, "..."] | None = None,
    *,
    components: int | Shaped[Tensor, "..."],
    seed: int = 0,
    indices: Shaped[Tensor, "..."] | None = None,
    bounds: Bounds | None = (0.0, 1.0),
    chunk: int = 512,
) -> AttackResult:
    """Set random components of each channel to their lower or upper bound, and look once.

    - `images`: `(N, C, *shape)` with C channels, or `(N, d)` with one; floating point, within
      `bounds`.
    - `labels`: `(N,)`, the classes to attack away from; by default the model's own predictions. An
      image that the model already puts in another class is returned as it is, a success.
    - `components`: how many of each channel to set, a number or one an image, int64, from 0 to as
      many as there are. They are distinct; those at the drawn bound already do not change.
    - `seed` and `indices`: the draws of an image depend on the seed and the image's index, int64,
      by default its row, and on nothing else of the batch.
    - `bounds`: lower and upper bound of the pixels, numbers or tensors that broadcast to the batch;
      None is refused.
    - `chunk`: most images in one call of the network.

    Two forward passes an image, one of them at the clean one. Follows the images' device and dtype.
    Raises `InputError` for images, labels, components, bounds or a model that it cannot work with.

    Source: the baseline of Modas, Moosavi-Dezfooli and Frossard, SparseFool, CVPR 2019.
    """
    trial = Trial(model, images, labels, bounds, chunk)
    keys = keys_of(indices, images)
    counts = _counts(components, images)
    for rows in chunks(trial.standing, chunk):
        trial.adversarial[rows] = _sprinkled(
            images[rows], trial.box.at(rows), counts[rows], keys[rows], seed
        )
        trial.iterations[rows] = 1
    return trial.conclude()


def _sprinkled(
    images: Float[Tensor, "m *shape"],
    box: Box,
    counts: Int[Tensor, " m"],
    keys: Int[Tensor, " m"],
    seed: int,
) -> Float[Tensor, "m *shape"]:
    shape = tuple(_channels(images).shape[1:])
    draws = rng.uniform(seed, "random_pixels/places", keys, shape, torch.float64)
    # The order of uniform draws is a random permutation; its small entries stand at random places.
    chosen = (draws.argsort(dim=2) < counts[:, None, None]).reshape(images.shape)
    high = rng.uniform(seed, "random_pixels/bounds", keys, shape).reshape(images.shape) < 0.5
    return torch.where(chosen, torch.where(high, box.upper, box.lower), images)


def _channels(images: Tensor) -> Tensor:
    return images[:, None] if images.ndim == 2 else images.flatten(2)


def _counts(components: int | Tensor, images: Tensor) -> Tensor:
    counts = torch.as_tensor(components, device=images.device)
    room = _channels(images).shape[2]
    whole = counts.dtype == torch.int64 and counts.shape in ((), (len(images),))
    if not whole or bool(((counts < 0) | (counts > room)).any()):
        raise InputError(
            f"components must be a whole number from 0 to {room}, the size of a channel, or int64 "
            f"of shape ({len(images)},)."
        )
    return counts.expand(len(images))
