"""Every strided step of a network made dense: what is left to say is which features to keep."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustkit.errors import InputError

# Keeps every s-th row and t-th column of dense features, from a start of its own choice.
Sampler = Callable[[Tensor, tuple[int, int]], Tensor]
Sizes = int | tuple[int, ...]

_OPAQUE = frozenset(
    {
        F.adaptive_max_pool2d,
        F.adaptive_max_pool2d_with_indices,
        F.fractional_max_pool2d,
        F.interpolate,
        F.lp_pool2d,
        F.max_pool2d_with_indices,
        F.pixel_unshuffle,
        F.unfold,
        Tensor.unfold,
        torch.pixel_unshuffle,
    }
)
_FLATTENING = (torch.flatten, torch.reshape, Tensor.flatten, Tensor.reshape, Tensor.view)


class DenseSteps(TorchFunctionMode):
    """Within this context strided steps are made with stride 1, and `sample` thins their features.

    Steps are two-dimensional convolutions, maximum and average pooling, and slices
    `features[:, :, ::s, ::t]`, whether a module makes them or a function. With `circular` the
    features are continued periodically wherever a step pads. Results have the sizes that they have
    outside.

    Within the context a step that cannot be treated so raises `InputError`: pooling that returns
    indices or rounds its size up, adaptive pooling but for means over a whole axis, resizing, other
    ways to thin features, and with `circular` what knows where the image ends: sizes that the
    stride does not divide, steps that shrink the plane by padding less than they reach, padding as
    a step of its own, slices of a part of the plane, and flattening a plane of several pixels.

    Only calls of torch's functions are seen. Not seen are steps within compiled or custom
    operators, parts of the plane that `narrow`, `split`, `gather` or `index_select` take, and what
    is added or multiplied by place, as position embeddings are.
    """

    def __init__(self, sample: Sampler, *, circular: bool) -> None:
        super().__init__()
        self.sample, self.circular = sample, circular
        self.steps: dict[Any, Callable[..., Any]] = {
            F.conv2d: self._conv2d,
            F.max_pool2d: self._max_pool2d,
            torch.max_pool2d: self._max_pool2d,
            F.avg_pool2d: self._avg_pool2d,
            F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
            Tensor.__getitem__: self._slice,
        }
        if circular:
            self.steps[F.pad] = _pad
            for function in _FLATTENING:
                self.steps[function] = _flattening(function)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Make one step of the network."""
        if func in _OPAQUE:
            raise InputError(
                f"the network calls {func.__name__}, which cannot be made dense; convolutions, "
                "maximum and average pooling can."
            )
        return self.steps.get(func, func)(*args, **(kwargs or {}))

    # The names of the arguments are torch's.
    def _conv2d(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
    ) -> Tensor:
        def dense(features: Tensor, padding: Any) -> Tensor:
            return F.conv2d(features, weight, bias, 1, padding, dilation, groups)

        return self._step(dense, input, weight.shape[-2:], stride, padding, dilation)

    def _max_pool2d(
        self,
        input: Tensor,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Tensor:
        def dense(features: Tensor, padding: Any) -> Tensor:
            return F.max_pool2d(features, kernel_size, 1, padding, dilation)

        if return_indices:
            raise InputError("pooling that returns indices cannot be made dense.")
        return self._step(
            dense, input, kernel_size, stride or kernel_size, padding, dilation, ceil_mode
        )

    def _avg_pool2d(
        self,
        input: Tensor,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Tensor:
        def dense(features: Tensor, padding: Any) -> Tensor:
            return F.avg_pool2d(
                features, kernel_size, 1, padding, False, count_include_pad, divisor_override
            )

        return self._step(dense, input, kernel_size, stride or kernel_size, padding, 1, ceil_mode)

    def _slice(self, features: Tensor, index: Any) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        thinning = any(isinstance(part, slice) and part.step not in (None, 1) for part in parts)
        if features.ndim != 4 or not thinning:
            result = features[index]
            plane = features.ndim == 4 and not isinstance(features, nn.Parameter)
            if self.circular and plane and result.shape[-2:] != features.shape[2:]:
                raise InputError(
                    f"the network takes a part of features of {features.shape[2]} x "
                    f"{features.shape[3]}, {index}: it knows their places, and no padding makes it "
                    'invariant; use padding="kept".'
                )
            return result
        place = next((k for k, part in enumerate(parts) if part is Ellipsis), len(parts))
        before, after = parts[:place], parts[place + 1 :]
        parts = (*before, *[slice(None)] * (4 - len(before) - len(after)), *after)
        whole = all(
            isinstance(part, slice) and part.start in (None, 0) and part.stop is None
            for part in parts
        )
        steps = tuple(part.step or 1 for part in parts) if whole else ()
        if len(steps) != 4 or steps[:2] != (1, 1):
            raise InputError(
                f"the network takes the slice {index} of its features, which cannot be made dense; "
                "features[:, :, ::s, ::t] can."
            )
        strides = (steps[2], steps[3])
        if self.circular:
            _check_circular(features, features.shape[2:], strides)
        return self.sample(features, strides)

    def _step(
        self,
        dense: Callable[[Tensor, Any], Tensor],
        features: Tensor,
        window: Sizes,
        stride: Sizes,
        padding: Sizes | str,
        dilation: Sizes,
        ceil_mode: bool = False,
    ) -> Tensor:
        """Make a step densely, then sample its features."""
        if features.ndim != 4:
            raise InputError(f"features must be a batch (N, C, H, W), got {tuple(features.shape)}.")
        windows, strides, dilations = _pair(window), _pair(stride), _pair(dilation)
        reach = [d * (w - 1) for d, w in zip(dilations, windows, strict=True)]
        if isinstance(padding, str):
            around = reach if padding == "same" else [0, 0]
            before = [size // 2 for size in around]
        else:
            before = [*_pair(padding)]
            around = [2 * size for size in before]
        sizes = [
            size + more - less
            for size, more, less in zip(features.shape[2:], around, reach, strict=True)
        ]
        if ceil_mode and any((size - 1) % s for size, s in zip(sizes, strides, strict=True)):
            raise InputError(
                "pooling that rounds its size up (ceil_mode) cannot be made dense on features of "
                f"{features.shape[2]} x {features.shape[3]}; try images of another size."
            )
        if self.circular:
            _check_circular(features, sizes, strides)
            for axis, start, less in zip((2, 3), before, reach, strict=True):
                features = periodic(features, axis, start, less - start)
            padding = 0
        result = dense(features, padding)
        return result if strides == (1, 1) else self.sample(result, strides)


def periodic(
    features: Float[Tensor, "n c h w"], axis: int, before: int, after: int
) -> Float[Tensor, "n c h2 w2"]:
    """Continue features periodically along an axis, by so many rows or columns on either side."""
    if before == after == 0:
        return features
    size = features.shape[axis]
    places = torch.arange(-before, size + after, device=features.device) % size
    return features.index_select(axis, places)


def _pair(sizes: Sizes) -> tuple[int, int]:
    if isinstance(sizes, int):
        return sizes, sizes
    values = [int(size) for size in sizes]
    return values[0], values[-1]


def _check_circular(features: Tensor, sizes: Sequence[int], strides: tuple[int, int]) -> None:
    """Refuse a step, of so many places if dense, that does not divide a torus by its strides."""
    plane = features.shape[2:]
    divided = all(
        side % s == 0 and (size - 1) // s + 1 == side // s
        for side, size, s in zip(plane, sizes, strides, strict=True)
    )
    if not divided:
        found = " x ".join(str((size - 1) // s + 1) for size, s in zip(sizes, strides, strict=True))
        raise InputError(
            f"a step of stride {strides[0]} x {strides[1]} makes {found} features of "
            f"{plane[0]} x {plane[1]}, which no step on a torus does. Strides must divide the "
            "sides: choose another size of the images. Steps without the padding that keeps the "
            'plane whole need padding="kept".'
        )


def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    wanted = (output_size, output_size) if isinstance(output_size, int) else output_size
    kept = [size in (1, side, None) for size, side in zip(wanted, input.shape[-2:], strict=True)]
    if not all(kept):
        raise InputError(
            f"the network pools features of {input.shape[-2]} x {input.shape[-1]} adaptively to "
            f"{output_size}, which cannot be made dense; means over the plane can, and images of a "
            "size at which nothing is left to pool."
        )
    return F.adaptive_avg_pool2d(input, output_size)


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Tensor:
    if any(pad[:4]):
        raise InputError(
            "the network pads its features in a step of its own, which cannot be made circular; "
            'use padding="kept", also where that step is circular already.'
        )
    return F.pad(input, pad, mode, value)


def _flattening(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def flatten(features: Tensor, *sizes: Any, **options: Any) -> Tensor:
        result = function(features, *sizes, **options)
        plane = features.ndim == 4 and features[0, 0].numel() > 1
        if plane and result.shape == (len(features), features[0].numel()):
            raise InputError(
                f"the network flattens features of {features.shape[2]} x {features.shape[3]}: what "
                "follows knows their places, and no padding makes it invariant. Average them over "
                'the plane, or use padding="kept".'
            )
        return result

    return flatten
