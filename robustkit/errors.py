"""Errors that say what to do: every exception robustkit raises on purpose."""

from collections.abc import Iterable
from difflib import get_close_matches


class RobustkitError(Exception):
    """Base of every error that robustkit raises on purpose."""


class InputError(RobustkitError, ValueError):
    """An argument that the function cannot work with; the message says how to mend it."""


class DataError(RobustkitError, RuntimeError):
    """A dataset or weight file that is absent, damaged or cannot be fetched."""


class RunError(RobustkitError, RuntimeError):
    """A chapter that failed while it ran."""


class UnknownNameError(InputError):
    """A name that does not exist; the message offers the nearest ones."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Build the error for an unknown `kind` called `name`, with the near match among `known`."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
