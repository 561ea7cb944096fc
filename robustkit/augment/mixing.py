"""Chains of random operations on each image, and convex mixtures of them with the clean image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from robustkit.augment.operation import (
    Operation,
    Parameters,
    check_augmentable,
    check_operations,
    on_device,
    slice_parameters,
    without_autocast,
    working_dtype,
)
from robustkit.checks import check_device, check_images
from robustkit.errors import InputError, unknown

MIXINGS = ("code", "paper")

# An operation is applied to this share of the batch at once: its intermediate results are then
# small beside the chains, which are `width` copies of the batch.
_SHARE_AT_ONCE = 4


@dataclass(frozen=True)
class Call:
    """One step of some chains: which operation, on which chains, with what parameters.

    Chain `k * N + i` is chain k of image i. Source: `sample_mixture`.
    """

    operation: int
    chains: Int[Tensor, " m"]
    parameters: Parameters


@dataclass(frozen=True)
class Mixture:
    """All that is random in a call of `mix`: given to another, it does the same again.

    `weights` `(N, 1 + width)` are those of the clean image and of its chains; `calls` are in order.
    It serves images of one `shape` (C, H, W) and as many `operations` as it was drawn for. Source:
    `sample_mixture`.
    """

    weights: Float[Tensor, "n terms"]
    calls: tuple[Call, ...]
    shape: tuple[int, int, int]
    operations: int


@torch.no_grad()
def mix(
    images: Shaped[Tensor, "..."],
    operations: Sequence[Operation],
    *,
    width: int = 3,
    depth: int = 3,
    mixing: str = "code",
    generator: torch.Generator | None = None,
    parameters: Mixture | None = None,
) -> Float[Tensor, "n c h w"]:
    """Mix each image with `width` chains of random operations on it.

    - `images`: `(N, C, H, W)`, floating point in [0, 1]; the result is too, of the same dtype.
    - `operations`: objects with `sample` and `apply`, see `Operation`; any list of them.
    - `width`: the number of chains; `depth`: the most operations of a chain.
    - `mixing`: "code", as published: a chain has 1 to `depth` operations, all lengths and all
      operations equally likely; the chains' weights are uniform on the simplex (Dirichlet), and the
      share of the clean image is uniform on [0, 1]. "paper": a chain has `depth` operations among
      those given and the identity, and the weights of chains and clean image together are uniform
      on the simplex; recalled from the paper's algorithm, not checked against its text.
    - `generator`: on the CPU, whatever the images' device; by default that of torch.
    - `parameters`: from `sample_mixture` for as many images of this shape, on their device, and the
      same operations. Nothing is drawn then; `width`, `depth` and `mixing` are the mixture's own.

    An operation only meets the images that drew it. Draws follow from the generator, the number of
    images, the place of an image among them, the dtype and the device; not from an index of the
    image, which gets other draws in another batch. Raises `InputError` for images, operations or
    arguments that it cannot work with. Images on the CPU with values outside of [0, 1] are among
    these; on other devices values are not looked at, for the host would wait, and are clipped.

    Source: Modas et al., PRIME: A few primitives can boost robustness to common corruptions, ECCV
    2022, and its published code.
    """
    check_augmentable(images)
    if images.device.type == "cpu":
        check_images(images)
    check_operations(operations)
    if parameters is None:
        weights, calls = _draw(
            operations, images.shape, width, depth, mixing, generator, images.dtype, images.device
        )
    else:
        _check_replay(parameters, images.shape, len(operations))
        if parameters.weights.device != images.device:
            raise InputError(
                f"the mixture was drawn on {parameters.weights.device} and the images are on "
                f"{images.device}; move them to one."
            )
        weights, calls = parameters.weights, iter(parameters.calls)
    count = len(images)
    with without_autocast(images.device):
        clean = images.to(working_dtype(images.dtype))
        chains = clean.repeat(weights.shape[1] - 1, 1, 1, 1)
        at_once = -(-count // _SHARE_AT_ONCE)
        for call in calls:
            operation = operations[call.operation]
            for start in range(0, len(call.chains), at_once):
                rows = call.chains[start : start + at_once]
                part = slice_parameters(call.parameters, start, start + at_once)
                chains.index_copy_(0, rows, operation.apply(chains.index_select(0, rows), part))
        shares = weights.to(clean.dtype).T[..., None, None, None]
        mixed = clean * shares[0]
        for chain, share in zip(chains.split(count), shares[1:], strict=True):
            mixed.addcmul_(chain, share)
        # Weights that sum to 1 up to rounding could leave the box by as much.
        return mixed.clamp_(0, 1).to(images.dtype)


@torch.no_grad()
def sample_mixture(
    operations: Sequence[Operation],
    shape: tuple[int, ...],
    *,
    width: int = 3,
    depth: int = 3,
    mixing: str = "code",
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Mixture:
    """Draw all that is random in a call of `mix` for images of `shape` (N, C, H, W).

    `mix(images, operations, generator=g)` and `mix(images, operations, parameters=m)` agree where
    `m` is drawn with a generator in the same state as `g`, for the dtype and device of the images.
    Other arguments are those of `mix`. Raises `InputError` as it does.

    Source: Modas et al., ECCV 2022, and its published code.
    """
    check_operations(operations)
    weights, calls = _draw(
        operations, shape, width, depth, mixing, generator, dtype, check_device(device)
    )
    return Mixture(weights, tuple(calls), (shape[1], shape[2], shape[3]), len(operations))


def _check_replay(mixture: Mixture, shape: tuple[int, ...], operations: int) -> None:
    drawn, given = (len(mixture.weights), *mixture.shape), tuple(shape)
    if drawn != given:
        raise InputError(
            f"the mixture is one of {drawn[0]} images {drawn[1:]}, not of {given[0]} images "
            f"{given[1:]}; draw another for these, or pass parameters=None."
        )
    if mixture.operations != operations:
        raise InputError(
            f"the mixture was drawn for {mixture.operations} operations, got {operations}; pass "
            "those that it was drawn for, in the same order."
        )


def _draw(
    operations: Sequence[Operation],
    shape: tuple[int, ...],
    width: int,
    depth: int,
    mixing: str,
    generator: torch.Generator | None,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Float[Tensor, "n terms"], Iterator[Call]]:
    """Return the weights, and the calls as they are asked for: they need not exist all at once."""
    if len(shape) != 4:
        raise InputError(f"shape must be (N, C, H, W), got {tuple(shape)}.")
    if min(shape) < 1:
        raise InputError(f"shape must be at least 1 each, got {tuple(shape)}.")
    if min(width, depth) < 1:
        raise InputError(f"width and depth must be at least 1, got {width} and {depth}.")
    if mixing not in MIXINGS:
        raise unknown("mixing", mixing, MIXINGS)
    host = torch.default_generator if generator is None else generator
    if host.device.type != "cpu":
        raise InputError(
            f"the generator is on {host.device}; pass torch.Generator(), which serves images on "
            "every device."
        )
    count, image = shape[0], (shape[1], shape[2], shape[3])
    order, sizes = _schedule(len(operations), width * count, depth, mixing, host)
    if device.type == "cuda":
        # The copy of pageable memory would be waited for.
        order = order.pin_memory()
    order = order.to(device, non_blocking=True)
    own = on_device(host, device)
    weights = _weights(count, width, mixing, own, working_dtype(dtype), device)

    def calls() -> Iterator[Call]:
        for turn, chains in enumerate(order.split(sizes)):
            if len(chains):
                number = turn % len(operations)
                drawn = operations[number].sample(
                    len(chains), image, generator=own, dtype=dtype, device=device
                )
                yield Call(number, chains, drawn)

    return weights, calls()


def _schedule(
    operations: int, chains: int, depth: int, mixing: str, generator: torch.Generator
) -> tuple[Int[Tensor, " total"], list[int]]:
    """Draw which chains meet each operation, step by step: their numbers in a row, and how many."""
    if mixing == "code":
        lengths = torch.randint(1, depth + 1, (chains,), generator=generator)
        choices = torch.randint(operations, (depth, chains), generator=generator)
        choices[torch.arange(depth)[:, None] >= lengths] = -1
    else:
        choices = torch.randint(-1, operations, (depth, chains), generator=generator)
    rows = [(step == number).nonzero()[:, 0] for step in choices for number in range(operations)]
    return torch.cat(rows), [len(row) for row in rows]


def _weights(
    count: int,
    width: int,
    mixing: str,
    generator: torch.Generator,
    dtype: torch.dtype,
    device: torch.device,
) -> Float[Tensor, "n terms"]:
    terms = width if mixing == "code" else width + 1
    draws = torch.empty(count, terms, dtype=dtype, device=device)
    draws.exponential_(generator=generator)
    # Uniform on the simplex: exponentials over their sum.
    simplex = draws / draws.sum(1, keepdim=True)
    if mixing == "paper":
        return simplex
    share = torch.rand(count, 1, generator=generator, dtype=dtype, device=device)
    return torch.cat([1 - share, share * simplex], dim=1)
