"""One row a sparse attack: what it changed, how often it fooled, and what it cost."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from watch import Attempt

TITLES = (
    f"{'':28s} {'':>6s} {'':>7s} {'pixels':>7s} {'':>7s} {'compon.':>7s} {'':>7s} {'passes':>7s} "
    f"{'':>7s} {'seconds':>8s} {'':>8s} {'x loop':>7s} {'':>7s}\n"
    f"{'attack':28s} {'images':>6s} {'fooled':>7s} {'median':>7s} {'mean':>7s} {'median':>7s} "
    f"{'mean':>7s} {'forward':>7s} {'back':>7s} {'wall':>8s} {'process.':>8s} {'wall':>7s} "
    f"{'proc.':>7s}"
)


@dataclass(frozen=True)
class Row:
    """What one attack did: counts of each image, infinite where it failed, and costs an image."""

    name: str
    pixels: Tensor
    components: Tensor
    forwards: float
    backwards: float
    wall: float
    processor: float

    def counts(self, first: int) -> str:
        """Say how many of the first images were fooled, and at what changes."""
        pixels, components = self.pixels[:first], self.components[:first]
        fooled = pixels.isfinite()
        numbers = (
            f"{values.median():7.1f} " + (f"{values.mean():7.2f}" if fooled.all() else f"{'-':>7s}")
            for values in (pixels, components)
        )
        return f"{self.name:28s} {len(pixels):6d} {fooled.double().mean():7.1%} {' '.join(numbers)}"

    def line(self, loop: "Row | None") -> str:
        """Say it all, with the ratio to the time of the published loop where that was run."""
        ratios = (
            (f"{loop.wall / self.wall:7.3g}", f"{loop.processor / self.processor:7.3g}")
            if loop
            else (f"{'-':>7s}", f"{'-':>7s}")
        )
        return (
            f"{self.counts(len(self.pixels))} {self.forwards:7.1f} {self.backwards:7.1f} "
            f"{self.wall:8.4f} {self.processor:8.4f} {' '.join(ratios)}"
        )

    def as_json(self, loop: "Row | None") -> dict[str, Any]:
        """Return the row for JSON, which has no infinity: a failure's counts are null."""
        fooled = self.pixels.isfinite()
        listed = {
            name: [int(value) if value.isfinite() else None for value in values]
            for name, values in (("pixels", self.pixels), ("components", self.components))
        }
        return {
            "attack": self.name,
            "images": len(self.pixels),
            "fooled": fooled.double().mean().item(),
            **{f"median_{key}": _finite(getattr(self, key).median()) for key in listed},
            **{f"mean_{key}": _finite(getattr(self, key).mean()) for key in listed},
            "forwards_per_image": self.forwards,
            "backwards_per_image": self.backwards,
            "wall_seconds_per_image": self.wall,
            "processor_seconds_per_image": self.processor,
            "times_as_fast_as_loop_wall": loop.wall / self.wall if loop else None,
            "times_as_fast_as_loop_processor": loop.processor / self.processor if loop else None,
            **listed,
        }


def _finite(value: Tensor) -> float | None:
    return value.item() if value.isfinite() else None


def judge(network: nn.Module, name: str, images: Tensor, run: Attempt) -> Row:
    """Judge anew what an attack returned: a fooling image is finite and in [0, 1] up to 1e-6."""
    found = run.adversarial
    with torch.no_grad():
        logits = network(found)
    valid = ((found >= -1e-6) & (found <= 1 + 1e-6)).flatten(1).all(dim=1)
    valid &= logits.isfinite().all(dim=1)
    fooled = valid & (logits.argmax(dim=1) != run.labels)
    changed = found != images
    pixels = changed.any(dim=1).flatten(1).sum(dim=1).double()
    components = changed.flatten(1).sum(dim=1).double()
    forwards, backwards = (run.log.per_image(way, len(images)) for way in ("forward", "backward"))
    return Row(
        name,
        pixels.where(fooled, torch.inf),
        components.where(fooled, torch.inf),
        forwards,
        backwards,
        run.whole.wall / len(images),
        run.whole.processor / len(images),
    )
