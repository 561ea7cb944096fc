"""AugMix: chains of classical image operations, mixed; as a transform of batches."""

from dataclasses import replace

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from robustkit.augment.augmix_operations import augmix_operations
from robustkit.augment.mixing import Mixture, mix, sample_mixture
from robustkit.augment.operation import check_augmentable, on_device, working_dtype
from robustkit.errors import InputError

_LONGEST = 3


class AugMix(nn.Module):
    """Augment batches `(N, C, H, W)` in [0, 1] by mixtures of chains of classical operations.

    - `width`: chains an image; `depth`: operations of each chain, or None for 1, 2 or 3, equally
      likely for each chain.
    - `severity`: the largest strength of an operation, in [0.1, 10]; published: 3 for CIFAR, 1 for
      ImageNet.
    - `alpha`: the weights of the chains are drawn from Dirichlet(alpha, ..., alpha), the share of
      the clean image from Beta(alpha, alpha); positive.
    - `all_operations`: also color, contrast, brightness and sharpness, which resemble corruptions
      of the test sets; see `augmix_operations`. They need one channel or three.

    All draws are made for each image alone. Operations act on 8-bit levels, as published, the
    mixture does not. The module has no state and does the same in training and evaluation mode; its
    `repr` names every setting. The draws come from torch's default CPU generator, or from the one
    given; they depend on the number of images, the place of an image among them, the dtype and the
    device, not on an index of the image. Values outside of [0, 1] are refused on the CPU; on other
    devices they are not looked at, and clipped. Raises `InputError` for a setting outside of its
    range.

    Source: Hendrycks et al., AugMix: A simple data processing method to improve robustness and
    uncertainty, ICLR 2020, algorithm 1, and its published code.
    """

    def __init__(
        self,
        width: int = 3,
        depth: int | None = None,
        severity: int | float = 3,
        alpha: int | float = 1.0,
        all_operations: bool = False,
    ) -> None:
        super().__init__()
        if width < 1 or (depth is not None and depth < 1):
            raise InputError(
                f"width and depth must be at least 1, got {width} and {depth} (depth=None: 1 to 3)."
            )
        if not 0 < alpha < float("inf"):
            raise InputError(f"alpha must be positive and finite, got {alpha}.")
        self.width, self.depth, self.severity = width, depth, severity
        self.alpha, self.all_operations = alpha, all_operations
        self.operations = augmix_operations(severity, all_operations=all_operations)

    def forward(
        self,
        images: Shaped[Tensor, "..."],
        *,
        generator: torch.Generator | None = None,
        parameters: Mixture | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """Return the augmented images; `generator` and `parameters` are those of `mix`."""
        if parameters is None:
            parameters = self.sample(images, generator=generator)
        return mix(images, self.operations, parameters=parameters)

    def sample(
        self, images: Shaped[Tensor, "..."], *, generator: torch.Generator | None = None
    ) -> Mixture:
        """Draw the mixture of a call with these images; `forward` with it as `parameters` replays.

        Raises `InputError` as `mix` does.
        """
        check_augmentable(images)
        if self.depth is None:
            mixture = self._draw(images, _LONGEST, generator)
        else:
            # Chains of one operation, one after the other: all have the same length.
            steps = [self._draw(images, 1, generator) for _ in range(self.depth)]
            mixture = replace(steps[0], calls=tuple(call for step in steps for call in step.calls))
        if self.alpha != 1:
            mixture = replace(mixture, weights=self._weights(images, generator))
        return mixture

    def _draw(self, images: Tensor, depth: int, generator: torch.Generator | None) -> Mixture:
        return sample_mixture(
            self.operations,
            images.shape,
            width=self.width,
            depth=depth,
            generator=generator,
            dtype=images.dtype,
            device=images.device,
        )

    def _weights(
        self, images: Tensor, generator: torch.Generator | None
    ) -> Float[Tensor, "n terms"]:
        host = torch.default_generator if generator is None else generator
        own = on_device(host, images.device)

        def simplex(terms: int) -> Tensor:
            alphas = torch.full(
                (len(images), terms),
                float(self.alpha),
                dtype=working_dtype(images.dtype),
                device=images.device,
            )
            return torch._sample_dirichlet(alphas, generator=own)

        chains, clean = simplex(self.width), simplex(2)[:, :1]
        return torch.cat([clean, (1 - clean) * chains], dim=1)

    def extra_repr(self) -> str:
        """Name every setting."""
        names = ("width", "depth", "severity", "alpha", "all_operations")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
