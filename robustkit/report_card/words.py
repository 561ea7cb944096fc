"""Numbers in sentences: shares, counts and distances as a person would say them."""

import math
import re

from robustkit.stats import Interval

_WORDS = {
    "accuracy": "accuracy",
    "l2_median": "l2 distance",
    "l2_fooled": "share fooled at any distance",
    "pixels_50": "number of pixels",
    "pixels_90": "number of pixels for nine in ten",
    "margin_whole": "margin",
    "margin_low": "margin at low frequencies",
    "margin_high": "margin at high frequencies",
    "margin_high_over_low": "margin at high over low frequencies",
    "mce": "mean corruption error",
    "corruption_accuracy": "corruption accuracy",
    "consistency": "consistency",
    "fooled": "share fooled",
    "robust": "robust accuracy",
    "gain": "gain of robust accuracy",
    "cost": "change of accuracy",
}


def printable(name: object) -> str:
    """Return a name as one line of text that any file can hold.

    Folders, and with them classes, may be called anything: line breaks, control characters, signs
    that turn the direction of writing and bytes that are no text become a replacement sign.
    """
    text = str(name)
    plain = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    # A record keeps these two texts for infinite numbers.
    return f"'{plain}'" if plain in ("inf", "-inf") else plain


def percent(share: float) -> str:
    """Return a share in [0, 1] as percent, so that some is never read as none, nor nearly as all.

    A share that is not known is "unknown".
    """
    if math.isnan(share):
        return "unknown"
    hundred = 100 * share
    if 0 < hundred < 0.1:
        return "less than 0.1%"
    if 99.9 < hundred < 100:
        return "more than 99.9%"
    return f"{hundred:.0f}%" if hundred in (0, 100) else f"{hundred:.1f}%"


def between(interval: Interval) -> str:
    """Return a share with its interval: 91.8% [89.1%, 93.9%]."""
    return f"{percent(interval.estimate)} [{percent(interval.low)}, {percent(interval.high)}]"


def number(value: float) -> str:
    """Return a number to three significant digits, without an exponent where a person needs none.

    Infinity is "no known distance", which is how it comes about here.
    """
    if math.isinf(value):
        return "no known distance"
    if math.isnan(value):
        return "unknown"
    if value != 0 and not 1e-4 <= abs(value) < 1e5:
        return f"{value:.2e}"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def counted(count: int, one: str) -> str:
    """Return a count with its noun: 1 image, 2 images."""
    return f"{count} {one}" if count == 1 else f"{count} {one}s"


def decided(difference: Interval) -> bool:
    """Say whether an interval of a difference leaves zero out, so that its sign is known."""
    return difference.low > 0 or difference.high < 0


def worded(name: str) -> str:
    """Return the name of a number of a card as words: `rics_robust_3` is a robust accuracy."""
    base = name.removeprefix("rics_")
    within = re.fullmatch(r"(\w+)_(\d+)", base)
    words = _WORDS.get(base) or (_WORDS.get(within[1]) if within else None)
    words = words or base.replace("_", " ")
    if within and base not in _WORDS:
        words = f"{words} within {within[2]} px"
    return f"{words} with RICS" if base != name else words
