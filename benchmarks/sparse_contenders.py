"""The sparse attacks to compare: those of robustkit, those of its peers, and the published loop."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import published_sparsefool
import torch
from torch import Tensor, nn
from watch import Attack

from robustkit import attacks
from robustkit.attacks import AttackResult

PUBLISHED = "published-loop"
# Of both one-pixel attacks: candidates in a generation, and generations after the first.
POPULATION, GENERATIONS = 100, 10


@dataclass(frozen=True)
class Contender:
    """An attack, on how many of the images, with how many threads; `ours` must not crash."""

    name: str
    run: Attack
    images: int
    threads: int
    ours: bool = False


def ours(steps: list[int]) -> Iterator[tuple[str, Attack]]:
    """Yield the sparse attacks of robustkit, sigma-zero with each number of steps."""

    def attack(run: Callable[..., AttackResult], **options: Any) -> Attack:
        return lambda model, images, labels: run(model, images, labels, **options).adversarial

    def pruned(model: nn.Module, images: Tensor, labels: Tensor, *, steps: int) -> AttackResult:
        found = attacks.sigma_zero(model, images, labels, steps=steps)
        return attacks.prune(model, found)

    def next_class(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        targets = (labels + 1) % 10
        return attacks.jsma(model, images, labels, targets=targets).adversarial

    yield "sparsefool", attack(attacks.sparsefool)
    yield "sparsefool-32", attack(attacks.sparsefool, candidates=32)
    yield "sparsefool-64", attack(attacks.sparsefool, candidates=64)
    yield "sparsefool-bfloat16", attack(attacks.sparsefool, precision=torch.bfloat16)
    yield "sparsefool-pixel", attack(attacks.sparsefool, unit="pixel")
    yield "sparsefool-l0-order", attack(attacks.sparsefool, candidates=0)
    yield "sparsefool-legacy", attack(attacks.sparsefool, legacy=True)
    for count in steps:
        yield f"sigma-zero-{count}", attack(attacks.sigma_zero, steps=count)
        yield f"sigma-zero-{count}-pruned", attack(pruned, steps=count)
    yield "jsma", attack(attacks.jsma)
    # The target that torchattacks takes for want of another.
    yield "jsma-next-class", next_class
    small = {"population": POPULATION, "generations": GENERATIONS}
    yield "one-pixel", attack(attacks.one_pixel, **small)


def peers() -> Iterator[tuple[str, Attack]]:
    """Yield the sparse attacks of the installed peers, with bounds [0, 1]."""
    try:
        import torchattacks
    except ImportError:
        print("torchattacks is not installed: skipped")
    else:

        def of_torchattacks(kind: str, **options: Any) -> Attack:
            def run(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
                found: Tensor = getattr(torchattacks, kind)(model, **options)(images, labels)
                return found

            return run

        yield "torchattacks-sparsefool", of_torchattacks("SparseFool", steps=20, lam=3)
        yield "torchattacks-jsma", of_torchattacks("JSMA")
        small = {"popsize": POPULATION, "steps": GENERATIONS}
        yield "torchattacks-one-pixel", of_torchattacks("OnePixel", **small)
    try:
        import foolbox
    except ImportError:
        print("foolbox is not installed: skipped")
    else:

        def of_foolbox(kind: str, **options: Any) -> Attack:
            def run(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
                wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
                attack = getattr(foolbox.attacks, kind)(**options)
                found: tuple[Tensor, ...] = attack(wrapped, images, labels, epsilons=None)
                return found[1]

            return run

        yield "foolbox-fmn-100", of_foolbox("L0FMNAttack", steps=100)
        yield "foolbox-brendel-bethge", of_foolbox("L0BrendelBethgeAttack")


def contenders(
    *,
    images: int,
    peer_images: int,
    published_images: int,
    steps: list[int],
    threads: int,
    loop_threads: int,
) -> Iterator[Contender]:
    """Yield all attacks with their share of the images, the published loop first."""

    def loop(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return published_sparsefool.sparsefool(model, images)

    yield Contender(PUBLISHED, loop, published_images, loop_threads, ours=True)
    for name, attack in ours(steps):
        yield Contender(name, attack, images, threads, ours=True)
    for name, attack in peers():
        yield Contender(name, attack, peer_images, threads)
