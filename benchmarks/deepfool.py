"""DeepFool beside the network it attacks, and beside its peers.

    python benchmarks/deepfool.py --batches 16 256 --peer-images 64 --threads 2

Prints (a) how much of the time goes to the network's own forward and backward passes, and how long
a plain loop takes that makes the same passes and nothing else; (b) images per second, fooled share,
median distance and passes per image beside foolbox and torchattacks, where they are installed, each
on the same images as the run of robustkit before it. Ratios are given in wall time and in processor
time: where other programs share the processor only the second is steady. Uses a trained ResNet-20
and CIFAR-10 where they are found, else random weights and images.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustkit import data, models
from robustkit.attacks import AttackResult, deepfool
from robustkit.errors import DataError

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass
class Stopwatch:
    """Seconds spent in its blocks: by the clock on the wall, and by this process's threads."""

    device: torch.device
    wall: float = 0.0
    processor: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time a block, to the end of the work it gave the device."""
        start = self._now()
        yield
        end = self._now()
        self.wall += end[0] - start[0]
        self.processor += end[1] - start[1]

    def over(self, other: "Stopwatch", form: str) -> str:
        """Say the ratio to another stopwatch's time."""
        ratios = (
            format(self.wall / other.wall, form),
            format(self.processor / other.processor, form),
        )
        return f"{ratios[0]} ({ratios[1]} of processor time)"

    def _now(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter(), time.process_time()


@dataclass
class Log:
    """Passes through a network in order, as (kind, images), and the time inside them."""

    inside: Stopwatch
    passes: list[tuple[str, int]] = field(default_factory=list)

    def per_image(self, kind: str, count: int) -> str:
        """Say how many passes of a kind an image took part in."""
        total = sum(images for name, images in self.passes if name.startswith(kind))
        return f"{total / count:.1f} {kind}es"


class Watched(nn.Module):
    """A network that logs its forward passes."""

    def __init__(self, network: nn.Module, log: Log) -> None:
        super().__init__()
        self.network, self.log = network, log
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the network's logits."""
        kind = "forward pass" + (" with graph" if torch.is_grad_enabled() else "")
        self.log.passes.append((kind, len(images)))
        with self.log.inside.running():
            logits: Tensor = self.network(images)
        return logits


@contextmanager
def watched(network: nn.Module, device: torch.device) -> Iterator[Watched]:
    """Log the passes of a network, forward and back, within the block."""
    log = Log(Stopwatch(device))
    original = torch.autograd.grad, torch.autograd.backward

    def logged(call):
        def run(outputs, *rest, **options):
            # The batch of a backward pass is that of the forward pass it goes back through.
            batch = next(n for kind, n in reversed(log.passes) if kind.startswith("forward"))
            with log.inside.running():
                result = call(outputs, *rest, **options)
            log.passes.append(("backward pass", batch))
            return result

        return run

    torch.autograd.grad, torch.autograd.backward = map(logged, original)
    try:
        yield Watched(network, log)
    finally:
        torch.autograd.grad, torch.autograd.backward = original


def replay(network: nn.Module, images: Tensor, passes: list[tuple[str, int]]) -> None:
    """Make the same passes in a plain loop that does nothing else."""
    inputs, logits = images, torch.empty(0)
    for position, (kind, count) in enumerate(passes):
        if kind == "forward pass":
            with torch.no_grad():
                network(images[:count])
        elif kind == "backward pass":
            keep = passes[position + 1 : position + 2] == [(kind, count)]
            torch.autograd.grad(logits, inputs, torch.ones_like(logits), retain_graph=keep)
        else:
            inputs = images[:count].clone().requires_grad_()
            logits = network(inputs)


def subject(count: int, device: torch.device) -> tuple[nn.Module, Tensor, str]:
    """Return the network to attack, images, and what they are."""
    try:
        network = models.load("cifar10_resnet20", device=device)
        pixels = data.to_float(data.load("cifar10", limit=count).images)
        return network, pixels.to(device), "trained, on CIFAR-10 test images"
    except DataError:
        torch.manual_seed(0)
        network = models.build("resnet20").to(device).eval()
        return network, torch.rand(count, 3, 32, 32, device=device), "random, on random images"


def share_of_the_network(network: nn.Module, images: Tensor, norm: int | str) -> str:
    """Time the attack, the network within it, and the same passes alone."""
    whole, alone = Stopwatch(images.device), Stopwatch(images.device)
    with watched(network, images.device) as model, whole.running():
        found: AttackResult = deepfool(model, images, norm=norm)
    with alone.running():
        replay(network, images, model.log.passes)
    return (
        f"l{norm}, batch {len(images)}: of the time, {model.log.inside.over(whole, '.1%')} in the "
        f"network's passes; the same passes alone take {alone.over(whole, '.1%')}; "
        f"{found.forwards.double().mean():.1f} forwards, {found.backwards.double().mean():.1f} "
        f"backwards and {found.iterations.double().mean():.2f} iterations an image; "
        f"{found.forward_calls} + {found.backward_calls} calls, {whole.wall:.1f} s"
    )


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


def timed(
    network: nn.Module, attack: Attack, images: Tensor, norm: int | str
) -> tuple[Stopwatch, str]:
    """Run one attack; return its time, and how it did in words."""
    with torch.no_grad():
        labels = network(images).argmax(dim=1)
    whole = Stopwatch(images.device)
    with watched(network, images.device) as model, whole.running():
        adversarial = attack(model, images, labels)
    with torch.no_grad():
        fooled = network(adversarial).argmax(dim=1) != labels
    order = 2 if norm == 2 else math.inf
    lengths = torch.linalg.vector_norm((adversarial - images).flatten(1), order, dim=1)
    median = lengths.where(fooled, torch.inf).median()
    forward, backward = (
        model.log.per_image(f"{way} pass", len(images)) for way in ("forward", "backward")
    )
    return whole, (
        f"{len(images) / whole.wall:6.2f} images/s, {fooled.double().mean():.1%} fooled, median "
        f"{median:.5f}, {forward} and {backward} an image"
    )


def main() -> None:
    """Run the comparisons that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="*", default=[16, 256])
    parser.add_argument("--peer-images", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count = max([*options.batches, options.peer_images, 1])
    network, images, what = subject(count, torch.device(options.device))
    print(f"ResNet-20, {what}; {options.device}, {options.threads} threads")
    deepfool(network, images[:8])
    for norm in (2, "inf"):
        for batch in options.batches:
            print(share_of_the_network(network, images[:batch], norm), flush=True)
    subset = images[: options.peer_images]
    for norm in (2, "inf"):
        for name, attack in peers(norm) if len(subset) else ():
            ours, words = timed(network, run_robustkit(norm), subset, norm)
            print(f"l{norm}, {len(subset)} images: robustkit    {words}", flush=True)
            theirs, words = timed(network, attack, subset, norm)
            print(f"l{norm}, {len(subset)} images: {name:12s} {words}", flush=True)
            print(f"  robustkit is {theirs.over(ours, '.2f')} times as fast", flush=True)


if __name__ == "__main__":
    main()
