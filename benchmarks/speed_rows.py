"""The rows of the speed page, and the numbers its goals are judged by.

A row is one contender at
one task: seconds a unit in wall and in processor time, how many times as fast it is as the
reference of its task, and the share of its time that goes to the network's own passes. A scalar is
a value, the count of units it rests on, and a note where the name does not say enough.
"""

from collections.abc import Sequence
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
