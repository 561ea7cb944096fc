"""What inference that withstands shifts costs, in forward passes of the network it surrounds.

    python benchmarks/translation.py --batch 8 --threads 2 --json rows.json
    python benchmarks/translation.py --network resnet50 --batch 256 --device cuda

Prints (a) what a batch of windows takes, in milliseconds of the clock and of the processor and as a
share of the network's forward pass on crops of these windows: selections by RICS with each score
and of each kind, with gaps and hashes or only the crops that inference needs, canonical forms of
circular shifts, and the passes of the peers, which include the network; a time is the best of some
rounds, and where other programs share the processor only processor time is nearly steady. Windows
are 8-bit, as files have them: the goal, a selection for 2 % of a pass of MobileNetV2 on two cores
and 3 % of one of ResNet-50 on a GPU, is about those. Rows "of floats" also pay for finding the
levels again, which `predict` and `adversary` avoid: they hand 8-bit images on as they are.
(b) How many images the network labels in the exhaustive adversary with RICS around it, where every
shift alike would take one: that depends on the pictures, which are photographs that come with
scikit-image and scikit-learn, and not on the network's weights; and the time of it beside that of
the same number of passes. (c) A vote over crops, beside as many passes as it has crops. The network
has random weights.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from skimage import data as pictures
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.nn.functional import interpolate
from watch import Stopwatch

from robustkit.errors import InputError
from robustkit.models import Normalized
from robustkit.translation.adversary import adversary
from robustkit.translation.averaging import CropAverage, ReflectionPad
from robustkit.translation.circular import canonical
from robustkit.translation.polyphase import with_blur_pool, with_polyphase
from robustkit.translation.rics import RICS
from robustkit.translation.shifts import CropShift
from robustkit.translation.sliding_vote import SlidingVote

SCORES = ("filter", "hash", "laplacian")
TITLES = (
    f"{'':34s} {'milliseconds':>17s} {'of a forward pass':>19s}\n"
    f"{'':34s} {'wall':>8s} {'process.':>8s} {'wall':>9s} {'process.':>9s}"
)


@dataclass
class Cost:
    """The least seconds of a call so far."""

    name: str
    wall: float = torch.inf
    processor: float = torch.inf

    def beside(self, forward: "Cost") -> str:
        """Say it in one line of the table."""
        return (
            f"{self.name:34s} {1e3 * self.wall:8.1f} {1e3 * self.processor:8.1f} "
            f"{self.wall / forward.wall:9.2%} {self.processor / forward.processor:9.2%}"
        )


def measured(
    name: str, call: Callable[[], object], device: torch.device, rounds: int, *, warm: bool = True
) -> Cost:
    """Call once for nothing, if `warm`, then in rounds; keep the better times."""
    cost = Cost(name)
    if warm:
        call()
    for _ in range(rounds):
        watch = Stopwatch(device)
        with watch.running():
            call()
        cost.wall = min(cost.wall, watch.wall)
        cost.processor = min(cost.processor, watch.processor)
    return cost


def photographs(size: int, count: int) -> Tensor:
    """Return `count` uint8 photographs `(N, 3, size, size)`, the middles of what is installed."""
    found = [pictures.astronaut(), pictures.chelsea(), pictures.coffee(), pictures.rocket()]
    squares = []
    for picture in (*load_sample_images().images, *found):
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
        side = min(image.shape[2:])
        top, left = ((length - side) // 2 for length in image.shape[2:])
        square = image[:, :, top : top + side, left : left + side]
        squares.append(interpolate(square, (size, size), mode="bilinear", antialias=True))
    every = torch.cat(squares).round().clamp(0, 255).to(torch.uint8)
    return every[torch.arange(count) % len(every)]


def contenders(
    model: nn.Module, windows: Tensor, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is timed on a batch of windows, by name."""
    crop, pixels = options.crop, windows.float() / 255
    for score in SCORES:
        rics = RICS(model, crop, score=score)
        yield f"select, {score}", partial(rics.select, windows)
        yield f"  the crops alone, {score}", partial(rics.crops, windows)
        yield f"  the same of floats, {score}", partial(rics.crops, pixels)
    for how in ("landmark", "bottomk"):
        rics = RICS(model, crop, score="hash", select=how)
        yield f"select, hash, {how}", partial(rics.select, windows)
    yield "canonical form, circular", partial(canonical, windows)
    yield "  the same of floats", partial(canonical, pixels)
    middle = CropShift(crop).base(pixels).contiguous()
    peers: dict[str, tuple[nn.Module, Tensor]] = {
        "RICS, filter": (RICS(model, crop), windows),
        "RICS, hash": (RICS(model, crop, score="hash"), windows),
        "adaptive polyphase sampling": (with_polyphase(model), middle),
        "  with circular padding": (with_polyphase(model, padding="circular"), middle),
        "mean over 3 x 3 crops": (CropAverage(model, crop, count=3), windows),
        "reflection by 16 pixels": (ReflectionPad(model, 16), middle),
    }
    try:
        peers["blur pooling"] = with_blur_pool(model), middle
    except InputError as error:
        print(f"blur pooling: {error}")
    for name, (module, images) in peers.items():
        yield name, partial(module, images)


def attack(model: nn.Module, score: str, each: Cost, options: argparse.Namespace) -> dict[str, Any]:
    """Let all shifts attack photographs, watched; `each` is the cost of a pass of one image."""
    source = photographs(options.window + 2 * options.radius, options.images)
    source = source.to(options.device)
    rics = RICS(model, options.crop, score=score).eval()
    call = partial(adversary, rics, source, None, CropShift(options.window), options.radius)
    found, cost = call(), measured(score, call, torch.device(options.device), 2, warm=False)
    calls = found.calls.double()
    return {
        "score": score,
        "images": len(source),
        "shifts": len(found.shifts),
        "mean_labelled": calls.mean().item(),
        "most_labelled": int(calls.max()),
        "wall": cost.wall,
        "processor": cost.processor,
        "passes_wall": cost.wall / each.wall / len(source),
        "passes_processor": cost.processor / each.processor / len(source),
    }


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="mobilenet_v2", help="of torchvision")
    parser.add_argument("--batch", type=int, default=8, help="windows in parts (a) and (c)")
    parser.add_argument("--images", type=int, default=6, help="photographs in part (b)")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--radius", type=int, default=8, help="of the adversary")
    parser.add_argument("--vote-stride", type=int, default=16, help="1 for a certificate")
    parser.add_argument("--rounds", type=int, default=3, help="whose best time counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    if min(options.batch, options.images, options.rounds) < 1:
        parser.error("windows, images and rounds are counted from 1")
    return options


@torch.no_grad()
def main() -> None:
    """Run the comparisons that the arguments ask for."""
    options = parse()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    network = torchvision.models.get_model(options.network, weights=None)
    model = Normalized(network.eval(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).to(device)
    windows = photographs(options.window, options.batch).to(device)
    crops = CropShift(options.crop).base(windows.float() / 255).contiguous()
    print(
        f"{options.network}, random weights; {options.batch} windows of {options.window} x "
        f"{options.window}, crops of {options.crop} x {options.crop}; {options.device}, "
        f"{options.threads} threads\n\n{TITLES}"
    )
    forward = measured("forward pass", partial(model, crops), device, options.rounds)
    print(forward.beside(forward), flush=True)
    costs = [forward]
    for name, call in contenders(model, windows, options):
        costs.append(measured(name, call, device, options.rounds))
        print(costs[-1].beside(forward), flush=True)
    each = Cost("", forward.wall / options.batch, forward.processor / options.batch)
    record: dict[str, Any] = {
        "network": options.network,
        "batch": options.batch,
        "window": options.window,
        "crop": options.crop,
        "device": options.device,
        "threads": options.threads,
        "rounds": options.rounds,
        "costs": [asdict(cost) for cost in costs],
        "adversary": [],
    }
    print(f"\nExhaustive adversary of radius {options.radius}")
    for score in ("filter", "hash"):
        row = attack(model, score, each, options)
        record["adversary"].append(row)
        print(
            f"RICS, {score}: {row['shifts']} shifts of {row['images']} photographs; labelled are "
            f"{row['mean_labelled']:.2f} images for one, at most {row['most_labelled']}; as long "
            f"as {row['passes_wall']:.2f} passes an image ({row['passes_processor']:.2f} in "
            "processor time)",
            flush=True,
        )
    vote = SlidingVote(model, options.crop, stride=options.vote_stride).eval()
    cost = measured("vote", partial(vote.votes, windows), device, 1, warm=False)
    axis = (options.window - options.crop) // options.vote_stride + 1
    crops_each = axis**2
    shares = (
        cost.wall / (crops_each * forward.wall),
        cost.processor / (crops_each * forward.processor),
    )
    record["vote"] = {
        "stride": options.vote_stride,
        "crops": crops_each,
        "wall": cost.wall,
        "processor": cost.processor,
        "of_as_many_passes_wall": shares[0],
        "of_as_many_passes_processor": shares[1],
    }
    print(
        f"\nVote over {crops_each} crops, {options.vote_stride} pixels apart: "
        f"{1e3 * cost.wall:.1f} milliseconds, {shares[0]:.1%} of as many passes ({shares[1]:.1%} "
        "in processor time)"
    )
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
