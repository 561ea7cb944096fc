"""robustkit: how image classifiers break, and how to make them hold.

Subpackages load on first use, so that a program (and the record of a run) depends only on the
parts it touches.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustkit.report_card import report

__version__ = "0.1.0"

__all__ = [
    "attacks",
    "augment",
    "claims",
    "corruptions",
    "data",
    "errors",
    "margins",
    "models",
    "plots",
    "records",
    "report",
    "report_card",
    "rng",
    "stats",
    "training",
    "translation",
]


def __getattr__(name: str) -> Any:
    if name == "report":
        # A function, not a module: the one import that a card takes.
        return import_module(f"{__name__}.report_card").report
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
