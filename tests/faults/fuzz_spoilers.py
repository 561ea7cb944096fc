"""Bad values made from good ones: each is wrong in one way, which its name says."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import fuzz_toys as toys
import torch
from torch import Tensor, nn

from robustkit.data import Dataset

Bad = Iterator[tuple[str, Any]]
# More values than any memory holds, in an expanded view that takes none.
HUGE = 2**44


def spoiled(good: Any) -> Bad:
    """Yield bad values in place of a good one, with a word on each."""
    for kind, spoil in SPOILERS:
        if isinstance(good, kind):
            yield from spoil(good)
            return
    if callable(good):
        yield from _function(good)


def _tensor(good: Tensor) -> Bad:
    yield "one rank more", good[None]
    yield "one rank less", good[0]
    yield "no rank", good.flatten()[0]
    yield "no rows", good[:0]
    yield "no columns", good[..., :0]
    yield "a row more", torch.cat([good, good[:1]])
    yield "half of the columns", good[..., : good.shape[-1] // 2]
    yield "on no device", good.to("meta")
    rows = HUGE // max(1, good[0].numel())
    yield "huge", good[:1].expand(rows, *good.shape[1:])
    for dtype in (torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool):
        if dtype != good.dtype:
            yield str(dtype), good.to(dtype)
    yield "complex", good.to(torch.complex64)
    if good.is_floating_point():
        for value in (math.nan, math.inf, -1.0, 2.0):
            one = torch.arange(good.numel()).view_as(good) == 1
            yield f"one {value}", good.masked_fill(one, value)
        yield "all equal", torch.zeros_like(good)
    elif good.dtype == torch.int64:
        for whole in (-1, 2**40, -(2**62)):
            yield f"all {whole}", torch.full_like(good, whole)
    if good.ndim == 4:
        yield "one channel", good[:, :1]
        yield "one pixel", good[..., :1, :1]
        yield "channels last", good.permute(0, 2, 3, 1)


def _network(good: nn.Module) -> Bad:
    yield "in training mode", deepcopy(good).train()
    yield "one class", toys.network(1)
    yield "of images to images", nn.Identity().eval()
    yield "of NaN", nn.Sequential(deepcopy(good), _Times(math.nan)).eval()
    yield "of one channel", toys.network(channels=1)
    yield "on no device", deepcopy(good).to("meta")
    yield "frozen", deepcopy(good).requires_grad_(False)


class _Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: Tensor) -> Tensor:
        return logits * self.factor


def _whole(good: int) -> Bad:
    for value in (-1, 0, -(2**40)):
        if value != good:
            yield str(value), value


def _real(good: float) -> Bad:
    for value in (math.nan, math.inf, -1.0, 0.0):
        if value != good:
            yield str(value), value


def _text(good: str) -> Bad:
    for value in ("no such name", "", "../.."):
        yield repr(value), value


def _series(good: Any) -> Bad:
    # How long a tuple of numbers is, its type says; a list of names may have any length.
    kind = type(good)
    if good and not isinstance(good[0], int | float):
        yield "empty", kind()
        yield "one twice", kind([*good, *good[:1]])
    for place in range(min(len(good), 2)):
        for what, value in spoiled(good[place]):
            yield f"{what} at {place}", kind([*good[:place], value, *good[place + 1 :]])


def _mapping(good: dict[Any, Any]) -> Bad:
    yield "empty", {}
    for name, value in good.items():
        yield f"without {name}", {n: v for n, v in good.items() if n != name}
        if not isinstance(value, dict):
            for what, other in spoiled(value):
                yield f"{what} at {name}", {**good, name: other}


def _path(good: Path) -> Bad:
    folder = Path(mkdtemp())
    yield "a folder", folder
    yield "in no folder", folder / "absent" / "file"
    junk = folder / "junk"
    junk.write_bytes(bytes(range(256)))
    yield "junk", junk
    yield "below a file", junk / "file"


def _dtype(good: torch.dtype) -> Bad:
    for dtype in (torch.int64, torch.bool, torch.complex64, torch.float16):
        if dtype != good:
            yield str(dtype), dtype


def _dataset(good: Dataset) -> Bad:
    for name in ("images", "labels"):
        for what, bad in _tensor(getattr(good, name)):
            yield f"{name} {what}", dataclasses.replace(good, **{name: bad})
    yield "no classes", dataclasses.replace(good, classes=())


def _function(good: Callable[..., Any]) -> Bad:
    def losing(*arguments: Any) -> Any:
        return good(*arguments)[:-1]

    def blurring(*arguments: Any) -> Any:
        return good(*arguments) * math.nan

    yield "that loses a row", losing
    yield "that makes NaN", blurring


SPOILERS: tuple[tuple[Any, Callable[[Any], Bad]], ...] = (
    (Tensor, _tensor),
    (nn.Module, _network),
    (bool, lambda _: iter(())),
    (int, _whole),
    (float, _real),
    (str, _text),
    ((tuple, list), _series),
    (dict, _mapping),
    (Path, _path),
    (torch.dtype, _dtype),
    (Dataset, _dataset),
)
