"""Each corruption of C-bar equals a loop over pixels that is given the same random numbers."""

import c_bar_loops
import c_bar_warp_loops
import numpy as np
import pytest
import torch
from c_bar_toys import TABLE, Look, corrupted, pictures

LOOPS = {**vars(c_bar_loops), **vars(c_bar_warp_loops)}
SIZES = [(32, 32), (13, 22), (18, 11)]


@pytest.mark.parametrize("name", sorted(TABLE))
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_loop(name, size):
    images = pictures(2, 3, *size)
    for severity in (0, 4):
        parameters = TABLE[name][severity]
        got = corrupted(name, images, parameters, seed=7, stream="loop", first=11)
        for row in range(2):
            look = Look(7, "loop", 11 + row)
            image = images[row].permute(1, 2, 0).numpy()
            expected = LOOPS[name](image, look, *parameters)
            # One corruption rounds to 8-bit levels; how is a matter of the closed forms.
            rounded = name == "transverse_chromatic_abberation"
            tolerance = 0.5 / 255 + 1e-6 if rounded else 1e-9
            np.testing.assert_allclose(got[row].permute(1, 2, 0), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_single_precision_is_near_double_precision(name):
    images = pictures(4, 3, 40, 40)
    for parameters in TABLE[name]:
        double = corrupted(name, images, parameters)
        single = corrupted(name, images.float(), parameters)
        assert single.dtype == torch.float32
        gaps = (single - double).abs().flatten()
        # A pixel on the brink of a condition or of a level may fall to its other side.
        steps = ("caustic_refraction", "transverse_chromatic_abberation")
        brink = 0.002 if name in steps else 0
        assert (gaps > 2e-4).double().mean() <= brink
