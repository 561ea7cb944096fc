"""Rows of the speed page from the benchmarks of augmentations, corruptions and translations.

Each function takes what one benchmark wrote.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from speed_rows import MODEL, OURS, PEER, PUBLISHED, Row, Speed

PEERS_OF_SHIFTS = (
    "adaptive polyphase",
    "  with circular padding",
    "mean over",
    "reflection",
    "blur pooling",
)


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
