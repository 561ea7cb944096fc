"""DeepFool beside the network it attacks, and beside its peers.

    python benchmarks/deepfool.py --batches 16 256 --peer-images 64 --threads 2 --json rows.json

Prints (a) how much of the time goes to the network's own forward and backward passes, and how long
a plain loop takes that makes the same passes and nothing else; (b) images per second, fooled share,
median distance and passes per image beside foolbox and torchattacks, where they are installed, each
on the same images as the run of robustkit before it. Ratios are given in wall time and in processor
time: where other programs share the processor only the second is steady. Uses a trained ResNet-20
and CIFAR-10 where they are found, else random weights and images.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from watch import Attack, Stopwatch, attempt, share_as_json, share_of_the_network, subject

from robustkit.attacks import deepfool


def run_robustkit(norm: int | str) -> Attack:
    """Return our attack."""
    return lambda model, images, labels: deepfool(model, images, labels, norm=norm).adversarial


def peers(norm: int | str) -> Iterator[tuple[str, Attack]]:
    """Yield the installed implementations of DeepFool for a norm, with bounds [0, 1]."""
    try:
        import foolbox
    except ImportError:
        print("foolbox is not installed: skipped")
    else:
        kinds = {2: foolbox.attacks.L2DeepFoolAttack, "inf": foolbox.attacks.LinfDeepFoolAttack}

        def run_foolbox(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
            attack = kinds[norm](steps=50, candidates=10, overshoot=0.02)
            _, adversarial, _ = attack(wrapped, images, labels, epsilons=None)
            return adversarial

        yield "foolbox", run_foolbox
    if norm != 2:
        return
    try:
        import torchattacks
    except ImportError:
        print("torchattacks is not installed: skipped")
    else:
        yield (
            "torchattacks",
            lambda model, images, labels: torchattacks.DeepFool(model, steps=50, overshoot=0.02)(
                images, labels
            ),
        )


@dataclass(frozen=True)
class Run:
    """What one attack did: its seconds, the share it fooled, and what an image took."""

    norm: str
    name: str
    images: int
    wall: float
    processor: float
    fooled: float
    median: float
    forwards: float
    backwards: float

    def __str__(self) -> str:
        return (
            f"l{self.norm}, {self.images} images: {self.name:12s} "
            f"{self.images / self.wall:6.2f} images/s, {self.fooled:.1%} fooled, median "
            f"{self.median:.5f}, {self.forwards:.1f} forward and {self.backwards:.1f} backward "
            "passes an image"
        )

    def as_json(self) -> dict[str, Any]:
        """Return the run for JSON, which has no infinity: a median of failures is null."""
        return asdict(self) | {"median": self.median if math.isfinite(self.median) else None}


def timed(
    network: nn.Module, name: str, attack: Attack, images: Tensor, norm: int | str
) -> tuple[Stopwatch, Run]:
    """Run one attack; return its time, and how it did."""
    run = attempt(network, attack, images)
    with torch.no_grad():
        fooled = network(run.adversarial).argmax(dim=1) != run.labels
    order = 2 if norm == 2 else math.inf
    lengths = torch.linalg.vector_norm((run.adversarial - images).flatten(1), order, dim=1)
    forwards, backwards = (run.log.per_image(way, len(images)) for way in ("forward", "backward"))
    return run.whole, Run(
        str(norm),
        name,
        len(images),
        run.whole.wall,
        run.whole.processor,
        fooled.double().mean().item(),
        lengths.where(fooled, torch.inf).median().item(),
        forwards,
        backwards,
    )


def main() -> None:
    """Run the comparisons that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 256])
    parser.add_argument("--peer-images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count = max([*options.batches, options.peer_images, 1])
    network, images, what = subject(count, torch.device(options.device))
    print(f"ResNet-20, {what}; {options.device}, {options.threads} threads")
    deepfool(network, images[:8])
    record: dict[str, Any] = {"subject": what, "device": options.device, "shares": [], "runs": []}
    for norm in (2, "inf"):
        for batch in options.batches:
            attack = partial(deepfool, norm=norm)
            share = share_of_the_network(f"l{norm}", network, images[:batch], attack)
            print(share, flush=True)
            record["shares"].append(share_as_json(share))
    subset = images[: options.peer_images]
    for norm in (2, "inf"):
        for name, attack in peers(norm) if len(subset) else ():
            ours, run = timed(network, "robustkit", run_robustkit(norm), subset, norm)
            theirs, other = timed(network, name, attack, subset, norm)
            print(f"{run}\n{other}", flush=True)
            print(f"  robustkit is {theirs.over(ours, '.2f')} times as fast", flush=True)
            record["runs"].append([run.as_json(), other.as_json()])
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
