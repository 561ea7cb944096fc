"""What weather and digital corruptions share: rows apart, any shape, dtypes, inputs untouched."""

import pytest
import torch
from corruption_toys import draws, images

from robustkit.corruptions.color import brightness, contrast, saturate
from robustkit.corruptions.draws import Draws
from robustkit.corruptions.elastic import elastic_transform
from robustkit.corruptions.fog import fog
from robustkit.corruptions.frost import frost
from robustkit.corruptions.jpeg import jpeg_compression
from robustkit.corruptions.pixelate import pixelate
from robustkit.corruptions.severities import SEVERITIES
from robustkit.corruptions.snow import snow
from robustkit.corruptions.spatter import spatter

ALL = {
    one.__name__: one
    for one in (
        brightness,
        contrast,
        elastic_transform,
        fog,
        frost,
        jpeg_compression,
        pixelate,
        saturate,
        snow,
        spatter,
    )
}
RANDOM = {"elastic_transform", "fog", "frost", "snow", "spatter"}
ANY_CHANNELS = {
    "brightness",
    "contrast",
    "elastic_transform",
    "fog",
    "frost",
    "pixelate",
    "saturate",
}


def parameters(name, severity, preset="cifar"):
    return SEVERITIES[preset][name][severity - 1]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("severity", [2, 5])
def test_a_row_depends_on_its_image_and_its_index_alone(name, severity):
    row = parameters(name, severity)
    batch = images(7, (3, 24, 31))
    indices = torch.tensor([5, 0, 7, 7, 900, 3, 2])
    whole = ALL[name](batch, Draws(4, "a", indices), *row)
    picks = torch.tensor([4, 1])
    part = ALL[name](batch[picks], Draws(4, "a", indices[picks]), *row)
    torch.testing.assert_close(part, whole[picks], rtol=0, atol=1e-5)
    again = ALL[name](batch, Draws(4, "a", indices), *row)
    assert torch.equal(again, whole)
    if name in RANDOM:
        same = batch[:1].expand(7, -1, -1, -1)
        result = ALL[name](same, Draws(4, "a", indices), *row)
        # Index 7 stands twice.
        torch.testing.assert_close(result[2], result[3], rtol=0, atol=1e-5)
        assert (result[4] - result[5]).abs().max() > 0.01
        for other in (Draws(5, "a", indices), Draws(4, "b", indices)):
            assert (ALL[name](same, other, *row) - result).abs().max() > 0.01


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("preset", SEVERITIES)
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_every_severity_runs_on_any_layout_and_changes_nothing_else(name, preset, severity):
    row = parameters(name, severity, preset)
    channels = [1, 3, 4] if name in ANY_CHANNELS else [1, 3]
    for count, shape in zip((1, 3, 2), ((32, 32), (17, 40), (5, 4)), strict=True):
        batch = images(count, (channels[-1 if count == 2 else 1], *shape))
        strided = batch.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)
        kept, state = strided.clone(), torch.get_rng_state()
        result = ALL[name](strided, draws(count), *row)
        assert torch.equal(strided, kept)
        assert torch.equal(torch.get_rng_state(), state)
        assert result.shape == batch.shape
        assert result.dtype == torch.float32
        assert result.isfinite().all()
        plain = ALL[name](batch, draws(count), *row)
        torch.testing.assert_close(result, plain, rtol=0, atol=1e-5)
    grey = images(2, (1, 32, 32))
    assert ALL[name](grey, draws(2), *row).shape == grey.shape


@pytest.mark.parametrize("name", ALL)
def test_double_precision_agrees_with_single(name):
    row = parameters(name, 3)
    batch = images(4, (3, 32, 32), dtype=torch.float64)
    double, single = (ALL[name](part, draws(4), *row) for part in (batch, batch.float()))
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", sorted(ALL))
def test_flat_and_tiny_images_are_fine(name):
    row = parameters(name, 4)
    for level in (0.0, 1.0):
        for shape in ((3, 8, 8), (1, 2, 3)):
            result = ALL[name](torch.full((2, *shape), level), draws(2), *row)
            assert result.isfinite().all()
