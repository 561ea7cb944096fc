"""Good values for the report cards, and the smallest cards."""

from collections.abc import Callable
from functools import cache
from typing import Any

import fuzz_toys as toys
from fuzz_names import Values
from fuzz_toys import flags, index, reals

from robustkit import records, stats
from robustkit import report_card as card


@cache
def report(name: str = "toy") -> card.Report:
    """A card of all axes."""
    return card.report(
        *(toys.network(), toys.photographs(), toys.labels()),
        **{"severities": (1,), "radius": 1, "examples": 1, "classes": tuple("abcde")},
        name=name,
    )


def other() -> card.Report:
    """The same card by another name."""
    return report("other")


def comparison() -> card.Comparison:
    """The card beside itself."""
    return card.compare(report(), other())


def axis() -> card.Axis:
    """What was measured along one axis."""
    return report().axes["clean"]


def examples() -> card.Examples:
    """The photographs, unchanged."""
    images = toys.photographs()
    return card.Examples(toys.labels(), toys.labels(), toys.labels(), images, images, ("a", "b"))


def empty() -> records.Record:
    """A record without a card."""
    return records.Record("card", {"profile": "laptop"})


def _of_axis(name: str) -> Callable[[], Any]:
    return lambda: getattr(axis(), name)


_ASKED: Values = {
    "size": lambda: 16,
    "crop": lambda: 8,
    "samples": lambda: 2,
    "axes": lambda: list(card.AXES),
    "severities": lambda: (1,),
    "radius": lambda: 1,
    "examples": lambda: 1,
    "classes": lambda: tuple("abcde"),
    "device": lambda: "cpu",
}
REPORT_CARD: Values = {
    **{f"report.{name}": value for name, value in _ASKED.items()},
    "report.name": lambda: "toy",
    "report.data": lambda: "toys",
    "reports.axes": lambda: ["clean", "l2"],
    # Minutes: so many that no machine is too slow for the two photographs.
    "reports.budget": lambda: 1e6,
    "compare.first": report,
    "compare.second": other,
    "mcnemar.first": flags(9),
    "mcnemar.second": flags(9),
    "holm.p_values": lambda: [0.5, 0.25],
    "add_to_record.record": empty,
    "add_to_record.reports": lambda: [report(), other()],
    "add_to_record.comparison": comparison,
    "Report.axes": lambda: report().axes,
    "Report.classes": lambda: tuple("abcde"),
    "Report.conditions": lambda: report().conditions,
    "Report.planned": lambda: {"clean": 1.0},
    "Report.references": lambda: report().references,
    "Report.scalar.name": lambda: "accuracy",
    "Report.frame.name": lambda: "classes",
    "Axis.scalars": _of_axis("scalars"),
    "Axis.tables": _of_axis("tables"),
    "Axis.outcomes": _of_axis("outcomes"),
    "Axis.rows": index(2),
    "Axis.examples": examples,
    "Comparison.differences": lambda: comparison().differences,
    "Difference.difference": lambda: stats.wilson(1, 2),
    "Difference.test": lambda: card.mcnemar([0, 1], [1, 1]),
    "Examples.rows": index(2),
    "Examples.before": toys.photographs,
    "Examples.after": toys.photographs,
    "Examples.details": lambda: ("a", "b"),
    "Scalar.interval": lambda: stats.wilson(1, 2),
    "sign_test.first": reals(9),
    "sign_test.second": reals(9),
}
