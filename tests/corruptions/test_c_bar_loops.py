"""Each corruption of C-bar equals a loop over pixels that is given the same random numbers."""

import c_bar_loops
import c_bar_warp_loops
import pytest
import torch
from c_bar_toys import TABLE, Look, corrupted, pictures
from corruption_parity import held_to

LOOPS = {**vars(c_bar_loops), **vars(c_bar_warp_loops)}
SIZES = [(32, 32), (13, 22), (18, 11)]


@held_to(*(f"{name}/formula" for name in sorted(TABLE)))
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_loop(size, allowed):
    images, name = pictures(2, 3, *size), allowed.name
    for severity in (0, 4):
        parameters = TABLE[name][severity]
        got = corrupted(name, images, parameters, seed=7, stream="loop", first=11)
        for row in range(2):
            look = Look(7, "loop", 11 + row)
            image = images[row].permute(1, 2, 0).numpy()
            expected = LOOPS[name](image, look, *parameters)
            # One corruption rounds to 8-bit levels; how is a matter of the closed forms.
            allowed.check(got[row].permute(1, 2, 0), expected)


@held_to(*(f"{name}/single" for name in sorted(TABLE)))
def test_single_precision_is_near_double_precision(allowed):
    images, name = pictures(4, 3, 40, 40), allowed.name
    for parameters in TABLE[name]:
        double = corrupted(name, images, parameters)
        single = corrupted(name, images.float(), parameters)
        assert single.dtype == torch.float32
        # A pixel on the brink of a condition or of a level may fall to its other side.
        allowed.check(single, double)
