"""Collecting: the record of a run, from the pieces that its shards have made on other machines.

A shard of a chapter is the chapter on some of its images: `robustkit run CHAPTER -p shards=8 -p
shard=2` measures every eighth block of images and keeps what it finds, image by image, as pieces.
Collecting runs the chapter once more, with the pieces of all shards in place of the long work, so
that every number, interval and figure is made of all images by the very code that makes it in a
run of its own.
"""

import shlex
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from robustkit import records, runs
from robustkit.errors import DataError, InputError, RunError

_KEPT = ("cpu", "gpu", "cores", "threads", "wall_seconds", "peak_memory_mib", "gpu_peak_memory_mib")


def collect(
    chapter: str,
    parameters: Mapping[str, Any],
    *,
    shards: int,
    profile: str = "smoke",
    force: bool = False,
    timeout: float | None = None,
) -> runs.RunResult:
    """Return the run of a chapter that `shards` finished shards have done the long work of.

    Its record has the key, the numbers and the tables of a run that was never split, and in its
    provenance what each shard ran on. It is installed and kept like any other run; collecting
    again, or running the chapter unsplit, finds it finished. `force` and `timeout` are as in
    `robustkit.runs.run`.

    Raises `InputError` for a chapter or parameters that cannot be split, and `RunError` that names
    the shards which have not finished, or not with today's code, data and packages, and says how
    to run them.
    """
    planned = runs.plan(chapter, parameters, profile=profile)
    if not {"shard", "shards"} <= planned.parameters.keys():
        raise InputError(
            f"chapter {planned.chapter} does not split: it has no parameters shard and shards."
        )
    if planned.shard != (0, 1):
        raise InputError("leave shard and shards out of the parameters; pass how many shards.")
    if shards < 2:
        raise InputError(f"shards must be at least 2, got {shards}; one shard is a run of its own.")
    split = [
        runs.plan(chapter, {**planned.parameters, "shard": shard, "shards": shards})
        for shard in range(shards)
    ]
    return runs.carry_out(
        planned, force=force, timeout=timeout, shards=lambda: _made_by(planned, split)
    )


def _made_by(planned: runs.Plan, split: list[runs.Plan]) -> list[dict[str, Any]]:
    found = [runs.find(shard) for shard in split]
    wanting = [shard for shard, run in zip(split, found, strict=True) if run is None]
    if wanting:
        numbers = ", ".join(str(shard.shard[0]) for shard in wanting)
        parts = [
            f"of chapter {planned.chapter}, {len(wanting)} of {len(split)} shards cannot be "
            f"collected: {numbers}."
        ]
        parts += [f"Shard {shard.shard[0]} {_why(shard)}: {_command(shard)}" for shard in wanting]
        raise RunError("\n".join([*parts, *_others(planned, len(split))]))
    provenances = [run.record["provenance"] for run in found if run is not None]
    for number, provenance in enumerate(provenances):
        _check_packages(number, provenance["packages"])
    return [{key: made[key] for key in _KEPT if key in made} for made in provenances]


def _why(shard: runs.Plan) -> str:
    if not (shard.folder / "record.json").exists():
        return "has not finished"
    return "is damaged, or the package or its data changed since"


def _command(shard: runs.Plan) -> str:
    given = {**shard.injected, "shards": shard.shard[1], "shard": shard.shard[0]}
    options = [shlex.quote(f"{name}={value}") for name, value in given.items()]
    return " ".join(["robustkit run", shard.chapter, *(f"-p {option}" for option in options)])


def _others(planned: runs.Plan, shards: int) -> list[str]:
    """Say what shards of other parameters there are, which is what a slip looks like."""
    differing = set()
    for path in sorted(planned.folder.parent.glob("*/record.json")):
        try:
            made = records.read(path)["parameters"]
        except DataError:
            continue
        wanted = planned.parameters | {"shard": made.get("shard"), "shards": shards}
        other = [f"{name}={made[name]}" for name in wanted if made.get(name) != wanted[name]]
        # The chapter's own word on its device is not what it was given.
        other = [name for name in other if not name.startswith("device=")]
        if made.get("shards", 1) > 1 and other:
            differing.add(", ".join(other))
    return [f"There are shards with {text}; they are not of this run." for text in differing]


def _check_packages(shard: int, packages: Mapping[str, str]) -> None:
    for name, made_with in packages.items():
        try:
            here = version(name)
        except PackageNotFoundError:
            here = "absent"
        if here.partition("+")[0] != made_with.partition("+")[0]:
            raise RunError(
                f"shard {shard} was run with {name} {made_with}, here it is {here}; numbers of two "
                "versions do not make one record. Run all shards and collect in one environment."
            )
