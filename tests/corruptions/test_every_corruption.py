"""What all corruptions have in common: rising change, any batch and colour, no waiting host."""

import pytest
import torch
from corruption_toys import images
from torch.nn.functional import interpolate

from robustkit.corruptions import C_BAR, corrupt
from robustkit.corruptions.registry import ALL

# Pixels a side of each preset, the side that its pictures are drawn at, and how many there are.
PICTURES = {"cifar": (32, 32, 64), "tiny": (64, 64, 32), "imagenet": (128, 32, 24)}
CASES = [(preset, name) for preset in PICTURES for name in ALL if preset in ALL[name].severities]
# Severities whose next one may change the images less, with the published parameters, and why.
FALLS = {
    # More displacement comes with less blur.
    ("cifar", "glass_blur"): {1, 2, 4},
    ("tiny", "glass_blur"): {1, 3},
    ("imagenet", "glass_blur"): {1, 3},
    # The affine part shrinks while the elastic one grows.
    ("cifar", "elastic_transform"): {1, 2, 3, 4},
    ("tiny", "elastic_transform"): {1, 2, 3, 4},
    ("imagenet", "elastic_transform"): {2},
    # The first two take colour away, the others add it.
    ("cifar", "saturate"): {2},
    ("tiny", "saturate"): {2},
    ("imagenet", "saturate"): {2},
    # The image gets a smaller weight and the ice the same, or little more.
    ("cifar", "frost"): {3},
    ("tiny", "frost"): {3},
    ("imagenet", "frost"): {3},
    # About as much: fewer and larger flakes.
    ("imagenet", "snow"): {2},
    # As much, only rougher.
    ("imagenet", "fog"): {3},
    # From water to mud.
    ("cifar", "spatter"): {3},
}
COLOURED = {"plasma_noise", "transverse_chromatic_abberation"}


def levels(count, shape):
    return (images(count, shape) * 255).round().to(torch.uint8)


@pytest.mark.parametrize(("preset", "name"), CASES)
def test_a_severity_changes_more_than_the_one_before(preset, name):
    side, drawn, count = PICTURES[preset]
    pictures = interpolate(images(count, (3, drawn, drawn)), size=(side, side), mode="bilinear")
    changes = []
    for severity in range(1, 6):
        result = corrupt(pictures, name, severity, preset=preset)
        assert result.shape == pictures.shape
        changes.append((result - pictures).square().mean().item())
    falls = {severity for severity in range(1, 5) if changes[severity] <= changes[severity - 1]}
    assert falls <= FALLS.get((preset, name), set())
    assert min(changes) > 5e-5


@pytest.mark.parametrize("name", sorted(ALL.keys() - COLOURED))
@pytest.mark.parametrize(("side", "count"), [(32, 7), (64, 7), (224, 2)])
def test_grey_images(name, side, count):
    batch = levels(count, (1, side, side))
    for severity in range(1, 6) if side < 224 else (1, 5):
        result = corrupt(batch, name, severity)
        assert result.shape == batch.shape
        # One channel has no saturation.
        same = name == "saturate" or (name, severity) == ("glass_blur", 1)
        assert same or not torch.equal(result, batch)


@pytest.mark.parametrize("name", sorted(ALL.keys() - COLOURED - set(C_BAR) - {"frost", "spatter"}))
def test_grey_is_the_colour_image_of_three_equal_channels(name):
    grey = levels(3, (1, 32, 32))
    colour = corrupt(grey.expand(-1, 3, -1, -1), name, 3)
    difference = (corrupt(grey, name, 3).int() - colour.int()).abs()
    noisy = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"}
    # Each channel has noise of its own.
    assert (difference.max() > 5) if name in noisy else (difference.max() <= 1)


@pytest.mark.parametrize(
    ("name", "side"),
    [(name, side) for name in ALL for side in (32, 64, 224) if side < 224 or name not in C_BAR],
)
def test_seven_images_of_a_strided_batch(name, side):
    batch = levels(7, (3, side, side))
    turned = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    for severity in range(1, 6):
        result = corrupt(turned, name, severity)
        assert result.shape == batch.shape
        changed = (result != batch).flatten(1).any(dim=1)
        assert changed.any() or (name, severity) == ("glass_blur", 1)
        if severity == 3 and side < 224:
            difference = (corrupt(batch, name, severity).int() - result.int()).abs()
            assert difference.max() <= 1
            assert (difference > 0).double().mean() < 1e-3


@pytest.mark.parametrize("name", ALL)
def test_no_host_waits_for_its_device(name):
    # A device without numbers refuses whatever a host would have to wait for.
    batch = torch.empty(2, 3, 32, 32, dtype=torch.uint8, device="meta")
    for severity in range(1, 6):
        if name == "spatter" and severity <= 3:
            # Canny follows edges until no pixel joins them.
            with pytest.raises(NotImplementedError, match="equal"):
                corrupt(batch, name, severity)
        else:
            assert corrupt(batch, name, severity).is_meta
