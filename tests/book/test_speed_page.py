"""The speed page: rows and numbers read from what benchmarks write, and goals judged by them."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from robustkit_book import speed

from robustkit import records

ROOT = Path(__file__).resolve().parents[2]

SHARE = {"images": 16, "most_iterations": 4, "inside_passes_wall_seconds": 9.0}
RUN = {"images": 2, "processor": 1.0, "fooled": 1.0, "median": 0.5}
SPARSE = ("published-loop", "sparsefool", "sparsefool-bfloat16", "sparsefool-legacy")
RAW: dict[str, Any] = {
    "passes": {
        "own": [
            {
                "network": "resnet20",
                "size": 32,
                "batch": 4,
                **{f"{what}_{clock}": 0.5 for what in ("forward", "both") for clock in CLOCKS},
            }
            for CLOCKS in [("wall", "processor")]
        ],
        "training": {
            "batch": 4,
            "plain": {"wall": 2.0, "processor": 2.0},
            "prime": {"wall": 2.2, "processor": 2.1},
        },
    },
    "deepfool": {
        "subject": "trained",
        "shares": [
            {"attack": attack, "backward_calls": 36, "whole_wall_seconds": 10.0, **SHARE, **more}
            for attack in ("l2", "linf")
            for more in ({}, {"images": 128, "backward_calls": 45, "most_iterations": 5})
        ],
        "runs": [
            [
                {**RUN, "norm": "2", "name": "robustkit", "wall": 1.0},
                {**RUN, "norm": "2", "name": "foolbox", "wall": 3.0, "median": None},
            ]
        ],
    },
    "sparse": {
        "subject": "trained",
        "shares": [
            {"attack": name, "whole_wall_seconds": 10.0, **SHARE} for name in (SPARSE[1], SPARSE[3])
        ],
        "rows": [
            {
                "attack": name,
                "images": 4,
                "fooled": 1.0,
                "median_pixels": 13.0 - place,
                "wall_seconds_per_image": 6.0 / (place + 1),
                "processor_seconds_per_image": 6.0,
                "forwards_per_image": 10.0 * (place + 1),
                "backwards_per_image": 0.0,
                "times_as_fast_as_loop_wall": place + 1.0,
            }
            for place, name in enumerate((*SPARSE, "sigma-zero-1000"))
        ],
    },
    "margins": {
        "subject": "trained",
        "rows": [
            {
                "contender": name,
                "pairs": 26,
                "pairs_per_wall_second": rate,
                "pairs_per_processor_second": rate,
                "times_as_fast_as_loop_wall": rate / 4,
                "found": 1.0,
                "median_margin": 0.5,
                "share_inside_passes": 0.95,
            }
            for name, rate in (
                ("published loop, 1 thr.", 4.0),
                ("published loop, 2 thr.", 2.0),
                ("margins, default", 32.0),
            )
        ],
        "memory": {"imagenet_blocks": {"held": 2**29}},
    },
    "augment": [
        {
            "contender": name,
            "shape": [8, 3, side, side],
            "milliseconds_wall": time,
            "milliseconds_processor": time,
            "times_as_fast_as_loop_wall": 80.0 / time,
            "peak_copies_of_the_batch": 5.0,
        }
        for side in (32, 224)
        for name, time in (("published loop", 80.0), ("Prime", 8.0), ("kornia elastic", 40.0))
    ],
    "corruptions": [
        {
            "who": who,
            "size": size,
            "severities": [1, 2, 3, 4, 5],
            "images": 4,
            "wall": time,
            "processor": time,
        }
        for size in (32, 224)
        for who, time in (
            ("robustkit", 0.002),
            ("with ImageNet-C's strengths", 0.005),
            ("imagecorruptions", 0.1),
        )
    ],
    "translation": {
        "batch": 8,
        "window": 256,
        "crop": 224,
        "network": "mobilenet_v2",
        "costs": [
            {"name": name, "wall": time, "processor": time}
            for name, time in (
                ("forward pass", 1.0),
                *(
                    pair
                    for score in ("filter", "hash")
                    for pair in (
                        (f"select, {score}", 0.03),
                        (f"  the crops alone, {score}", 0.01),
                        (f"  the same of floats, {score}", 0.04),
                    )
                ),
                ("adaptive polyphase sampling", 2.0),
                ("  with circular padding", 2.5),
            )
        ],
        "adversary": [
            {
                "score": score,
                "images": 6,
                "shifts": 289,
                "mean_labelled": 4.0,
                "most_labelled": 9,
                "passes_wall": 5.0,
            }
            for score in ("filter", "hash")
        ],
    },
}


@pytest.fixture(scope="module")
def benchmarks() -> dict[str, ModuleType]:
    """The modules of the benchmarks that make the record."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import all as every
        import speed_rows
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return {"all": every, "rows": speed_rows}


def read(benchmarks: dict[str, ModuleType], name: str) -> Any:
    return benchmarks["all"].READERS[name](RAW[name])


def test_every_benchmark_has_a_reader_and_sizes(benchmarks: dict[str, ModuleType]) -> None:
    names = set(benchmarks["all"].READERS)
    assert set(RAW) == names
    assert all(set(sizes) == names for sizes in benchmarks["all"].SIZES.values())
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in names)


def test_every_goal_is_answered_by_a_number_of_the_benchmarks(
    benchmarks: dict[str, ModuleType],
) -> None:
    known = {name for one in RAW for name in read(benchmarks, one).scalars}
    goals = [goal for own in speed.read(ROOT / "book" / "speed.yml").values() for goal in own]
    assert [goal.by for goal in goals if goal.by not in known] == []
    assert {goal.device for goal in goals} == set(speed.FOLDERS)


@pytest.mark.parametrize(
    ("benchmark", "scalar", "value"),
    [
        ("passes", "training.prime_over_plain", 1.1),
        ("deepfool", "deepfool.share_inside.l2", 0.9),
        ("deepfool", "deepfool.backward_calls_growth.l2", 1.0),
        ("sparse", "sparse.times_loop.sparsefool", 2.0),
        ("sparse", "sparse.more_pixels.sparsefool.than.published-loop", -1.0),
        ("sparse", "sparse.more_pixels.sparsefool.than.sigma-zero-1000", 3.0),
        ("sparse", "sparse.calls_over.sigma-zero-1000", 0.4),
        ("margins", "margins.imagenet_blocks_gib", 0.5),
        ("augment", "augment.times_loop.224", 10.0),
        ("corruptions", "corruptions.seconds_of_10000.32", 20.0),
        ("corruptions", "corruptions.times_reference.224", 20.0),
        ("translation", "translation.the_crops_alone.hash", 0.01),
        ("translation", "translation.the_same_of_floats.filter", 0.04),
    ],
)
def test_numbers_follow_from_what_was_written(
    benchmarks: dict[str, ModuleType], benchmark: str, scalar: str, value: float
) -> None:
    assert read(benchmarks, benchmark).scalars[scalar]["value"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("benchmark", "contender", "reference", "times"),
    [
        ("deepfool", "robustkit", "foolbox", 3.0),
        ("sparse", "sparsefool-legacy", "published-loop", 4.0),
        # The loop at its best, not the first.
        ("margins", "margins, default", "published loop, 1 thr.", 8.0),
        ("augment", "kornia elastic", "published loop", 2.0),
        ("corruptions", "robustkit", "imagecorruptions", 50.0),
        ("translation", "adaptive polyphase sampling: with circular padding", "forward pass", 0.4),
    ],
)
def test_each_contender_is_beside_its_reference(
    benchmarks: dict[str, ModuleType], benchmark: str, contender: str, reference: str, times: float
) -> None:
    row = next(row for row in read(benchmarks, benchmark).rows if row.contender == contender)
    assert row.reference == reference
    assert row.times_wall == pytest.approx(times)


def test_peers_without_a_row_have_one_that_says_why(
    benchmarks: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = benchmarks["all"]
    peers = {"no_such_package": "no_such_package", "numpy": "numpy", "foolbox": "foolbox"}
    monkeypatch.setattr(every, "PEERS", {"deepfool": peers})
    found = every.absent("deepfool", read(benchmarks, "deepfool"))
    assert {row.contender: row.status for row in found} == {
        "no_such_package": "not installed",
        "numpy": "did not run",
    }
    assert all(row.wall is None for row in found)


@pytest.mark.parametrize(
    ("value", "least", "status"),
    [(0.9, True, "met"), (0.89, True, "not met"), (0.9, False, "met"), (0.91, False, "not met")],
)
def test_goals_are_met_on_their_bound_and_missed_beyond(
    value: float, least: bool, status: str
) -> None:
    goal = speed.Goal("A share.", "cpu", "share", 0.9, least, "share")
    record = {"scalars": {"share": {"value": value, "count": 1200, "note": "of two"}}}
    text, judged = goal.judged({"cpu": record, "gpu": None})
    assert judged == status
    assert text == f"{100 * value:.3g}\N{NO-BREAK SPACE}% (on 1,200; of two)"


def test_goals_without_a_number_are_not_measured() -> None:
    goal = speed.Goal("A time.", "gpu", "time", 10.0, False, "seconds")
    assert goal.judged({"cpu": {"scalars": {"time": {}}}, "gpu": None}) == ("", "not measured")
    assert goal.judged({"cpu": None, "gpu": {"scalars": {}}}) == ("", "not measured")
    assert goal.asked() == "≤ 10\N{NO-BREAK SPACE}s"


def test_rows_come_back_from_a_record_with_the_cost_of_a_pass(
    benchmarks: dict[str, ModuleType], tmp_path: Path
) -> None:
    every = benchmarks["rows"].Speed()
    for name in ("passes", "augment"):
        every.rows += read(benchmarks, name).rows
    every.rows.append(benchmarks["rows"].Row("", "A task", "a peer", "peer", "not installed"))
    record = records.Record("speed", {"threads": 1})
    columns = {key: [vars(row)[key] for row in every.rows] for key in vars(every.rows[0])}
    record.table("rows", columns)
    records.write(tmp_path / "speed.json", record.as_dict())
    kept = records.read(tmp_path / "speed.json")
    rows = speed.rows_of(kept)
    assert len(rows) == len(every.rows)
    # A forward pass of an image takes half a second, PRIME a millisecond.
    assert speed.own_pass(kept, 32) == 0.5
    prime = rows["04_corruptions", "Augmentations of 32 x 32 images", "Prime"]
    said = [text for text, _ in speed.described(prime, kept)]
    assert "10\N{NO-BREAK SPACE}× (10) as fast as published loop" in said
    assert "0.002 of a pass" in said
    # Not undefined, which is how a record keeps what is absent among numbers.
    assert rows["", "A task", "a peer"]["wall"] is None
    assert speed.rows_of(None) == {}


def test_a_selection_is_said_as_a_share_of_the_forward_pass_beside_it(
    benchmarks: dict[str, ModuleType],
) -> None:
    columns = [vars(row) for row in read(benchmarks, "translation").rows]
    row = next(row for row in columns if row["contender"] == "select: the crops alone, hash")
    empty = {"tables": {"rows": {key: [] for key in row}}}
    assert speed.described(row, empty) == [
        ("1\N{NO-BREAK SPACE}% (1) of a forward pass", "measured")
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(2.5, "2.5 s"), (0.0125, "12.5 ms"), (2e-6, "2 µs"), (5e-8, "50 ns")]
)
def test_times_are_in_a_unit_near_one(value: float, text: str) -> None:
    assert speed.seconds(value).replace("\N{NO-BREAK SPACE}", " ") == text
