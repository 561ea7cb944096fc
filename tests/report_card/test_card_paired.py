"""Exact paired tests against sums of binomial probabilities, and Holm's correction by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustkit.errors import InputError
from robustkit.report_card import PairedTest, holm, mcnemar, sign_test


def two_sided(first, second):
    """The probability of a split of coins at least as uneven, summed term by term."""
    count, least = first + second, min(first, second)
    tail = sum(math.comb(count, k) for k in range(least + 1)) / 2**count
    return min(1.0, 2 * tail)


def outcomes(both, first, second, neither):
    left = [1] * (both + first) + [0] * (second + neither)
    right = [1] * both + [0] * first + [1] * second + [0] * neither
    return left, right


@pytest.mark.parametrize(
    ("both", "first", "second", "neither"), [(50, 1, 9, 40), (0, 6, 0, 0), (10, 5, 5, 0)]
)
def test_mcnemar_looks_at_the_images_that_differ_alone(both, first, second, neither):
    found = mcnemar(*outcomes(both, first, second, neither))
    assert (found.first, found.second) == (first, second)
    assert found.count == both + first + second + neither
    assert found.p == pytest.approx(two_sided(first, second))


def test_mcnemar_at_a_known_value():
    assert mcnemar(*outcomes(0, 1, 9, 0)).p == pytest.approx(0.021484375)


def test_nothing_that_differs_says_nothing():
    assert mcnemar([1, 0, 1], [1, 0, 1]) == PairedTest(1.0, 0, 0, 3)
    assert sign_test([math.inf, 2.0], [math.inf, 2.0]).p == 1.0


def test_infinite_values_are_larger_than_any_other():
    found = sign_test([math.inf, math.inf, 1.0, 3.0], [5.0, math.inf, 2.0, 1.0])
    assert (found.first, found.second, found.count) == (2, 1, 4)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_symmetric(pairs):
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    one, other = mcnemar(left, right), mcnemar(right, left)
    assert (one.p, one.first, one.second) == (other.p, other.second, other.first)
    assert 0 <= one.p <= 1


def test_holm_by_hand():
    # 3 x 0.01; 2 x 0.03; 0.04 would be 0.04, but cannot be below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_makes_nothing_smaller(values):
    adjusted = holm(values)
    assert all(after >= before for before, after in zip(values, adjusted, strict=True))
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert max(adjusted) <= 1


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1.0], [1.0, 0.0], "one length"),
        ([], [], "one length"),
        ([math.nan], [1.0], "NaN"),
        ([0.5], [1.0], "0 or 1"),
    ],
)
def test_what_cannot_be_paired_is_refused(first, second, message):
    with pytest.raises(InputError, match=message):
        mcnemar(first, second)


def test_p_values_are_probabilities():
    with pytest.raises(InputError, match="must lie in"):
        holm([0.5, 1.5])
