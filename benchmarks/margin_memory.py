"""How much memory margins take: at their peak for a chunk of pairs, and in the subspaces they hold.

Peaks are taken in a process of their own for each chunk. On a processor the peak of margins is the
growth of the resident size, with all that allocators keep for later; the other two are the
peaks of torch's own allocations, which leave out the scratch of its convolutions. On a GPU all
three are what torch counts there.
"""

import json
import math
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from watch import replay, subject

from robustkit.margins import diagonal_blocks, margins
from robustkit.margins.stack import Stack

TITLES = (
    f"{'':6s} {'':6s} {'network':>9s} {'margins':>9s} {'margins':>9s} {'images':>9s}\n"
    f"{'chunk':>6s} {'pairs':>6s} {'alone':>9s} {'with it':>9s} {'beside it':>9s} {'a pair':>9s}"
)


@dataclass(frozen=True)
class Peak:
    """Bytes beyond those in use before, for one chunk.

    `network` is that of a forward and two backward passes of the network over a chunk of images,
    `whole` that of margins with this network, and `beside` that of margins with a network so small
    that its own is nothing. `images` is `beside` in images a pair of the chunk.
    """

    chunk: int
    pairs: int
    network: int
    whole: int
    beside: int
    images: float

    def __str__(self) -> str:
        mebibytes = (value / 2**20 for value in (self.network, self.whole, self.beside))
        return (
            f"{self.chunk:6d} {self.pairs:6d} {' '.join(f'{value:9.1f}' for value in mebibytes)} "
            f"{self.images:9.1f}"
        )


def report(chunks: list[int], device: str, threads: int) -> dict[str, Any]:
    """Measure and print the peaks of chunks, and the bytes of the blocks; return them for JSON."""
    # The last has four times the pairs of the first and the same chunk.
    sizes = [(chunk, 2 * chunk) for chunk in chunks] + [(chunk, 8 * chunk) for chunk in chunks[:1]]
    peaks = []
    print(f"\nMiB at the peak, beyond those in use before\n{TITLES}")
    for chunk, pairs in sizes:
        peaks.append(peak(chunk, pairs, device, threads))
        print(peaks[-1], flush=True)
    kept, factors, dense = imagenet_blocks()
    print(
        f"14 blocks of 224 x 224 images: {kept / 2**20:.2f} MiB held, of which the factors "
        f"are {factors / 2**20:.2f}; dense bases would be {dense / 2**20:.0f} MiB"
    )
    blocks = {"held": kept, "factors": factors, "dense": dense}
    return {"peaks": [vars(one) for one in peaks], "imagenet_blocks": blocks}


def peak(chunk: int, pairs: int, device: str, threads: int) -> Peak:
    """Measure in a fresh process what margins take at their peak for about so many pairs."""
    # The profiler reports on itself, unless it is told not to before torch is imported.
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")
    # A resident size never shrinks for certain: each measurement starts from a new process.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak, chunk, pairs, torch.device(device), threads).result()


def held(thing: Any) -> int:
    """Return the bytes of the tensors that an object keeps alive, each storage once."""
    return sum({one.data_ptr(): one.nbytes() for one in _storages(thing)}.values())


def imagenet_blocks() -> tuple[int, int, int]:
    """Return the bytes of the 14 published blocks of 224 x 224 images: ours and as dense bases.

    Ours are what `margins` holds once it has projected float32 images, and the factors of the
    blocks alone. Dense bases are float32, and only counted.
    """
    blocks = diagonal_blocks((3, 224, 224), 16)
    stack = Stack(blocks)
    images = torch.zeros(len(blocks), 3, 224, 224)
    stack.project(images, torch.arange(len(blocks)))
    factors = sum(base.nbytes for one in blocks for base in one.bases(images))
    dense = sum(one.dim * math.prod(one.shape) * images.element_size() for one in blocks)
    return held(stack), factors, dense


def _peak(chunk: int, pairs: int, device: torch.device, threads: int) -> Peak:
    torch.set_num_threads(threads)
    blocks = diagonal_blocks((3, 32, 32), 8, 2)
    count = math.ceil(pairs / len(blocks))
    network, images, _ = subject(max(chunk, count), device)
    network.requires_grad_(False)
    torch.manual_seed(0)
    small = nn.Sequential(nn.Flatten(), nn.Linear(3072, 32), nn.Tanh(), nn.Linear(32, 10))
    small = small.to(device).eval().requires_grad_(False)

    def run(model: nn.Module, subset: Tensor) -> None:
        # Two steps fill the front and refill it; later ones take no more.
        margins(model, subset, blocks, steps=2, chunk=chunk)

    def passes() -> None:
        backward = [("backward pass", chunk)] * 2
        replay(network, images[:chunk], [("forward pass with graph", chunk), *backward])

    for model in (small, network):
        run(model, images[:1])
    # First of all, before other calls leave memory for it to take.
    whole = _grown(device, lambda: run(network, images[:count]), resident=True)
    beside = _grown(device, lambda: run(small, images[:count]))
    alone = _grown(device, passes)
    per_pair = beside / (chunk * images[0].nbytes)
    return Peak(chunk, count * len(blocks), alone, whole, beside, per_pair)


def _grown(device: torch.device, call: Callable[[], None], *, resident: bool = False) -> int:
    """Return how far memory grew beyond its start at the peak of a call."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        start = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - start
    if resident:
        start, _ = _resident()
        call()
        return _resident()[1] - start
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        record.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    # In order: the running total of what was allocated, which an earlier record may have begun.
    changes = [event["args"] for event in events if event["name"] == "[memory]"]
    changes.sort(key=lambda change: change["Ev Idx"])
    start = changes[0]["Total Allocated"] - changes[0]["Bytes"]
    return max(change["Total Allocated"] for change in changes) - start


def _resident() -> tuple[int, int]:
    """Return the resident size of this process, and its largest so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux the largest size of getrusage is at least that of the parent.
        found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status.read_text()))
        return int(found["VmRSS"]) * 1024, int(found["VmHWM"]) * 1024
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform != "darwin":
        largest *= 1024
    return largest, largest


def _storages(thing: Any) -> Iterator[torch.UntypedStorage]:
    if isinstance(thing, Tensor):
        yield thing.untyped_storage()
        return
    inside: list[Any] = []
    if isinstance(thing, dict):
        inside = list(thing.values())
    elif isinstance(thing, list | tuple):
        inside = list(thing)
    elif hasattr(thing, "__dict__"):
        inside = list(vars(thing).values())
    for one in inside:
        yield from _storages(one)
