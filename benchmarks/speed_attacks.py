"""Rows of the speed page from the benchmarks of the networks themselves, of attacks and of margins.

Each function takes what one benchmark wrote.
"""

from collections.abc import Mapping
from typing import Any

from speed_rows import MODEL, OURS, PEER, PUBLISHED, Row, Speed


def passes(raw: Mapping[str, Any]) -> Speed:
    """Rows of the networks' own passes, and the cost of PRIME in training."""
    speed = Speed()
    for own in raw["own"]:
        for what, name in (("forward", "forward pass"), ("both", "forward and backward pass")):
            speed.rows.append(
                Row(
                    "",
                    f"The networks' own passes at {own['size']} pixels",
                    f"{own['network']}, {name}",
                    MODEL,
                    size=own["size"],
                    count=own["batch"],
                    wall=own[f"{what}_wall"],
                    processor=own[f"{what}_processor"],
                )
            )
    training = raw["training"]
    if training:
        batch = training["batch"]
        rows = [
            Row(
                "04_corruptions",
                "A step of training a ResNet-18, CIFAR form",
                name,
                kind,
                count=batch,
                wall=training[key]["wall"] / batch,
                processor=training[key]["processor"] / batch,
            )
            for key, name, kind in (("plain", "plain", MODEL), ("prime", "with PRIME", OURS))
        ]
        speed.relate(rows, rows[0])
        ratio = training["prime"]["wall"] / training["plain"]["wall"]
        speed.scalar("training.prime_over_plain", ratio, batch)
    return speed


def deepfool(raw: Mapping[str, Any]) -> Speed:
    """DeepFool in both norms beside foolbox and torchattacks."""
    speed = Speed()
    shares: dict[str, list[Mapping[str, Any]]] = {}
    for share in raw["shares"]:
        shares.setdefault(share["attack"].removeprefix("l"), []).append(share)
    inside = {}
    for norm, own in shares.items():
        most, least = own[-1], own[0]
        inside[norm] = most["inside_passes_wall_seconds"] / most["whole_wall_seconds"]
        speed.scalar(f"deepfool.share_inside.l{norm}", inside[norm], most["images"])
        calls = [one["backward_calls"] / one["most_iterations"] for one in (least, most)]
        speed.scalar(
            f"deepfool.backward_calls_growth.l{norm}",
            calls[1] / calls[0],
            most["images"],
            f"backward calls an iteration at batch {most['images']} over batch {least['images']}",
        )
    norms: dict[str, list[Row]] = {}
    for ours, theirs in raw["runs"]:
        rows = norms.setdefault(ours["norm"], [])
        # Ours is run before each peer; the first run stands in the table.
        for run, kind in ((theirs, PEER),) if rows else ((ours, OURS), (theirs, PEER)):
            median = "-" if run["median"] is None else f"{run['median']:.4f}"
            rows.append(
                Row(
                    "01_preliminaries",
                    f"DeepFool, l{run['norm']}, ResNet-20, {raw['subject']}",
                    run["name"],
                    kind,
                    count=run["images"],
                    wall=run["wall"] / run["images"],
                    processor=run["processor"] / run["images"],
                    inside=inside.get(run["norm"]) if kind == OURS else None,
                    found=f"{run['fooled']:.1%} fooled, median distance {median}",
                )
            )
    for rows in norms.values():
        speed.relate(rows, next((row for row in rows if row.kind == PEER), None))
    return speed


def sparse(raw: Mapping[str, Any]) -> Speed:
    """Sparse attacks beside the published loop and the sparse attacks of others."""
    speed = Speed()
    inside = {}
    for share in raw["shares"]:
        name = share["attack"]
        inside[name] = share["inside_passes_wall_seconds"] / share["whole_wall_seconds"]
        speed.scalar(f"sparse.share_inside.{name}", inside[name], share["images"])
    named = {row["attack"]: row for row in raw["rows"]}
    rows = []
    for name, row in named.items():
        middle = "-" if row["median_pixels"] is None else f"{row['median_pixels']:g}"
        foreign = name.startswith(("torchattacks", "foolbox"))
        rows.append(
            Row(
                "02_sparse",
                f"Sparse attacks, ResNet-20, {raw['subject']}",
                name,
                PUBLISHED if name == "published-loop" else PEER if foreign else OURS,
                count=row["images"],
                wall=row["wall_seconds_per_image"],
                processor=row["processor_seconds_per_image"],
                inside=inside.get(name),
                found=f"{row['fooled']:.1%} fooled, median {middle} pixels",
            )
        )
        if row["times_as_fast_as_loop_wall"] is not None:
            times = row["times_as_fast_as_loop_wall"]
            speed.scalar(f"sparse.times_loop.{name}", times, row["images"])
    speed.relate(rows, next((row for row in rows if row.kind == PUBLISHED), None))
    for name in ("sparsefool", "sparsefool-bfloat16"):
        _against(speed, named, name, "published-loop")
    strongest = next((name for name in named if name == "sigma-zero-1000"), None)
    if strongest and "sparsefool" in named:
        _against(speed, named, "sparsefool", strongest)
        calls = [
            named[name]["forwards_per_image"] + named[name]["backwards_per_image"]
            for name in ("sparsefool", strongest)
        ]
        speed.scalar(
            f"sparse.calls_over.{strongest}", calls[0] / calls[1], named[strongest]["images"]
        )
    return speed


def margins(raw: Mapping[str, Any]) -> Speed:
    """Margins in 13 subspaces beside the published loop."""
    speed, rows, loops = Speed(), [], []
    for row in raw["rows"]:
        published = row["contender"].startswith("published")
        median = "-" if row["median_margin"] is None else f"{row['median_margin']:.4f}"
        rows.append(
            Row(
                "03_features",
                f"Margins in DCT blocks, ResNet-20, {raw['subject']}",
                row["contender"],
                PUBLISHED if published else OURS,
                unit="pair",
                count=row["pairs"],
                wall=1 / row["pairs_per_wall_second"],
                processor=1 / row["pairs_per_processor_second"],
                inside=row["share_inside_passes"],
                found=f"{row['found']:.1%} found, median margin {median}",
            )
        )
        if published:
            loops.append(rows[-1])
        else:
            kind = row["contender"].partition(", ")[2]
            times = row["times_as_fast_as_loop_wall"]
            speed.scalar(f"margins.times_loop.{kind}", times, row["pairs"])
            speed.scalar(f"margins.share_inside.{kind}", row["share_inside_passes"], row["pairs"])
    speed.relate(rows, min(loops, key=lambda row: row.wall or 0.0))
    blocks = raw["memory"]["imagenet_blocks"]
    speed.scalar("margins.imagenet_blocks_gib", blocks["held"] / 2**30)
    return speed


def _against(speed: Speed, named: Mapping[str, Mapping[str, Any]], name: str, other: str) -> None:
    """Keep how many more pixels one attack changes than another, in the median."""
    if name not in named or other not in named:
        return
    pixels = [named[one]["median_pixels"] for one in (name, other)]
    if None not in pixels:
        count = min(named[one]["images"] for one in (name, other))
        speed.scalar(f"sparse.more_pixels.{name}.than.{other}", pixels[0] - pixels[1], count)
