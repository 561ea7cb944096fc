"""PRIME and its primitives beside the published loop, and beside the augmentations of others.

    python benchmarks/augment.py --rounds 3 --calls 8 --threads 2 --json rows.json

Prints a row for each contender on a batch of 128 images of 32 x 32 and one of 8 of 224 x 224, with
the CIFAR and the ImageNet settings: milliseconds a batch in wall and in processor time, how many
times as fast as the published loop of PRIME that is in both, and the peak of memory beside the
input, in copies of the batch. A call's work depends on its draws, the loop's above all, whose
strengths are one for a batch: a time is the mean of several calls, and the best of the rounds'
means. Where other programs share the processor only processor time is nearly steady. Primitives are
drawn for and applied to the whole batch once: a mixture of three chains applies each of the three
to two batches on average.

The augmentations of torchvision take 8-bit images and draw once a batch, those of kornia draw for
each image. Contenders that are not installed are left out.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import published_prime
import torch
from margin_memory import _grown as grown
from torch import Tensor
from watch import Stopwatch

from robustkit.augment import AugMix, Operation, Prime, primitives

Augmentation = Callable[[Tensor], Tensor]

TITLES = (
    f"{'':24s} {'milliseconds':>17s} {'times the loop':>15s} {'peak,':>7s}\n"
    f"{'contender':24s} {'wall':>8s} {'process.':>8s} {'wall':>7s} {'proc.':>7s} {'copies':>7s}"
)


@dataclass(frozen=True)
class Batch:
    """A batch of random images to augment with the settings of a preset."""

    count: int
    side: int
    preset: str
    device: str

    def images(self) -> Tensor:
        """Return the images; the same at each call."""
        torch.manual_seed(0)
        return torch.rand(self.count, 3, self.side, self.side).to(self.device)


@dataclass
class Contender:
    """An augmentation of a batch, and its best times so far in seconds."""

    name: str
    run: Augmentation
    images: Tensor
    wall: float = torch.inf
    processor: float = torch.inf

    def compete(self, calls: int) -> None:
        """Run `calls` times, watched; keep the better mean times."""
        torch.manual_seed(0)
        watch = Stopwatch(self.images.device)
        with watch.running():
            for _ in range(calls):
                self.run(self.images)
        self.wall = min(self.wall, watch.wall / calls)
        self.processor = min(self.processor, watch.processor / calls)

    def row(self, loop: "Contender", peak: float) -> dict[str, Any]:
        """Return all there is to say."""
        return {
            "contender": self.name,
            "shape": list(self.images.shape),
            "milliseconds_wall": 1e3 * self.wall,
            "milliseconds_processor": 1e3 * self.processor,
            "times_as_fast_as_loop_wall": loop.wall / self.wall,
            "times_as_fast_as_loop_processor": loop.processor / self.processor,
            "peak_copies_of_the_batch": peak,
        }


def peaks(batch: Batch, calls: int) -> list[float]:
    """Return the peak of each contender, in copies of its input, over some calls."""
    found = []
    for one in contenders(batch):
        one.run(one.images)
        torch.manual_seed(0)
        grew = (grown(one.images.device, partial(one.run, one.images)) for _ in range(calls))
        found.append(max(grew) / one.images.nbytes)
    return found


def line(row: dict[str, Any]) -> str:
    """Say a row in one line of the table."""
    return (
        f"{row['contender']:24s} {row['milliseconds_wall']:8.1f} "
        f"{row['milliseconds_processor']:8.1f} {row['times_as_fast_as_loop_wall']:7.2f} "
        f"{row['times_as_fast_as_loop_processor']:7.2f} {row['peak_copies_of_the_batch']:7.1f}"
    )


def contenders(batch: Batch) -> Iterator[Contender]:
    """Yield the loop, ours, and those of others that are installed."""
    images, preset = batch.images(), batch.preset

    def once(operation: Operation, images: Tensor) -> Tensor:
        drawn = operation.sample(
            len(images),
            tuple(images.shape[1:]),
            generator=torch.default_generator,
            dtype=images.dtype,
            device=images.device,
        )
        return operation.apply(images, drawn)

    yield Contender("published loop", partial(published_prime.prime, preset=preset), images)
    yield Contender("Prime", Prime(preset=preset), images)
    yield Contender("Prime, paper", Prime(preset=preset, mixing="paper"), images)
    yield Contender("Prime, certified", Prime(preset=preset, certified=True), images)
    yield Contender("Prime, legacy", Prime(preset=preset, legacy=True), images)
    for operation in primitives(preset):
        yield Contender(type(operation).__name__, partial(once, operation), images)
    yield Contender("AugMix", AugMix(severity=3 if preset == "cifar" else 1), images)
    yield from torchvision_contenders(images)
    yield from kornia_contenders(images)


def torchvision_contenders(images: Tensor) -> Iterator[Contender]:
    """Yield torchvision's augmentations of 8-bit batches."""
    from torchvision.transforms import v2

    bytes_ = (images * 255).round().to(torch.uint8)
    for transform in (v2.AugMix(), v2.RandAugment(), v2.TrivialAugmentWide()):
        yield Contender(f"torchvision {type(transform).__name__}", transform, bytes_)


def kornia_contenders(images: Tensor) -> Iterator[Contender]:
    """Yield kornia's augmentations that draw for each image, where it is installed."""
    try:
        from kornia import augmentation
    except ImportError:
        print("kornia is not installed: skipped")
        return
    kinds = {
        "RandAugment": augmentation.auto.RandAugment(n=2, m=10),
        "TrivialAugment": augmentation.auto.TrivialAugment(),
        "elastic": augmentation.RandomElasticTransform(p=1.0),
    }
    for name, transform in kinds.items():
        yield Contender(f"kornia {name}", transform, images)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=128, help="images of 32 x 32")
    parser.add_argument("--large", type=int, default=8, help="images of 224 x 224")
    parser.add_argument("--rounds", type=int, default=2, help="whose best time counts")
    parser.add_argument("--calls", type=int, default=5, help="in a round, whose mean is its time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    if min(options.rounds, options.calls) < 1:
        parser.error("rounds and calls are counted from 1")
    return options


def main() -> None:
    """Run the comparisons that the arguments ask for."""
    options = parse()
    torch.set_num_threads(options.threads)
    # The profiler reports on itself, unless it is told not to before torch is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    rows = []
    for count, side, preset in ((options.small, 32, "cifar"), (options.large, 224, "imagenet")):
        if count == 0:
            continue
        batch = Batch(count, side, preset, options.device)
        print(
            f"\n{count} images of {side} x {side}, {preset} settings; {options.device}, "
            f"{options.threads} threads\n{TITLES}"
        )
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            copies = pool.submit(peaks, batch, 2).result()
        loop = None
        for one, peak in zip(contenders(batch), copies, strict=True):
            loop = loop or one
            one.run(one.images)
            for _ in range(options.rounds):
                one.compete(options.calls)
            rows.append(one.row(loop, peak))
            print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
