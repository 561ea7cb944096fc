"""The rows of the speed page, and the numbers its goals are judged by, from what benchmarks write.

Each function takes what one benchmark wrote and returns rows and scalars. A row is one contender at
one task: seconds a unit in wall and in processor time, how many times as fast it is as the
reference of its task, and the share of its time that goes to the network's own passes. A scalar is
a value, the count of units it rests on, and a note where the name does not say enough.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OURS, PEER, PUBLISHED, MODEL = "ours", "peer", "published", "model"


@dataclass
class Row:
    """One contender at one task; what was not measured is None."""

    chapter: str
    task: str
    contender: str
    kind: str
    status: str = "measured"
    unit: str = "image"
    size: int = 32
    count: int | None = None
    wall: float | None = None
    processor: float | None = None
    reference: str = ""
    times_wall: float | None = None
    times_processor: float | None = None
    inside: float | None = None
    found: str = ""


@dataclass
class Speed:
    """What benchmarks had to say."""

    rows: list[Row] = field(default_factory=list)
    scalars: dict[str, dict[str, Any]] = field(default_factory=dict)

    def scalar(self, name: str, value: float, count: int | None = None, note: str = "") -> None:
        """Keep a number that a goal may be judged by."""
        self.scalars[name] = {"value": value, "count": count, "note": note}

    def relate(self, rows: Sequence[Row], reference: Row | None) -> None:
        """Keep the rows of one task, with how many times as fast as the reference each is."""
        for row in rows:
            if reference is not None and row.wall and row.processor:
                assert reference.wall is not None
                assert reference.processor is not None
                row.reference = reference.contender
                row.times_wall = reference.wall / row.wall
                row.times_processor = reference.processor / row.processor
        self.rows += rows


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


def augment(raw: Sequence[Mapping[str, Any]]) -> Speed:
    """PRIME, its primitives and AugMix beside the published loop and those of others."""
    speed = Speed()
    for side in dict.fromkeys(row["shape"][-1] for row in raw):
        rows = []
        for one in raw:
            count, name = one["shape"][0], one["contender"]
            if one["shape"][-1] != side:
                continue
            foreign = name.startswith(("torchvision", "kornia"))
            published = name == "published loop"
            rows.append(
                Row(
                    "04_corruptions",
                    f"Augmentations of {side} x {side} images",
                    name,
                    PUBLISHED if published else PEER if foreign else OURS,
                    size=side,
                    count=count,
                    wall=one["milliseconds_wall"] / 1e3 / count,
                    processor=one["milliseconds_processor"] / 1e3 / count,
                    found=f"peak {one['peak_copies_of_the_batch']:.1f} copies",
                )
            )
            if name == "Prime":
                speed.scalar(f"augment.times_loop.{side}", one["times_as_fast_as_loop_wall"], count)
                speed.scalar(f"augment.peak_copies.{side}", one["peak_copies_of_the_batch"], count)
        speed.relate(rows, rows[0])
    return speed


def corruptions(raw: Sequence[Mapping[str, Any]]) -> Speed:
    """The 15 corruptions beside the published code, where it is installed."""
    speed = Speed()
    names = {
        "robustkit": "robustkit",
        "with ImageNet-C's strengths": "robustkit, ImageNet-C's strengths",
    }
    for size in dict.fromkeys(row["size"] for row in raw):
        own = [row for row in raw if row["size"] == size]
        severities = len(own[0]["severities"])
        rows = [
            Row(
                "04_corruptions",
                f"The 15 corruptions at {severities} severities, {size} x {size} images",
                names.get(row["who"], row["who"]),
                OURS if row["who"] in names else PEER,
                unit=f"image, {15 * severities} times corrupted",
                size=size,
                count=row["images"],
                wall=row["wall"],
                processor=row["processor"],
            )
            for row in own
        ]
        peer = next((row for row in rows if row.kind == PEER), None)
        speed.relate(rows, peer)
        ours = rows[0]
        assert ours.wall is not None
        if severities == 5:
            note = f"from batches of {ours.count}"
            speed.scalar(f"corruptions.seconds_of_10000.{size}", 1e4 * ours.wall, ours.count, note)
        alike = next((row for row in rows if row.contender.endswith("strengths")), None)
        if peer is not None and alike is not None and alike.times_wall is not None:
            speed.scalar(f"corruptions.times_reference.{size}", alike.times_wall, peer.count)
    return speed


def translation(raw: Mapping[str, Any]) -> Speed:
    """Selection of crops, canonical forms and peers beside a forward pass."""
    speed, group = Speed(), ""
    batch, forward = raw["batch"], raw["costs"][0]
    for cost in raw["costs"]:
        name = cost["name"]
        # A row that is indented belongs to the one above it, and is named after that.
        label = f"{group}: {name.strip()}" if name.startswith(" ") else name
        group = group if name.startswith(" ") else name.partition(",")[0]
        inference = name.startswith(PEERS_OF_SHIFTS)
        speed.rows.append(
            Row(
                "05_translation",
                f"Windows of {raw['window']} x {raw['window']}, crops of {raw['crop']}, "
                f"beside a forward pass of {raw['network']}",
                label,
                MODEL if cost is forward else PEER if inference else OURS,
                size=224,
                count=batch,
                wall=cost["wall"] / batch,
                processor=cost["processor"] / batch,
                reference="forward pass",
                times_wall=forward["wall"] / cost["wall"],
                times_processor=forward["processor"] / cost["processor"],
            )
        )
        if name.startswith(("select, ", "  the")) and "," in name:
            key = name.strip().replace(", ", ".").replace(" ", "_")
            speed.scalar(f"translation.{key}", cost["wall"] / forward["wall"], batch)
    for row in raw["adversary"]:
        name, images = row["score"], row["images"]
        speed.scalar(
            f"translation.adversary_labelled.{name}",
            row["mean_labelled"],
            images,
            f"{row['shifts']} shifts; most {row['most_labelled']}",
        )
        speed.scalar(f"translation.adversary_time.{name}", row["passes_wall"], images)
    return speed


PEERS_OF_SHIFTS = (
    "adaptive polyphase",
    "  with circular padding",
    "mean over",
    "reflection",
    "blur pooling",
)

READERS: dict[str, Callable[[Any], Speed]] = {
    "passes": passes,
    "deepfool": deepfool,
    "sparse": sparse,
    "margins": margins,
    "augment": augment,
    "corruptions": corruptions,
    "translation": translation,
}


def _against(speed: Speed, named: Mapping[str, Mapping[str, Any]], name: str, other: str) -> None:
    """Keep how many more pixels one attack changes than another, in the median."""
    if name not in named or other not in named:
        return
    pixels = [named[one]["median_pixels"] for one in (name, other)]
    if None not in pixels:
        count = min(named[one]["images"] for one in (name, other))
        speed.scalar(f"sparse.more_pixels.{name}.than.{other}", pixels[0] - pixels[1], count)
