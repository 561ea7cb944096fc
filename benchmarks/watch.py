"""What the benchmarks share: a subject, a network that logs its passes, and stopwatches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robustkit import data, models
from robustkit.attacks import AttackResult
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

    def per_image(self, way: str, count: int) -> float:
        """Return how many passes of a way ("forward" or "backward") one of `count` images took."""
        return sum(images for kind, images in self.passes if kind.startswith(way)) / count


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
    largest = max((count for _, count in passes), default=0)
    if largest > len(images):
        # An attack that tries several candidates of one image makes passes larger than the batch.
        images = images[torch.arange(largest, device=images.device) % len(images)]
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


@dataclass(frozen=True)
class Attempt:
    """One run of an attack: its time, the passes it made, and what it returned for what labels."""

    whole: Stopwatch
    log: Log
    adversarial: Tensor
    labels: Tensor


def attempt(network: nn.Module, attack: Attack, images: Tensor) -> Attempt:
    """Run an attack away from the network's own predictions, watched."""
    with torch.no_grad():
        labels = network(images).argmax(dim=1)
    whole = Stopwatch(images.device)
    with watched(network, images.device) as model, whole.running():
        adversarial = attack(model, images, labels)
    return Attempt(whole, model.log, adversarial, labels)


@dataclass(frozen=True)
class Share:
    """The time of an attack, that of its passes within it, and that of the same passes alone."""

    name: str
    whole: Stopwatch
    inside: Stopwatch
    alone: Stopwatch
    found: AttackResult

    def __str__(self) -> str:
        found = self.found
        return (
            f"{self.name}, batch {len(found)}: of the time, {self.inside.over(self.whole, '.1%')} "
            f"in the network's passes; the same passes alone take "
            f"{self.alone.over(self.whole, '.1%')}; {found.forwards.double().mean():.1f} forwards, "
            f"{found.backwards.double().mean():.1f} backwards and "
            f"{found.iterations.double().mean():.2f} iterations an image; {found.forward_calls} + "
            f"{found.backward_calls} calls, {self.whole.wall:.1f} s"
        )


def share_of_the_network(
    name: str,
    network: nn.Module,
    images: Tensor,
    attack: Callable[[nn.Module, Tensor], AttackResult],
) -> Share:
    """Time an attack, the network within it, and the same passes alone."""
    whole, alone = Stopwatch(images.device), Stopwatch(images.device)
    with watched(network, images.device) as model, whole.running():
        found = attack(model, images)
    with alone.running():
        replay(network, images, model.log.passes)
    return Share(name, whole, model.log.inside, alone, found)


def share_as_json(share: Share) -> dict[str, Any]:
    """Return the seconds and the calls of a share for JSON."""
    watches = {"whole": share.whole, "inside_passes": share.inside, "passes_alone": share.alone}
    return {
        "attack": share.name,
        "images": len(share.found),
        "most_iterations": int(share.found.iterations.max()),
        "forward_calls": share.found.forward_calls,
        "backward_calls": share.found.backward_calls,
        **{f"{name}_wall_seconds": watch.wall for name, watch in watches.items()},
        **{f"{name}_processor_seconds": watch.processor for name, watch in watches.items()},
    }
