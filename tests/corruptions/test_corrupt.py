"""The entry to all corruptions: identity, keys, severities an image, dtypes, rounding, refusals."""

import inspect

import numpy as np
import pytest
import torch
from corruption_toys import images
from golden import CASES, samples, stored

from robustkit.corruptions import (
    C_BAR,
    C_BAR_SETS,
    CORRUPTIONS,
    EXTRA,
    FAMILIES,
    PRESETS,
    corrupt,
    parameters,
)
from robustkit.corruptions.levels import round_to_level, truncate
from robustkit.corruptions.precision import full_precision
from robustkit.corruptions.registry import ALL, find, preset_of
from robustkit.corruptions.severities import SEVERITIES
from robustkit.errors import InputError

KEPT = stored()


def levels(count=4, shape=(3, 32, 32), seed=0):
    return (images(count, shape, seed) * 255).round().to(torch.uint8)


def random_state():
    """Return the state of NumPy's global generator."""
    return np.random.get_state()[1].copy()  # noqa: NPY002


def test_the_names_are_those_of_the_benchmark():
    assert len(CORRUPTIONS) == 15
    assert set(EXTRA) == {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
    assert list(FAMILIES) == ["noise", "blur", "weather", "digital"]
    assert [len(names) for names in FAMILIES.values()] == [3, 4, 4, 4]
    assert tuple(name for names in FAMILIES.values() for name in names) == CORRUPTIONS
    assert {preset: len(names) for preset, names in C_BAR_SETS.items()} == {
        "cifar": 10,
        "imagenet": 10,
    }
    assert len(C_BAR) == 15
    assert set(C_BAR) == {name for names in C_BAR_SETS.values() for name in names}
    assert set(ALL) == {*CORRUPTIONS, *EXTRA, *C_BAR}
    assert {one.family for one in ALL.values()} == {*FAMILIES, "c-bar"}


def test_every_row_of_the_tables_fits_its_function():
    for preset in PRESETS:
        assert set(SEVERITIES[preset]) == {*CORRUPTIONS, *EXTRA}
    for corruption in ALL.values():
        arguments = list(inspect.signature(corruption.function).parameters.values())
        taken = [one.name for one in arguments[2:] if one.kind is one.POSITIONAL_OR_KEYWORD]
        assert [one.name for one in arguments[:2]] == ["images", "draws"]
        assert corruption.arguments == tuple(taken)
        for rows in corruption.severities.values():
            assert [len(row) for row in rows] == [len(taken)] * 5


def test_parameters_have_names():
    assert parameters("shot_noise", 1, "cifar") == {"photons": 500}
    assert parameters("snow", 5, "imagenet") == {
        "location": 0.55,
        "scale": 0.3,
        "zoom": 2.5,
        "threshold": 0.85,
        "radius": 12,
        "sigma": 12,
        "blend": 0.55,
    }
    assert parameters("elastic_transform", 2, "tiny") == {
        "alpha": 64 * 0.05,
        "sigma": 64 * 0.3,
        "affine": 64 * 0.06,
    }
    assert parameters("caustic_refraction", 1, "imagenet") == pytest.approx(
        {"lens": 0.05 * 2.35, "lighting": 0.2 * 2.35}
    )


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [32, 64, 224])
def test_every_corruption_runs_and_does_something(name, size):
    batch = levels(1, (3, size, size))
    for severity in range(1, 6):
        result = corrupt(batch, name, severity)
        assert result.shape == batch.shape
        assert result.dtype == torch.uint8
        if (name, severity) != ("glass_blur", 1):
            assert not torch.equal(result, batch)


@pytest.mark.parametrize("name", ALL)
def test_an_image_depends_on_its_index_alone(name):
    batch = levels(7, (3, 32, 32))
    kept = batch.clone()
    for severity in (2, 5):
        whole = corrupt(batch, name, severity, seed=3)
        assert torch.equal(batch, kept)
        rows = torch.tensor([5, 0, 2])
        part = corrupt(batch[rows], name, severity, seed=3, indices=rows, chunk=2)
        difference = (part.int() - whole[rows].int()).abs()
        # Sums over another number of images may be taken in another order.
        assert difference.max() <= 1
        assert (difference > 0).double().mean() < 1e-3


@pytest.mark.parametrize("name", ALL)
def test_severity_zero_is_the_identity(name):
    batch = levels()
    assert torch.equal(corrupt(batch, name, 0), batch)
    numbers = images(2, (3, 32, 32))
    result = corrupt(numbers, name, 0)
    assert torch.equal(result, numbers)
    assert result.data_ptr() != numbers.data_ptr()


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "motion_blur", "contrast"])
def test_each_image_may_have_a_severity_of_its_own(name):
    batch, severity = levels(8), torch.tensor([0, 3, 5, 3, 1, 0, 2, 4])
    mixed = corrupt(batch, name, severity, seed=2, chunk=1)
    for row, level in enumerate(severity.tolist()):
        alone = corrupt(batch[row : row + 1], name, level, seed=2, indices=torch.tensor([row]))
        assert torch.equal(alone[0], mixed[row])
    same = corrupt(batch, name, torch.full((8,), 3, dtype=torch.int32))
    assert torch.equal(same, corrupt(batch, name, 3))


@pytest.mark.parametrize("name", ["shot_noise", "frost", "elastic_transform"])
def test_seed_severity_and_index_give_new_numbers(name):
    batch = levels(1).expand(3, -1, -1, -1)
    first = corrupt(batch, name, 2)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, corrupt(batch, name, 2, seed=1))
    again = corrupt(batch, name, 2, indices=torch.arange(3))
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", [*CORRUPTIONS, *EXTRA])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_stays_and_numbers_stay_in_range(name, dtype):
    batch = levels()
    numbers = batch.to(dtype) / 255
    result = corrupt(numbers, name, 3)
    assert result.dtype == dtype
    assert 0 <= result.min() <= result.max() <= 1
    if dtype == torch.float32:
        # 8-bit results are these numbers truncated.
        assert torch.equal(corrupt(batch, name, 3), truncate(result))
        assert torch.equal(corrupt(batch, name, 3, rounding="round"), round_to_level(result))


@pytest.mark.parametrize("name", [*CORRUPTIONS, *EXTRA])
def test_grey_images_and_other_layouts_and_shapes(name):
    grey = corrupt(levels(2, (1, 40, 33)), name, 2)
    assert grey.shape == (2, 1, 40, 33)
    batch = levels(3)
    turned = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(corrupt(turned, name, 2), corrupt(batch, name, 2))
    doubled = torch.stack([batch, batch], dim=1)[:, 0]
    assert torch.equal(corrupt(doubled, name, 2), corrupt(batch, name, 2))


def test_nothing_random_outside_is_touched_and_no_gradient_kept():
    state, legacy = torch.random.get_rng_state(), random_state()
    numbers = images(2, (3, 32, 32)).requires_grad_()
    assert not corrupt(numbers, "snow", 3).requires_grad
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(random_state(), legacy)


def test_levels_are_truncated_or_rounded():
    every = torch.arange(256)
    for dtype in (torch.float32, torch.float64):
        values = every.to(dtype) / 255
        assert torch.equal(truncate(values).long(), every)
        assert torch.equal(round_to_level(values).long(), every)
        assert torch.equal(truncate((values + 0.9 / 255).clamp(max=1)).long(), every)
        up = round_to_level((values + 0.6 / 255).clamp(max=1)).long()
        assert torch.equal(up, (every + 1).clamp(max=255))


@pytest.mark.parametrize(("name", "preset"), CASES)
def test_results_never_change(name, preset):
    for severity in range(1, 6):
        found, expected = samples(name, preset, severity), KEPT[f"{name}/{preset}/{severity}"]
        # Where truncation, a threshold or a move hangs on the last digit, a level may change.
        assert (found != expected).sum() <= 2


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "contrast", "perlin_noise"])
def test_a_change_by_one_level_is_seen(name):
    for severity in range(1, 6):
        found = samples(name, "imagenet", severity, rounding="round")
        assert (found != KEPT[f"{name}/imagenet/{severity}"]).sum() > 2


def test_the_default_preset_follows_the_size():
    noise, caustic = find("gaussian_noise"), find("caustic_refraction")
    chosen = {side: preset_of(noise, None, side) for side in (8, 48, 49, 128, 129, 500)}
    assert list(chosen.values()) == ["cifar", "cifar", "tiny", "tiny", "imagenet", "imagenet"]
    # C-bar was published for two sizes, and some of it for one.
    assert preset_of(find("sparkles"), None, 64) == "imagenet"
    assert [preset_of(caustic, None, side) for side in (32, 64, 224)] == ["imagenet"] * 3
    batch = levels()
    default = corrupt(batch, "contrast", 1)
    assert torch.equal(default, corrupt(batch, "contrast", 1, preset="cifar"))
    assert not torch.equal(default, corrupt(batch, "contrast", 1, preset="imagenet"))


def test_full_precision_gives_back_what_was_chosen(monkeypatch):
    setting = torch.backends.cuda.matmul
    before = setting.fp32_precision
    setting.fp32_precision = "tf32"
    try:
        with full_precision(torch.device("cuda")):
            assert setting.fp32_precision == "ieee"
        assert setting.fp32_precision == "tf32"
        with full_precision(torch.device("cpu")):
            assert setting.fp32_precision == "tf32"
    finally:
        setting.fp32_precision = before


def test_integers_of_any_type_will_do():
    batch = levels(2)
    expected = corrupt(batch, "fog", 3, seed=4)
    for three in (np.int64(3), np.uint8(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)):
        assert torch.equal(corrupt(batch, "fog", three, seed=4), expected)
    for four in (np.int32(4), torch.tensor(4)):
        assert torch.equal(corrupt(batch, "fog", 3, seed=four), expected)
    assert torch.equal(corrupt(batch, "fog", torch.tensor([3, 3]), seed=4), expected)


BATCH = levels(2)
# Without the checks of types that the tests turn on.
untyped = inspect.unwrap(corrupt)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corrupt(BATCH, "gausian_noise", 1), "Did you mean 'gaussian_noise'"),
        (lambda: corrupt(BATCH, "fog", 6), "0 to 5"),
        (lambda: corrupt(BATCH, "fog", -1), "0 to 5"),
        (lambda: corrupt(BATCH, "fog", torch.tensor([1, 7])), "1 to 7"),
        (lambda: corrupt(BATCH, "fog", torch.tensor([1.0, 2.0])), "one integer"),
        (lambda: untyped(BATCH, "fog", torch.tensor(2.0)), "must be an integer, got tensor"),
        (lambda: untyped(BATCH, "fog", torch.tensor(True)), "must be an integer, got tensor"),
        (lambda: untyped(BATCH, "fog", 2.0), "must be an integer, got 2.0"),
        (lambda: untyped(BATCH, "fog", True), "must be an integer, got True"),
        (lambda: untyped(BATCH, "fog", [1, 2]), r"no tensor must be an integer, got \[1, 2\]"),
        (lambda: untyped(BATCH, "fog", np.array([1, 2])), "must be an integer, got array"),
        (lambda: untyped(BATCH, "fog", None), "must be an integer, got None"),
        (lambda: untyped(BATCH, "fog", 1, seed=1.0), "seed must be an integer, got 1.0"),
        (lambda: untyped(BATCH, "fog", 1, seed=None), "seed must be an integer, got None"),
        (lambda: untyped(BATCH.numpy(), "fog", 1), r"must be a tensor .*permute"),
        (lambda: untyped(BATCH, "fog", 1, indices=[0, 1]), "indices must be a tensor, got list"),
        (lambda: corrupt(BATCH, "fog", torch.tensor([1, 2, 3])), r"shape \(2,\)"),
        (lambda: corrupt(BATCH[0], "fog", 1), "unsqueeze"),
        (lambda: corrupt(BATCH[:0], "fog", 1), "empty"),
        (lambda: corrupt(BATCH.float(), "fog", 1), r"lie in \[0, 1\]"),
        (lambda: corrupt(BATCH.int(), "fog", 1), "floating point"),
        (lambda: corrupt(BATCH.float() / 0, "fog", 1), "NaN"),
        (lambda: corrupt(BATCH, "fog", 1, preset="cifar10"), "Did you mean 'cifar'"),
        (lambda: corrupt(BATCH, "lines", 1, preset="tiny"), "no published strengths"),
        (lambda: corrupt(BATCH, "fog", 1, rounding="floor"), "truncate"),
        (lambda: corrupt(BATCH, "fog", 1, chunk=0), "at least 1"),
        (lambda: corrupt(BATCH, "fog", 1, indices=torch.arange(3)), "indices"),
        (lambda: corrupt(BATCH, "fog", 1, mode="swap"), "unknown option of fog"),
        (lambda: corrupt(BATCH, "fog", 0, mode="swap"), "unknown option of fog"),
        (lambda: corrupt(BATCH, "glass_blur", 1, mod="swap"), "Did you mean 'mode'"),
        (lambda: corrupt(BATCH[..., :7, :7], "defocus_blur", 5, preset="imagenet"), "preset"),
        (lambda: parameters("fog", 0, "cifar"), "1 to 5"),
        (lambda: parameters("fog", 1, "mnist"), "unknown preset"),
    ],
)
def test_what_cannot_be_corrupted_is_refused_with_a_reason(call, message):
    with pytest.raises(InputError, match=message):
        call()
