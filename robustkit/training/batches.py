"""What happens to a batch before the network trains on it, and the randomness of an epoch."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.data import as_float
from robustkit.errors import InputError
from robustkit.training.augmentation import crop_and_flip
from robustkit.training.losses import VIEWS
from robustkit.training.settings import Settings

Transform = Callable[[Tensor], Tensor]


def prepare(
    model: nn.Module,
    images: Shaped[Tensor, "n *shape"],
    targets: Int[Tensor, " n"],
    indices: Int[Tensor, " n"],
    settings: Settings,
    transform: Transform | None,
    epoch: int,
) -> Float[Tensor, "inputs ..."]:
    """Augment, transform and attack the images at positions `indices` of the dataset.

    `images` are 8-bit, then the result is floating point in [0, 1], or floating point, taken as
    they are. With `settings.consistency` the result is the images before the transform, followed by
    two transformed views of them. An attack meets the model in eval mode and leaves it so.
    """
    if settings.augment:
        images = crop_and_flip(images, indices, seed=settings.seed, epoch=epoch)
    batch = as_float(images)
    if transform is not None:
        with torch.no_grad():
            if settings.consistency is None:
                batch = transform(batch)
            else:
                # A transform may work in place.
                views = [transform(batch.clone()) for _ in range(VIEWS - 1)]
                batch = torch.cat([batch, *views])
        if len(batch) != len(images) * (1 if settings.consistency is None else VIEWS):
            raise InputError(
                f"the transform made {len(batch)} images of {len(images)}; it must keep their "
                "number."
            )
    if settings.adversarial is not None:
        # Imported here, so that a run without attacks does not depend on their source files.
        from robustkit.attacks import pgd

        model.eval()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=settings.bfloat16):
            batch = pgd(
                model,
                batch,
                targets,
                norm=settings.adversarial.norm,
                radius=settings.adversarial.radius,
                steps=settings.adversarial.steps,
                step_size=settings.adversarial.step_size,
                random_start=True,
                bounds=settings.adversarial.bounds,
                projection=settings.adversarial.projection,
                early_stop=False,
                seed=subseed(settings.seed, "attack", epoch),
                indices=indices,
            ).adversarial
    if settings.channels_last and batch.ndim == 4:
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch


def subseed(seed: int, purpose: str, epoch: int) -> int:
    """Return a seed in [0, 2^63) for one purpose in one epoch, so that no two share numbers."""
    content = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(content[:8], "little") >> 1


@contextmanager
def own_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global generators inside the block, for dropout, and put them back after it."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
