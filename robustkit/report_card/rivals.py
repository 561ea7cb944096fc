"""Which of several is the lowest, where the sample leaves no doubt, and which rival it may be."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from robustkit.report_card.card import Array
from robustkit.report_card.paired import sign_test
from robustkit.report_card.resampling import paired_means
from robustkit.report_card.words import decided


def rival(
    values: Sequence[float], differs: Callable[[int, int], bool], *, highest: bool = False
) -> tuple[int, int | None]:
    """Return the place of the lowest of at least one value, and of the nearest that it may be.

    `differs(i, j)` says whether the sample tells value i from a value j that lies on its other
    side; None stands for no rival. The lowest is picked after looking, and so it has to stand
    against all others: the tests behind `differs` have to be corrected for `len(values) - 1` of
    them. `highest` asks for the largest value instead. Source: Bonferroni's inequality, as the
    wrong one is named only where its test against the true one fails.
    """
    sign = -1.0 if highest else 1.0
    first, *others = np.argsort(sign * np.asarray(values), kind="stable").tolist()
    return first, next((other for other in others if not differs(first, other)), None)


def lower_median(outcomes: Array, level: float) -> Callable[[int, int], bool]:
    """Return what says whether row i of `(K, N)` values is below row j on most images.

    By the sign test, corrected for the K - 1 rivals of a row; values may be infinite.
    """
    rivals = max(1, len(outcomes) - 1)

    def differs(first: int, second: int) -> bool:
        found = sign_test(outcomes[first], outcomes[second])
        return found.second > found.first and rivals * found.p < 1 - level

    return differs


def other_mean(
    outcomes: Mapping[str, Array], level: float, seed: int
) -> Callable[[int, int], bool]:
    """Return what says whether the means of two outcomes in [0, 1], `(N,)`, differ, by place.

    By the interval of their difference on the same images, corrected for the rivals of one.
    """
    each = list(outcomes.values())
    corrected = 1 - (1 - level) / max(1, len(each) - 1)

    def differs(first: int, second: int) -> bool:
        return decided(paired_means(each[first], each[second], corrected, seed))

    return differs
