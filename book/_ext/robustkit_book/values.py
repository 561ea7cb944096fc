"""The role `{value}`: a number of a record, in the middle of a sentence.

{value}`laptop.median_l2`              in a chapter: a scalar of its own record
{value}`01_preliminaries/laptop.n`     from any page: the record of that chapter
{value}`laptop.accuracy:.1%`           with a Python format
{value}`laptop.accuracy:.1%|interval`  with its interval behind it
"""

import re
from collections.abc import Mapping
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from robustkit import records
from robustkit.claims_table import interval_text
from robustkit.errors import InputError, RobustkitError, unknown

from .live import mark_live

logger = logging.getLogger(__name__)

_SYNTAX = re.compile(
    r"(?:(?P<chapter>\w+)/)?(?P<profile>\w+)\.(?P<name>[^:|/]+)"
    r"(?::(?P<format>[^|]+))?(?P<interval>\|interval)?"
)


def own_chapter(docname: str) -> str:
    """Return the chapter that a page shows, or an empty text for a page that is no chapter."""
    folder, _, name = docname.rpartition("/")
    return name if folder == "notebooks" else ""


def resolve(text: str, chapter: str) -> str:
    """Return what the role prints for its `text` on the page of `chapter`.

    Raises `RobustkitError` for a text that cannot be read, and for a record, scalar or interval
    that is not there.
    """
    asked = _SYNTAX.fullmatch(text)
    if asked is None:
        raise InputError(
            f"cannot read {text!r}: write profile.scalar or chapter/profile.scalar, then "
            ":format and |interval if needed."
        )
    chapter = asked["chapter"] or chapter
    if not chapter:
        raise InputError(f"{text!r} stands on a page that is no chapter: write chapter/{text}.")
    record = records.committed(chapter, asked["profile"])
    if record is None:
        raise InputError(f"there is no {asked['profile']} record of chapter {chapter!r}.")
    if asked["name"] not in record["scalars"]:
        raise unknown("scalar", asked["name"], record["scalars"])
    scalar = record["scalars"][asked["name"]]
    return written(scalar, asked["format"] or "", interval=bool(asked["interval"]))


def written(scalar: Mapping[str, Any], style: str = "", *, interval: bool = False) -> str:
    """Return a scalar of a record as text: value, interval if asked for, unit.

    `style` is a Python format; without one, four significant digits. Raises `InputError` when the
    scalar lacks the interval that is asked for, or when `style` is not a format for numbers.
    """
    value, low, high = (scalar[key] for key in ("value", "low", "high"))
    if interval and low is None and high is None:
        raise InputError("the scalar has no interval; leave out |interval.")
    if not interval:
        low = high = None
    if not style:
        return interval_text(value, low, high, scalar["unit"])
    try:
        texts = ["-" if part is None else format(part, style) for part in (value, low, high)]
    except ValueError as error:
        raise InputError(f"{style!r} is not a format for a number: {error}.") from error
    unit = f"\N{NO-BREAK SPACE}{scalar['unit']}" if scalar["unit"] else ""
    return texts[0] + unit + (f" [{texts[1]}, {texts[2]}]" if interval else "")


class ValueRole(SphinxRole):
    """Replace the role by the number; a number that is not there is a warning of the build."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        mark_live(self.env)
        try:
            text = resolve(self.text.strip(), own_chapter(self.env.docname))
        except RobustkitError as error:
            logger.warning("value: %s", error, location=self.get_location())
            return [nodes.problematic(self.rawtext, self.rawtext)], []
        return [nodes.inline(self.rawtext, text, classes=["record-value"])], []
