"""Peers built into a network: adaptive polyphase sampling, and blur pooling."""

import copy
import warnings
from types import ModuleType

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from robustkit.errors import InputError, unknown
from robustkit.translation.strides import DenseSteps, Sampler, periodic

_PADDINGS = ("kept", "circular")


def with_polyphase(model: nn.Module, *, padding: str = "kept") -> nn.Module:
    """Return a copy of a network that chooses by content which features its strides keep.

    - `model`: any convolutional network on images `(N, C, H, W)`: of torchvision, timm, robustkit
      or your own. Its weights are kept, and none is retrained.
    - `padding`: "kept", or "circular" in place of what the network pads with.

    Each convolution and pooling of stride `s` is made with stride 1, and of the `s * s` polyphase
    components of its features, every s-th row and column from each start, the one of largest
    Euclidean norm is kept, image by image; so are slices `features[:, :, ::s, ::t]`, as shortcuts
    have them. The norm is taken right behind the step, in float64. Of equal norms the first in
    raster order wins. Steps whose results have the same size share the choice of the first of
    them, so that a shortcut stays aligned with what it is added to. All sizes are those of the
    original network: features whose side the stride does not divide are continued periodically.

    With circular padding, and where a mean over the plane is all that follows the last stride,
    logits do not change under circular shifts of the image, but for rounding. Two things are left
    out of that: components of equal norms and different contents, as a mirror-symmetric image has
    them, are not told apart by content; and a difference of norms as small as the rounding of the
    features may turn. Position embeddings void it unseen, and so does what `DenseSteps` does not
    see. Published networks are trained with this sampling: with the weights of another network it
    may cost accuracy.

    Raises `InputError` for TorchScript and an unknown `padding`. What a network does is known when
    it runs, and it then raises `InputError` for pooling that returns indices or rounds sizes up,
    adaptive pooling but for means over a whole axis, resizing, other ways to thin features, steps
    of different strides whose results have one size, and with circular padding for sizes that a
    stride does not divide, steps that pad less than keeps the plane whole, padding as a step of its
    own, slices of a part of the plane, and a plane of several pixels flattened. Source: Chaman and
    Dokmanic, Truly shift-invariant convolutional neural networks, CVPR 2021.
    """
    return PolyphaseNetwork(_copied(model), circular=_circular(padding))


def with_blur_pool(model: nn.Module, *, filter_size: int = 3, padding: str = "kept") -> nn.Module:
    """Return a copy of a network that blurs features before its strides thin them.

    - `model`: as for `with_polyphase`. Its weights are kept: published networks are trained with
      their blur, and without that training the accuracy may fall far.
    - `filter_size`: of the binomial filter, odd, at least 3.
    - `padding`: "kept", with features reflected where the blur reaches beyond them, or "circular",
      also in place of what the network pads with.

    Each convolution and pooling of stride `s` is made with stride 1, blurred by
    `timm.layers.BlurPool2d`, and every s-th row and column is kept; so are slices
    `features[:, :, ::s, ::t]`. The blur stands right behind a convolution, before its activation.
    All sizes are those of the original network.

    Raises `InputError` without timm, for an even `filter_size`, and for what `with_polyphase`
    refuses, when it is called or when the network runs; while it runs also for features too small
    to be reflected. Source: Zhang, Making convolutional networks shift-invariant again, ICML 2019.
    """
    if filter_size < 3 or filter_size % 2 == 0:
        raise InputError(f"filter_size must be odd and at least 3, got {filter_size}.")
    return BlurPooledNetwork(_copied(model), filter_size, circular=_circular(padding))


class PolyphaseNetwork(nn.Module):
    """A network under adaptive polyphase sampling; `with_polyphase` says what it does."""

    def __init__(self, model: nn.Module, *, circular: bool) -> None:
        super().__init__()
        self.model, self.circular = model, circular
        self.training = model.training

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n ..."]:
        """Return what the network returns: logits `(N, K)` of images `(N, C, H, W)`."""
        return _run(self.model, images, _Polyphase(), self.circular)

    def extra_repr(self) -> str:
        """Show the padding in `print(model)`."""
        return f"circular={self.circular}"


class BlurPooledNetwork(nn.Module):
    """A network that blurs before it thins; `with_blur_pool` says what it does."""

    def __init__(self, model: nn.Module, filter_size: int, *, circular: bool) -> None:
        super().__init__()
        self.model, self.circular = model, circular
        like = next(model.parameters(), torch.empty(0))
        self.blur = _blur(filter_size, circular).to(like.device, like.dtype)
        self.reach = filter_size // 2
        self.training = model.training

    def forward(self, images: Shaped[Tensor, "..."]) -> Float[Tensor, "n ..."]:
        """Return what the network returns: logits `(N, K)` of images `(N, C, H, W)`."""
        return _run(self.model, images, self._sample, self.circular)

    def extra_repr(self) -> str:
        """Show the padding in `print(model)`."""
        return f"circular={self.circular}"

    def _sample(self, dense: Tensor, strides: tuple[int, int]) -> Tensor:
        if min(dense.shape[2:]) <= self.reach and not self.circular:
            raise InputError(
                f"features of {dense.shape[2]} x {dense.shape[3]} are too small for a blur that "
                f"reflects {self.reach} of them; use larger images."
            )
        blurred: Tensor = self.blur(dense)
        return blurred[:, :, :: strides[0], :: strides[1]]


class _Polyphase:
    """The sampling of one pass through a network, and the choices made so far."""

    def __init__(self) -> None:
        self.choices: dict[tuple[int, int, int], tuple[tuple[int, int], Tensor]] = {}

    def __call__(
        self, dense: Float[Tensor, "n c h w"], strides: tuple[int, int]
    ) -> Float[Tensor, "n c h2 w2"]:
        height, width = (-(-side // s) for side, s in zip(dense.shape[2:], strides, strict=True))
        for axis, side, s in zip((2, 3), (height, width), strides, strict=True):
            dense = periodic(dense, axis, 0, side * s - dense.shape[axis])
        parts: Tensor = dense.unflatten(3, (width, strides[1])).unflatten(2, (height, strides[0]))
        key = len(dense), height, width
        if key not in self.choices:
            self.choices[key] = strides, largest_component(parts)
        earlier, choice = self.choices[key]
        if earlier != strides:
            raise InputError(
                f"steps of stride {earlier} and {strides} both make {height} x {width} features: "
                "they cannot share the choice of a polyphase component."
            )
        rows = torch.arange(len(dense), device=dense.device)
        return parts[rows, :, :, choice // strides[1], :, choice % strides[1]]


def largest_component(parts: Float[Tensor, "n c h s w t"]) -> Int[Tensor, " n"]:
    """Return the raster index, 0 to `s * t - 1`, of the polyphase component of largest norm."""
    norms: Tensor = torch.linalg.vector_norm(parts, dim=(1, 2, 4), dtype=torch.float64)
    choice: Tensor = norms.flatten(1).argmax(dim=1)
    return choice


def _run(model: nn.Module, images: Tensor, sample: Sampler, circular: bool) -> Tensor:
    with DenseSteps(sample, circular=circular):
        logits: Tensor = model(images)
    return logits


def _circular(padding: str) -> bool:
    if padding not in _PADDINGS:
        raise unknown("padding", padding, _PADDINGS)
    return padding == "circular"


def _copied(model: nn.Module) -> nn.Module:
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise InputError("the steps of a TorchScript network are hidden; pass the module itself.")
    return copy.deepcopy(model)


def _blur(filter_size: int, circular: bool) -> nn.Module:
    try:
        # Timm's own imports warn of a progress bar for notebooks, which nobody asked for.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="IProgress not found")
            from timm import layers
    except ImportError:
        raise InputError(
            "timm is not installed; install it with: pip install 'robustkit[zoo]'"
        ) from None
    module: ModuleType = layers
    # With stride 1 its padding keeps sizes whatever the stride that thins them afterwards.
    blur: nn.Module = module.BlurPool2d(
        filt_size=filter_size, stride=1, pad_mode="circular" if circular else "reflect"
    )
    return blur
