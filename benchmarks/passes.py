"""What the networks themselves cost: a forward pass, a backward pass, a step of training.

    python benchmarks/passes.py --networks resnet20:32:128 mobilenet_v2:224:8 --json rows.json

Prints (a) for each network, given as name, side of its images and batch, what an image takes in a
forward pass, and in a forward and a backward pass; a time is the best of some rounds. The other
benchmarks are read beside these. (b) How much longer a step of training takes with PRIME: a
ResNet-18 in its CIFAR form on random images, forward, backward and step of the optimiser, in
bfloat16 on a GPU. Weights are random. Networks of robustkit take images of 32 pixels, others are
those of torchvision.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from watch import Stopwatch

from robustkit import models
from robustkit.augment import Prime


def best(call: Callable[[], object], device: torch.device, rounds: int) -> dict[str, float]:
    """Call once for nothing, then in rounds; return the better times in seconds."""
    call()
    found = {"wall": torch.inf, "processor": torch.inf}
    for _ in range(rounds):
        watch = Stopwatch(device)
        with watch.running():
            call()
        found = {name: min(time, getattr(watch, name)) for name, time in found.items()}
    return found


def own(name: str, side: int, batch: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """Return what the passes of a network take an image."""
    torch.manual_seed(0)
    images = torch.rand(batch, 3, side, side, device=device)
    build = models.build if side == 32 else partial(torchvision.models.get_model, weights=None)
    network = build(name).to(device).eval().requires_grad_(False)

    def both() -> None:
        leaf = images.clone().requires_grad_()
        network(leaf).sum().backward()

    with torch.no_grad():
        forward = best(partial(network, images), device, rounds)
    times = {"forward": forward, "both": best(both, device, rounds)}
    row: dict[str, Any] = {"network": name, "size": side, "batch": batch}
    for what, found in times.items():
        row |= {f"{what}_{clock}": time / batch for clock, time in found.items()}
    return row


def step(
    transform: Callable[[Tensor], Tensor], batch: int, device: torch.device
) -> Callable[[], None]:
    """Return a step of training a ResNet-18 on one batch of random images."""
    torch.manual_seed(0)
    network: nn.Module = models.build("resnet18").to(device).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    images = torch.rand(batch, 3, 32, 32, device=device)
    labels = torch.randint(10, (batch,), device=device)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = cross_entropy(network(transform(images)), labels)
        loss.backward()
        optimizer.step()

    return run


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--networks", nargs="*", default=["resnet20:32:128", "mobilenet_v2:224:8"], metavar="NAME"
    )
    parser.add_argument("--training-batch", type=int, default=64, help="0 leaves out part (b)")
    parser.add_argument("--rounds", type=int, default=3, help="whose best time counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    return parser.parse_args()


def main() -> None:
    """Run the measurements that the arguments ask for."""
    options = parse()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    record: dict[str, Any] = {"own": [], "training": None}
    for asked in options.networks:
        name, side, batch = asked.split(":")
        row = own(name, int(side), int(batch), device, options.rounds)
        record["own"].append(row)
        print(
            f"{name}, {side} pixels, batch {batch}: forward {1e3 * row['forward_wall']:.2f} ms an "
            f"image, forward and backward {1e3 * row['both_wall']:.2f}",
            flush=True,
        )
    if options.training_batch:
        kinds: dict[str, Callable[[Tensor], Tensor]] = {"plain": nn.Identity(), "prime": Prime()}
        record["training"] = {"batch": options.training_batch} | {
            name: best(step(transform, options.training_batch, device), device, options.rounds)
            for name, transform in kinds.items()
        }
        plain, prime = (record["training"][name]["wall"] for name in kinds)
        print(f"a step of training takes {prime / plain:.3f} times as long with PRIME")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
