"""Arguments of the wrong kind: an InputError that says what to pass, never an error of Python's."""

import jaxtyping
import numpy as np
import pytest
import torch
from selection_references import levels
from torch import nn

from robustkit.arguments import check_count, whole
from robustkit.errors import InputError
from robustkit.translation import (
    RICS,
    CropAverage,
    CropShift,
    FilterScore,
    ReflectionPad,
    SlidingVote,
    SubpixelShift,
    Zoom,
    adversary,
    change_probability,
    consistency,
    crop_for,
    filter_score,
    hash_score,
    neighbourhood,
    overlap,
    random_shifts,
    roll,
    safe_shifts,
    seam_profiles,
    select,
    select_windows,
)
from robustkit.translation.levels import pair

IMAGES = levels(3, 3, 16, 16)
PLACES = torch.tensor([[0, 0]])


@pytest.fixture(autouse=True)
def _no_types_checked_outside():
    # Users run without the checks of annotations, which would speak first.
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def model():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(4)).eval()


def maps(score=1, content=1):
    return torch.full((1, 3, 3), score), torch.full((1, 3, 3), content)


LOWEST = torch.iinfo(torch.int64).min
INTEGERS = (3, np.int64(3), np.uint8(3), torch.tensor(3))
OTHERS = (None, 1.5, 3.0, True, "3", np.float64(3), float("nan"), [3], (3, 3))


def test_whole_numbers_are_integers_of_any_kind():
    for value in INTEGERS:
        assert whole(value) == 3
        assert type(whole(value)) is int
        check_count("count", value, 3)
        assert pair("size", value) == pair("size", (3, value)) == (3, 3)
        assert CropShift(value).base(IMAGES).shape == (3, 3, 3, 3)
    for value in OTHERS:
        assert whole(value) is None
        with pytest.raises(InputError, match="count must be a whole number"):
            check_count("count", value, 1)
    for value in (*OTHERS[:-1], (3, 1.5), (3, None), (3, 3, 3), (), 0, (3, 0), IMAGES):
        with pytest.raises(InputError, match="size must be a whole number"):
            pair("size", value)
    assert pair("size", [3, 4]) == pair("size", torch.Size((3, 4))) == (3, 4)
    assert pair("amount", (0, 2), 0) == (0, 2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: RICS(model(), None), "needs the size"),
        (lambda: RICS(model(), 9.5), "crop must be"),
        (lambda: RICS(model(), 9, size=7.0), "size must be"),
        (lambda: RICS(model(), 9, select="bottomk", count=2.5), "count must be"),
        (lambda: RICS(model(), 9, score=3), "score must be one of"),
        (lambda: RICS(model(), 9, score="seam"), "mode='circular'"),
        (lambda: CropAverage(model(), 9, count=0), "count must be a whole number of at least 1"),
        (lambda: CropAverage(model(), 9, stride=1.5), "stride must be"),
        (lambda: ReflectionPad(model(), 1.5), "amount must be"),
        (lambda: ReflectionPad(model(), (1, None)), "amount must be"),
        (lambda: ReflectionPad(model(), -1), "amount must be"),
        (lambda: SlidingVote(model(), None), "crop must be"),
        (lambda: neighbourhood(1.5), "radius must be"),
        (lambda: consistency(model(), IMAGES, CropShift(9), float("inf")), "finite"),
        (lambda: consistency(model(), IMAGES, CropShift(9), float("nan")), "finite"),
        (lambda: random_shifts(torch.arange(3), 2, float("nan")), "finite"),
        (lambda: consistency(model(), IMAGES, CropShift(9), 1.5), "whole pixels"),
        (lambda: consistency(model(), IMAGES, SubpixelShift(9), neighbours=6), "4 or 8"),
        (lambda: consistency(model(), IMAGES, SubpixelShift(9), neighbours=4), "from a square"),
        (lambda: adversary(model(), IMAGES, None, Zoom(9)), "shifts="),
        (lambda: adversary(model(), IMAGES, None, CropShift(9), batch_size=1.5), "batch_size"),
        (lambda: overlap(9, 1.5), "shift must be"),
        (lambda: change_probability(9, (1, 0.5)), "shift must be"),
        (lambda: change_probability(9, None), "shift must be"),
        (lambda: change_probability(9.0, 1), "candidates must be"),
        (lambda: crop_for(0.1, 224, neighbours=6), "4 or 8"),
        (lambda: crop_for(0.1, 224, 1.5), "radius must be"),
        (lambda: crop_for(1e-10, 224), "larger epsilon"),
        (lambda: roll(IMAGES[0], PLACES), r"\(N, C, H, W\)"),
        (lambda: safe_shifts(model(), IMAGES, 12), "wrap the network"),
        (lambda: safe_shifts(RICS(model(), 9, mode="circular"), IMAGES, 12), "mode='crop'"),
        (lambda: filter_score()(IMAGES / 255, (9, 9)), "as_levels"),
        (lambda: hash_score()(IMAGES / 255, (9, 9)), "as_levels"),
        (lambda: hash_score()(IMAGES[0], (9, 9)), "as_levels"),
        (lambda: seam_profiles(IMAGES.long()), "as_levels"),
        (lambda: FilterScore(()), "rows of integers"),
        (lambda: FilterScore(((),)), "rows of integers"),
        (lambda: FilterScore(((1, 2), (3,))), "rows of integers"),
        (lambda: FilterScore(((0.5, 1),)), "rows of integers"),
        (lambda: select(*maps(score=LOWEST)), "larger than the smallest"),
        (lambda: select(*maps(content=-1)), "hashes must be at least 0"),
        (lambda: select_windows(*maps(score=LOWEST), 2, PLACES), "larger than the smallest"),
        (lambda: select_windows(maps()[0], maps()[1][0], 2, PLACES), "hashes must be int64"),
        (lambda: select_windows(maps()[0].double(), maps()[1], 2, PLACES), "scores must be int64"),
    ],
)
def test_what_is_of_the_wrong_kind_is_refused_with_a_reason(call, says):
    with pytest.raises(InputError, match=says):
        call()


def test_the_smallest_rate_is_that_of_no_change():
    assert crop_for(1e-10, 24, 0) == 24
