"""The corruptions beside the published code, in milliseconds an image.

    python benchmarks/corruptions.py --sizes 32 224 --threads 2 --json rows.json

Prints for each corruption, severity and image size how long an image takes in a batch, with the
strengths for that size. Where imagecorruptions is installed, the published code, it is timed too,
one image at a time: it has the strengths of ImageNet-C alone, and beside it stands what robustkit
takes with these. Then come the sums over the 15 corruptions, and what 10,000 images take at that
rate. Frost is procedural here and cut from photographs there. Times are given by the clock and in
processor time: where other programs share the processor only the second is steady. At 32 pixels it
uses CIFAR-10 where that is found, else random images.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from watch import Stopwatch

from robustkit import data
from robustkit.corruptions import CORRUPTIONS, EXTRA, corrupt
from robustkit.errors import DataError

BATCHES = {32: 1000, 64: 250}
LABELS = {"frost": "frost (procedural)"}
OURS, ALIKE, PEER = "robustkit", "with ImageNet-C's strengths", "imagecorruptions"
Published = Callable[[str, int, Tensor], None]


def subject(size: int, count: int) -> tuple[Tensor, str]:
    """Return 8-bit images, and what they are."""
    if size == 32:
        try:
            return data.load("cifar10", limit=count).images, "CIFAR-10 test images"
        except DataError:
            pass
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, size // 8 + 1, size // 8 + 1, generator=draw)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    return (smooth.clamp(0, 1) * 255).to(torch.uint8), "random images"


def published() -> Published | None:
    """Return the published code, where it is installed."""
    try:
        import imagecorruptions
    except ImportError:
        print("imagecorruptions is not installed, or cannot be imported: skipped")
        return None

    def run(name: str, severity: int, images: Tensor) -> None:
        for image in images.permute(0, 2, 3, 1).cpu().numpy():
            imagecorruptions.corrupt(image, corruption_name=name, severity=severity)

    return run


def timed(run: Callable[[], object], device: torch.device) -> Stopwatch:
    """Time one run after one that does not count."""
    run()
    watch = Stopwatch(device)
    with watch.running():
        run()
    return watch


def each(watch: Stopwatch, count: int) -> str:
    """Say how long one of `count` images took."""
    return f"{1e3 * watch.wall / count:8.3f} ({1e3 * watch.processor / count:8.3f} of processor)"


def main() -> None:
    """Run the comparisons that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 224])
    parser.add_argument("--severities", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--batch", type=int, help="images in a batch; by default some megabytes")
    parser.add_argument("--peer-images", type=int, default=4)
    parser.add_argument("--extra", action="store_true", help="the four held-out corruptions too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the sums there too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, peer = torch.device(options.device), published()
    rows = []
    for size in options.sizes:
        count = options.batch or BATCHES.get(size, 16)
        images, what = subject(size, count)
        images = images.to(device)
        print(f"{size} pixels, batches of {count}, {what}; {options.device}; milliseconds an image")
        sums = {who: Stopwatch(device) for who in (OURS, ALIKE, PEER)}
        for name in (*CORRUPTIONS, *(EXTRA if options.extra else ())):
            for severity in options.severities:
                ours = timed(partial(corrupt, images, name, severity), device)
                runs = [(OURS, ours, count)]
                if peer is not None:
                    alike = partial(corrupt, images, name, severity, preset="imagenet")
                    few = images[: options.peer_images]
                    theirs = timed(partial(peer, name, severity, few), device)
                    runs += [(ALIKE, timed(alike, device), count), (PEER, theirs, len(few))]
                times = "   ".join(f"{who} {each(watch, number)}" for who, watch, number in runs)
                print(f"  {LABELS.get(name, name):18s} {severity}  {times}", flush=True)
                for who, watch, number in runs if name in CORRUPTIONS else ():
                    sums[who].wall += watch.wall / number
                    sums[who].processor += watch.processor / number
        severities = ", ".join(map(str, options.severities))
        for who, total in sums.items():
            if total.wall:
                rows.append(
                    {
                        "who": who,
                        "size": size,
                        "severities": options.severities,
                        "images": options.peer_images if who == PEER else count,
                        "wall": total.wall,
                        "processor": total.processor,
                    }
                )
                print(
                    f"  sum over the 15 at severities {severities}, {who}: {each(total, 1)}; "
                    f"10,000 images {10_000 * total.wall:.1f} s "
                    f"({10_000 * total.processor:.1f} s of processor)"
                )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
