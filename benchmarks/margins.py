"""Margins in subspaces beside the published loop, and what they take.

    python benchmarks/margins.py --images 8 --published-images 8 --threads 2 --json rows.json

Prints (a) a row for each contender on the 13 published DCT blocks: `margins` as published
(legacy), by default, with `refine` "none" and "normal", and a literal loop of the published code
with each number of threads. A pair is an image and a subspace; pairs a second, and how many times
that of the loop at its best, are given in wall and in processor time: where other programs share
the processor only the second is nearly steady. Images differ in the steps they need, so that ratios
compare the same work only where the loop was given as many. With several rounds every contender's
time is the best of its rounds. `found` is the share of pairs whose point has another class at a
fresh look; medians count the others as infinite. The last columns are passes a pair, and the share
of the time inside them. (b) How well the margins agree with the loop's, pair by pair, on the images
that both were given; in float32 rounding may cost one of them a step, `--float64` shows the rest.
(c) The memory that margins take at their peak, for several chunks, and the bytes that the 14 blocks
of 224 x 224 images hold.

On a GPU each pass is waited for, in the loop as elsewhere, so that the time inside it is known.
Uses a trained ResNet-20 and CIFAR-10 where they are found, else random weights and images.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import margin_memory
import published_margins
import torch
from torch import Tensor, nn
from watch import Stopwatch, subject, watched

from robustkit.margins import Block, diagonal_blocks, margins

# Perturbations (M, N, *shape) of images, one in each subspace.
Run = Callable[[nn.Module, Tensor], Tensor]

TITLES = (
    f"{'':24s} {'':>5s} {'pairs a second':>15s} {'x loop':>13s} {'':>7s} {'median':>7s} "
    f"{'passes':>7s} {'':>6s} {'inside':>7s}\n"
    f"{'contender':24s} {'pairs':>5s} {'wall':>7s} {'process.':>7s} {'wall':>6s} {'proc.':>6s} "
    f"{'found':>7s} {'margin':>7s} {'forward':>7s} {'back':>6s} {'passes':>7s}"
)

AGREEMENT_TITLES = (
    f"{'':24s} {'':>5s} {'median':>8s} {'of the':>8s} {'ratio:':>8s} {'':>8s} {'relative':>8s} "
    f"{'differ.:':>8s}\n"
    f"{'contender':24s} {'pairs':>5s} {'margin':>8s} {'loop':>8s} {'median':>8s} {'mean':>8s} "
    f"{'median':>8s} {'largest':>8s}"
)


@dataclass
class Contender:
    """One way to find margins: on how many images, with how many threads, and how it went."""

    name: str
    run: Run
    images: int
    threads: int
    loop: bool = False
    distances: Tensor = field(default_factory=lambda: torch.empty(0))
    forwards: float = 0.0
    backwards: float = 0.0
    wall: float = torch.inf
    processor: float = torch.inf
    inside: float = 0.0

    def compete(self, network: nn.Module, images: Tensor) -> None:
        """Run once, watched; keep the better times, in seconds a pair."""
        torch.set_num_threads(self.threads)
        subset = images[: self.images]
        whole = Stopwatch(images.device)
        with watched(network, images.device) as model, whole.running():
            found = self.run(model, subset)
        pairs = found.shape[0] * found.shape[1]
        self.distances = _judged(network, subset, found)
        self.forwards, self.backwards = (
            sum(count for kind, count in model.log.passes if kind.startswith(way)) / pairs
            for way in ("forward", "backward")
        )
        if whole.wall / pairs < self.wall:
            self.wall = whole.wall / pairs
            self.inside = model.log.inside.wall / whole.wall
        self.processor = min(self.processor, whole.processor / pairs)

    def as_json(self, loop: tuple[float, float]) -> dict[str, Any]:
        """Return all there is to say, with the ratios to the seconds a pair of the loop."""
        found = self.distances.isfinite()
        median = self.distances.median()
        return {
            "contender": self.name,
            "images": self.images,
            "threads": self.threads,
            "pairs": self.distances.numel(),
            "pairs_per_wall_second": 1 / self.wall,
            "pairs_per_processor_second": 1 / self.processor,
            "times_as_fast_as_loop_wall": loop[0] / self.wall,
            "times_as_fast_as_loop_processor": loop[1] / self.processor,
            "found": found.double().mean().item(),
            "median_margin": median.item() if median.isfinite() else None,
            "forwards_per_pair": self.forwards,
            "backwards_per_pair": self.backwards,
            "share_inside_passes": self.inside,
        }

    def line(self, loop: tuple[float, float]) -> str:
        """Say it in one line of the table."""
        return (
            f"{self.name:24s} {self.distances.numel():5d} {1 / self.wall:7.2f} "
            f"{1 / self.processor:7.2f} {loop[0] / self.wall:6.1f} "
            f"{loop[1] / self.processor:6.1f} "
            f"{self.distances.isfinite().double().mean():7.1%} {self.distances.median():7.4f} "
            f"{self.forwards:7.1f} {self.backwards:6.1f} {self.inside:7.1%}"
        )


def _judged(network: nn.Module, images: Tensor, found: Tensor) -> Tensor:
    """Return the lengths (M, N) of perturbations; infinite where the class is the same."""
    with torch.no_grad():
        labels = network(images).argmax(dim=1)
        other = torch.stack([network(images + part).argmax(dim=1) != labels for part in found])
    lengths = torch.linalg.vector_norm(found.flatten(2).double(), dim=2)
    return lengths.where(other, torch.inf).cpu()


def contenders(blocks: list[Block], options: argparse.Namespace) -> Iterator[Contender]:
    """Yield the loop with each number of threads, then ours."""

    def loop(model: nn.Module, images: Tensor) -> Tensor:
        bases = [published_margins.dense_basis(block, images) for block in blocks]
        return published_margins.margins(model, images, bases)

    def ours(model: nn.Module, images: Tensor, **kind: Any) -> Tensor:
        found = margins(model, images, blocks, chunk=options.chunk, perturbations=True, **kind)
        assert found.perturbations is not None
        return found.perturbations

    for threads in options.loop_threads:
        name = f"published loop, {threads} thr."
        yield Contender(name, loop, options.published_images, threads, loop=True)
    kinds: dict[str, dict[str, Any]] = {
        "legacy": {"legacy": True},
        "default": {},
        "none": {"refine": "none"},
        "normal": {"refine": "normal"},
    }
    for name, kind in kinds.items():
        run = partial(ours, **kind)
        yield Contender(f"margins, {name}", run, options.images, options.threads)


def agreement(one: Contender, loop: Contender) -> dict[str, Any]:
    """Return how margins differ from the loop's, over the pairs that both found, relatively."""
    shared = min(one.images, loop.images)
    ours, theirs = one.distances[:, :shared], loop.distances[:, :shared]
    both = ours.isfinite() & theirs.isfinite()
    ratios = (ours / theirs)[both]
    return {
        "contender": one.name,
        "pairs": ratios.numel(),
        "median_margin": ours.median().item(),
        "loop_median_margin": theirs.median().item(),
        "median_ratio": ratios.median().item(),
        "mean_ratio": ratios.mean().item(),
        "median_relative_difference": (ratios - 1).abs().median().item(),
        "largest_relative_difference": (ratios - 1).abs().max().item(),
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8, help="for margins")
    parser.add_argument("--published-images", type=int, default=8, help="for the published loop")
    parser.add_argument("--rounds", type=int, default=1, help="whose best time counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loop-threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--float64", action="store_true", help="in parts (a) and (b)")
    parser.add_argument("--chunk", type=int, default=128, help="of pairs, in part (a)")
    parser.add_argument("--memory-chunks", type=int, nargs="*", default=[32, 64, 128])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    if min(options.images, options.published_images, options.rounds) < 1:
        parser.error("images and rounds are counted from 1")
    return options


def main() -> None:
    """Run the comparisons that the arguments ask for."""
    options = parse()
    count = max(options.images, options.published_images)
    network, images, what = subject(count, torch.device(options.device))
    network.requires_grad_(False)
    if options.float64:
        network, images = network.double(), images.double()
    blocks = diagonal_blocks((3, 32, 32), 8, 2)
    print(
        f"ResNet-20, {what}; {len(blocks)} subspaces of dimension {blocks[0].dim}; "
        f"{options.device}, {images.dtype}, {options.threads} threads, chunk {options.chunk}"
    )
    chosen = list(contenders(blocks, options))
    loops = [one for one in chosen if one.loop]
    margins(network, images[:1], blocks[:1], refine="normal")
    for number in range(options.rounds):
        print(f"\nRound {number + 1}\n{TITLES}" if number else f"\n{TITLES}")
        for one in chosen:
            one.compete(network, images)
            best = min(loop.wall for loop in loops), min(loop.processor for loop in loops)
            print(one.line(best), flush=True)
    record: dict[str, Any] = {
        "subject": what,
        "device": options.device,
        "dtype": str(images.dtype),
        "chunk": options.chunk,
        "rounds": options.rounds,
        "rows": [one.as_json(best) for one in chosen],
        "agreement": [agreement(one, loops[0]) for one in chosen if one is not loops[0]],
    }
    print(f"\nMargins over those of the {loops[0].name}, on the images of both\n{AGREEMENT_TITLES}")
    for row in record["agreement"]:
        print(
            f"{row['contender']:24s} {row['pairs']:5d} {row['median_margin']:8.5f} "
            f"{row['loop_median_margin']:8.5f} {row['median_ratio']:8.5f} "
            f"{row['mean_ratio']:8.5f} {row['median_relative_difference']:8.1e} "
            f"{row['largest_relative_difference']:8.1e}",
            flush=True,
        )
    record["memory"] = margin_memory.report(options.memory_chunks, options.device, options.threads)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
