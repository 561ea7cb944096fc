"""Sparse attacks beside the network they attack, beside their peers, and beside the published loop.

    python benchmarks/sparse.py --images 64 --peer-images 8 --published-images 4 --json rows.json

Prints (a) how much of the time of a few attacks goes to the network's own forward and backward
passes, and how long a plain loop takes that makes the same passes and nothing else; (b) a row for
each attack: how many of the images it fools by a fresh look at what it returns, medians (over all
images, failures infinite) and means (where all are fooled) of changed pixels and components,
passes and seconds an image, and how many times as fast it is an image as a literal loop of the
published SparseFool in the same run; (c) the same counts over the first images, which attacks with
more images share with those that have fewer. Of wall and processor time only the second is steady
where other programs share the processor.

A component is changed if it differs from the clean image at all, and a pixel if any of its channels
does: attacks that touch pixels by rounding are charged for them. Peers are foolbox and
torchattacks, where they are installed; Brendel-Bethge of foolbox needs numba too, and its time
holds the compilation of its first run. A peer that crashes is skipped, with a word on why. Uses a
trained ResNet-20 and CIFAR-10 where they are found, else random weights and images.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sparse_contenders import PUBLISHED, Contender, contenders
from sparse_rows import TITLES, Row, judge
from torch import Tensor, nn
from watch import Share, attempt, share_as_json, share_of_the_network, subject

from robustkit import attacks
from robustkit.attacks import AttackResult


def shares(
    network: nn.Module, images: Tensor, steps: list[int], chosen: Callable[[str], bool]
) -> Iterator[Share]:
    """Yield how much of the time of a few attacks goes to the network's own passes."""
    subjects: dict[str, Callable[[nn.Module, Tensor], AttackResult]] = {
        "sparsefool": attacks.sparsefool,
        "sparsefool-legacy": partial(attacks.sparsefool, legacy=True),
    }
    for count in sorted(steps)[:1]:
        subjects[f"sigma-zero-{count}"] = partial(attacks.sigma_zero, steps=count)
    for name, attack in subjects.items():
        if chosen(name):
            yield share_of_the_network(name, network, images, attack)


def parse() -> argparse.Namespace:
    """Read the command line, and refuse names that no attack has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="for the attacks of robustkit")
    parser.add_argument("--peer-images", type=int, default=8)
    parser.add_argument("--published-images", type=int, default=4, help="for the published loop")
    parser.add_argument("--batch", type=int, default=256, help="of part (a); 0 skips it")
    parser.add_argument("--sigma-zero-steps", type=int, nargs="*", default=[100, 300])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loop-threads", type=int, default=1, help="of the published loop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--only",
        nargs="+",
        default=["*"],
        metavar="NAME",
        help=f"attacks, as in 'sparsefool*'; without {PUBLISHED} there are no ratios to it",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    options = parser.parse_args()
    options.contenders = list(
        contenders(
            images=options.images,
            peer_images=options.peer_images,
            published_images=options.published_images,
            steps=options.sigma_zero_steps,
            threads=options.threads,
            loop_threads=options.loop_threads,
        )
    )
    names = [contender.name for contender in options.contenders]
    for pattern in options.only:
        if not any(fnmatch(name, pattern) for name in names):
            parser.error(f"no attack is called {pattern!r}; there are {', '.join(names)}")
    return options


def compete(network: nn.Module, images: Tensor, contender: Contender) -> Row | None:
    """Run and judge one attack; None, with a word on why, if it is a peer's and crashes."""
    torch.set_num_threads(contender.threads)
    subset = images[: contender.images]
    try:
        run = attempt(network, contender.run, subset)
    except Exception as error:
        if contender.ours:
            raise
        words = [type(error).__name__, *str(error).splitlines()[:1]]
        print(f"{contender.name:28s} crashed and is skipped: {': '.join(words)}", flush=True)
        return None
    return judge(network, contender.name, subset, run)


def main() -> None:
    """Run the comparisons that the arguments ask for."""
    options = parse()
    torch.set_num_threads(options.threads)
    chosen = [
        one
        for one in options.contenders
        if one.images > 0 and any(fnmatch(one.name, pattern) for pattern in options.only)
    ]
    count = max([options.batch, *(contender.images for contender in chosen), 1])
    network, images, what = subject(count, torch.device(options.device))
    network.requires_grad_(False)
    print(
        f"ResNet-20, {what}; {options.device}, {options.threads} threads, "
        f"{options.loop_threads} for the published loop"
    )
    attacks.sparsefool(network, images[:8], steps=1)
    record: dict[str, Any] = {
        "subject": what,
        "device": options.device,
        "threads": options.threads,
        "loop_threads": options.loop_threads,
        "shares": [],
        "rows": [],
    }
    names = {contender.name for contender in chosen}
    if options.batch:
        batch = images[: options.batch]
        for share in shares(network, batch, options.sigma_zero_steps, names.__contains__):
            print(share, flush=True)
            record["shares"].append(share_as_json(share))
    print(f"\n{TITLES}")
    rows: list[Row] = []
    for contender in chosen:
        row = compete(network, images, contender)
        if row is None:
            continue
        rows.append(row)
        loop = rows[0] if rows[0].name == PUBLISHED else None
        print(row.line(loop), flush=True)
        record["rows"].append(row.as_json(loop))
        if options.json:
            options.json.write_text(json.dumps(record, indent=1) + "\n")
    sizes = sorted({len(row.pixels) for row in rows})
    for first in sizes[:-1]:
        print(f"\nOn the first {first} images alone")
        for row in rows:
            if len(row.pixels) >= first:
                print(row.counts(first))


if __name__ == "__main__":
    main()
