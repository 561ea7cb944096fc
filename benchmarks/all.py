"""Every benchmark of every chapter, in one table and one record.

    python benchmarks/all.py           # into book/results/laptop/speed.json, for the speed page
    python benchmarks/all.py --device cuda   # into book/results/gpu/speed.json
    python benchmarks/all.py --quick   # small sizes, into runs/speed.json, to try it

Each benchmark runs as a program of its own with the sizes below. Peers that are not installed, or
that crash, have a row that says so. The record holds the rows, the numbers that the goals are
judged by, and what it was made with. It is written only when every benchmark has ended well.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from speed_attacks import deepfool, margins, passes, sparse
from speed_images import augment, corruptions, translation
from speed_rows import PEER, Row, Speed

from robustkit import project, provenance, records
from robustkit.claims_table import text_table
from robustkit.files import sha256

READERS: dict[str, Callable[[Any], Speed]] = {
    "passes": passes,
    "deepfool": deepfool,
    "sparse": sparse,
    "margins": margins,
    "augment": augment,
    "corruptions": corruptions,
    "translation": translation,
}
FOLDER = Path(__file__).resolve().parent
# A loop and ours on the same images; peers, the slowest, on the first of them. The share of the
# passes is taken of sigma-zero with the fewest steps, which is not asked for: it takes minutes.
COMMON = {
    "sparse": "--sigma-zero-steps 100 1000 --only published-loop sparsefool sparsefool-bfloat16 "
    "sparsefool-legacy sigma-zero-1000 jsma one-pixel torchattacks-* foolbox-fmn-100"
}
SIZES = {
    "cpu": {
        "passes": "",
        "deepfool": "--batches 16 128 --peer-images 32",
        "sparse": "--images 20 --published-images 20 --peer-images 2 --batch 64",
        "margins": "--images 8 --published-images 8 --memory-chunks 64",
        "augment": "--rounds 2 --calls 5",
        "corruptions": "",
        "translation": "--images 6",
    },
    "cuda": {
        "passes": "--networks resnet20:32:1024 resnet50:224:256 --training-batch 128 --rounds 10",
        "deepfool": "--batches 16 1024 --peer-images 128",
        "sparse": "--images 512 --published-images 16 --peer-images 16 --batch 512",
        "margins": "--images 128 --published-images 8 --memory-chunks 128 --chunk 1024",
        "augment": "--small 512 --large 128 --rounds 3 --calls 8",
        "corruptions": "--batch 1000",
        "translation": "--network resnet50 --batch 256 --images 64",
    },
    "quick": {
        "passes": "--networks resnet20:32:16 mobilenet_v2:224:1 --rounds 1 --training-batch 4",
        "deepfool": "--batches 2 4 --peer-images 2",
        "sparse": "--images 2 --published-images 1 --peer-images 1 --batch 2",
        "margins": "--images 1 --published-images 1 --memory-chunks 16",
        "augment": "--small 8 --large 1 --rounds 1 --calls 1",
        "corruptions": "--sizes 32 --batch 8 --severities 1 3",
        "translation": "--batch 1 --images 1 --radius 2 --rounds 1",
    },
}
# Peers by benchmark: the package, and how the names of its contenders start.
PEERS = {
    "deepfool": {"foolbox": "foolbox", "torchattacks": "torchattacks"},
    "sparse": {"foolbox": "foolbox", "torchattacks": "torchattacks"},
    "augment": {"torchvision": "torchvision", "kornia": "kornia"},
    "corruptions": {"imagecorruptions": "imagecorruptions"},
    "translation": {"timm": "blur pooling"},
}


def run(name: str, options: Sequence[str], folder: Path) -> Any:
    """Run one benchmark to its end, and return what it wrote; it may print as it likes."""
    path = folder / f"{name}.json"
    command = [sys.executable, str(FOLDER / f"{name}.py"), *options, "--json", str(path)]
    print(f"\n=== {name} {' '.join(options)}", flush=True)
    subprocess.run(command, check=True)
    return json.loads(path.read_text(encoding="utf-8"))


def absent(name: str, speed: Speed) -> list[Row]:
    """Return a row for each peer of a benchmark that has none, with the reason."""
    found = []
    for package, start in PEERS.get(name, {}).items():
        if any(row.contender.startswith(start) for row in speed.rows):
            continue
        last = speed.rows[-1]
        installed = importlib.util.find_spec(package) is not None
        status = "did not run" if installed else "not installed"
        label = start if start == package else f"{start} ({package})"
        found.append(Row(last.chapter, last.task, label, PEER, status))
    return found


def made_with(peers: Sequence[str], seconds: float, checkout: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of the record: hardware, threads, versions, commit, sources."""
    sources = {f"benchmarks/{path.name}": sha256(path) for path in sorted(FOLDER.glob("*.py"))}
    found = provenance.collect(sources, checkout)
    # The benchmarks ran in other processes than this one.
    del found["peak_memory_mib"]
    found.pop("gpu_peak_memory_mib", None)
    for package in peers:
        if importlib.util.find_spec(package) is not None:
            found["packages"][package] = importlib.metadata.version(package)
    return {**found, "wall_seconds": round(seconds, 1)}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to try it")
    parser.add_argument("--only", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the record goes")
    options = parser.parse_args()
    whole = options.only == list(READERS) and not options.quick
    if options.json is None and whole:
        options.json = project.results_path("speed", "gpu" if options.device != "cpu" else "laptop")
    elif options.json is None:
        options.json = project.root() / "runs" / "speed.json"
    return options


def main() -> None:
    """Run the benchmarks and write the record."""
    options = parse()
    started, checkout = time.perf_counter(), provenance.commit()
    torch.set_num_threads(options.threads)
    if options.device != "cpu":
        torch.cuda.init()
    # Thread pools of libraries other than torch count the threads of the environment.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    above = [str(FOLDER.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(part for part in above if part)
    sizes = SIZES["quick" if options.quick else options.device.partition(":")[0]]
    every = Speed()
    with TemporaryDirectory() as folder:
        for name in options.only:
            given = f"{COMMON.get(name, '')} {sizes[name]} --threads {options.threads}".split()
            speed = READERS[name](run(name, [*given, "--device", options.device], Path(folder)))
            every.rows += [*speed.rows, *absent(name, speed)]
            every.scalars |= speed.scalars
    record = records.Record(
        "speed", {"quick": options.quick, "device": options.device, "threads": options.threads}
    )
    for name, scalar in every.scalars.items():
        record.scalar(name, scalar["value"], count=scalar["count"], note=scalar["note"])
    rows = [asdict(row) for row in every.rows]
    columns = {one.name: [row[one.name] for row in rows] for one in fields(Row)}
    record.table("rows", columns)
    record.table(
        "sizes", {"benchmark": options.only, "sizes": [sizes[name] for name in options.only]}
    )
    packages = [package for own in PEERS.values() for package in own]
    seconds = time.perf_counter() - started
    made = made_with(sorted({*packages}), seconds, checkout)
    records.write(options.json, {**record.as_dict(), "provenance": made})
    shown = [
        [row.chapter, row.contender, _number(row.wall), _number(row.times_wall)]
        for row in every.rows
    ]
    print(f"\n{text_table(['chapter', 'contender', 'seconds', 'times'], shown)}")
    print(f"\n{len(rows)} rows, {seconds:.0f} s, in {options.json}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    main()
