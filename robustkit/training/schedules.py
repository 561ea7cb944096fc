"""Learning rates as a function of the iteration."""

import math
from typing import Literal

from robustkit.errors import InputError, unknown

Schedule = Literal["one-cycle", "triangular"]

_PEAK_AT = {"one-cycle": 0.3, "triangular": 0.4}
_START_DIVISOR = 25
_FINAL_DIVISOR = 1e4


def learning_rate_at(
    step: int, steps: int, peak: float, schedule: Schedule = "one-cycle", peak_at: float = 0.3
) -> float:
    """Return the learning rate of iteration `step` (0 to `steps - 1`).

    `peak` is the largest rate and `peak_at` the fraction of the iterations, in (0, 1), at which it
    is reached. "triangular" rises in a straight line from 0 and falls back to 0, which it reaches
    at the last iteration. "one-cycle" rises along a cosine from a 25th of the peak and falls to a
    10,000th of where it began (Smith and Topin, 2017, with the shape of torch's OneCycleLR).
    Raises `InputError` outside those ranges.
    """
    if not 0 <= step < steps:
        raise InputError(f"step must lie in [0, {steps}), got {step}.")
    if not 0 < peak_at < 1:
        raise InputError(f"peak_at must lie in (0, 1), got {peak_at}.")
    if schedule == "triangular":
        position = (step + 1) / steps
        rising, falling = position / peak_at, (1 - position) / (1 - peak_at)
        return peak * min(rising, falling)
    start = peak / _START_DIVISOR
    summit = max(peak_at * steps - 1, 0.0)
    if step <= summit:
        return _cosine(start, peak, step / summit if summit else 1.0)
    return _cosine(peak, start / _FINAL_DIVISOR, (step - summit) / (steps - 1 - summit))


def usual_peak(schedule: str) -> float:
    """Return the usual `peak_at`: 0.3 for "one-cycle", 2/5 for "triangular".

    Raises `InputError` for an unknown schedule.
    """
    if schedule not in _PEAK_AT:
        raise unknown("schedule", schedule, _PEAK_AT)
    return _PEAK_AT[schedule]


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
