"""PRIME: random filters, warps and tone curves, mixed; as a transform of batches."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.augment import presets
from robustkit.augment.mixing import MIXINGS, Mixture, mix, sample_mixture
from robustkit.augment.operation import check_augmentable
from robustkit.errors import InputError, unknown

_SAMPLINGS = ("image", "batch")
_SETTINGS = (
    *("width", "depth", "preset", "mixing"),
    *("sampling", "legacy", "certified", "primitives"),
)


class Prime(nn.Module):
    """Augment batches `(N, C, H, W)` in [0, 1] by mixtures of maximum-entropy transformations.

    - `width`: chains an image; `depth`: most operations of a chain; `mixing`: "code" or "paper",
      see `mix`.
    - `preset`: the strengths of the primitives, "cifar" (32 x 32) or "imagenet" (224 x 224).
    - `sampling`: "image" draws strengths and warps for each image, "batch" once for all images that
      meet a primitive at the same step.
    - `legacy`: the published behaviour: `sampling` "batch" and the filter off-centre.
    - `certified`: shrink warps that fold over or nearly do; see `Diffeomorphism`.
    - `primitives`: which of "diffeomorphism", "color" and "spectral" take part.

    It has no state and does the same in training and evaluation mode; its `repr` names every
    setting. The draws come from torch's default CPU generator, or from the one given; they depend
    on the number of images, the place of an image among them, the dtype and the device, not on an
    index of the image. Values outside of [0, 1] are refused on the CPU; on other devices they are
    not looked at, and clipped. Raises `InputError` for a setting that does not exist.

    Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV
    2022, and its published code.
    """

    def __init__(
        self,
        width: int = 3,
        depth: int = 3,
        preset: str = "cifar",
        mixing: str = "code",
        *,
        sampling: str = "image",
        legacy: bool = False,
        certified: bool = False,
        primitives: Sequence[str] = presets.PRIMITIVES,
    ) -> None:
        super().__init__()
        if min(width, depth) < 1:
            raise InputError(f"width and depth must be at least 1, got {width} and {depth}.")
        if mixing not in MIXINGS:
            raise unknown("mixing", mixing, MIXINGS)
        if sampling not in _SAMPLINGS:
            raise unknown("sampling", sampling, _SAMPLINGS)
        self.width, self.depth, self.preset, self.mixing = width, depth, preset, mixing
        self.sampling = "batch" if legacy else sampling
        if isinstance(primitives, str):
            raise InputError(f"primitives must be a tuple of names, pass ({primitives!r},).")
        self.legacy, self.certified, self.primitives = legacy, certified, tuple(primitives)
        self.operations = presets.primitives(
            preset,
            names=self.primitives,
            shared=self.sampling == "batch",
            legacy=legacy,
            certified=certified,
        )

    def forward(
        self,
        images: Shaped[Tensor, "..."],
        *,
        generator: torch.Generator | None = None,
        parameters: Mixture | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Return the augmented images; `generator` and `parameters` are those of `mix`."""
        return mix(
            images,
            self.operations,
            width=self.width,
            depth=self.depth,
            mixing=self.mixing,
            generator=generator,
            parameters=parameters,
        )

    def sample(
        self, images: Shaped[Tensor, "..."], *, generator: torch.Generator | None = None
    ) -> Mixture:
        """Draw the mixture of a call with these images; `forward` with it as `parameters` replays.

        Raises `InputError` as `mix` does.
        """
        check_augmentable(images)
        return sample_mixture(
            self.operations,
            images.shape,
            width=self.width,
            depth=self.depth,
            mixing=self.mixing,
            generator=generator,
            dtype=images.dtype,
            device=images.device,
        )

    def extra_repr(self) -> str:
        """Name every setting."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in _SETTINGS)
