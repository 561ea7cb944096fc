"""AugMix: what Pillow makes of each image, the published distribution, and no shared draws."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pillow_operations import MOVING, PILLOW
from scipy import stats

from robustkit.augment.augmix import AugMix
from robustkit.errors import InputError


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(count=8, channels=3, height=32, width=32, seed=0):
    """8-bit images of smooth blobs with noise, in [0, 1]."""
    generator = seeded(seed)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = 0.1 * torch.randn(smooth.shape, generator=generator)
    return ((smooth + noise).clamp(0, 1) * 255).round() / 255


def by_pillow(module, images, mixture):
    """Every chain of every image on its own, on 8-bit images; then the mixture in float64."""
    count, width = len(images), mixture.weights.shape[1] - 1
    clean = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    chains = [Image.fromarray(clean[chain % count]) for chain in range(width * count)]
    for call in mixture.calls:
        function = PILLOW[module.operations[call.operation].name]
        for chain, argument in zip(call.chains.tolist(), call.parameters, strict=True):
            chains[chain] = function(chains[chain], argument.tolist())
    mixed = mixture.weights[:, 0, None, None, None].double().numpy() * clean
    for chain in range(width * count):
        weight = mixture.weights[chain % count, 1 + chain // count].item()
        mixed[chain % count] += weight * np.asarray(chains[chain])
    return torch.from_numpy(mixed).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize(
    "arguments", [{}, {"severity": 10, "all_operations": True}, {"depth": 2, "width": 2}]
)
def test_it_is_what_pillow_makes_of_each_image(arguments):
    module, images = AugMix(**arguments), batch(24)
    mixture = module.sample(images, generator=seeded())
    apart = (module(images, parameters=mixture).double() - by_pillow(module, images, mixture)).abs()
    # A moved pixel may differ by one 8-bit level, which equalisation after it can make larger.
    assert apart.mean() < 0.1 / 255
    assert (apart > 1 / 255).double().mean() < 0.005


def test_without_moved_pixels_it_equals_pillow_up_to_rounding():
    module, images = AugMix(severity=10, all_operations=True), batch(24)
    module.operations = tuple(
        operation for operation in module.operations if operation.name not in MOVING
    )
    mixture = module.sample(images, generator=seeded())
    found = module(images, parameters=mixture).double()
    torch.testing.assert_close(found, by_pillow(module, images, mixture), rtol=0, atol=1e-6)


def steps(module, count, seed=0):
    """Return the length of each chain, and the operation of each step of any chain."""
    mixture = module.sample(torch.zeros(count, 1, 2, 2), generator=seeded(seed))
    lengths = torch.zeros(module.width * count, dtype=torch.int64)
    for call in mixture.calls:
        lengths[call.chains] += 1
    sizes = torch.zeros(len(module.operations))
    for call in mixture.calls:
        sizes[call.operation] += len(call.chains)
    return lengths, sizes, mixture


@pytest.mark.parametrize("all_operations", [False, True])
def test_lengths_and_operations_are_uniform(all_operations):
    lengths, sizes, _ = steps(AugMix(all_operations=all_operations), 4000)
    assert stats.chisquare(lengths.bincount(minlength=4)[1:]).pvalue > 1e-4
    assert lengths.min() == 1
    assert len(sizes) == (13 if all_operations else 9)
    assert stats.chisquare(sizes).pvalue > 1e-4


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_given_depth_is_that_of_every_chain(depth):
    lengths, sizes, mixture = steps(AugMix(depth=depth, width=2), 500)
    assert (lengths == depth).all()
    assert stats.chisquare(sizes).pvalue > 1e-4
    # Chains of an image draw their operations each for itself, and so do its steps.
    firsts = torch.zeros(1000, dtype=torch.int64)
    for call in mixture.calls[: len(sizes)]:
        firsts[call.chains] = call.operation
    assert ((firsts[:500] == firsts[500:]).float().mean() - 1 / 9).abs() < 0.06


@pytest.mark.parametrize("alpha", [0.3, 1.0, 4])
@pytest.mark.parametrize("width", [1, 3])
def test_weights_are_beta_and_dirichlet(alpha, width):
    _, _, mixture = steps(AugMix(width=width, alpha=alpha), 4000)
    weights = mixture.weights.double()
    torch.testing.assert_close(weights.sum(1), torch.ones(4000).double(), rtol=0, atol=1e-6)
    assert weights.min() >= 0
    clean = weights[:, 0].numpy()
    assert stats.kstest(clean, stats.beta(alpha, alpha).cdf).pvalue > 1e-4
    if width > 1:
        share = weights[:, 1] / (1 - weights[:, 0]).clamp(min=1e-9)
        known = share[(weights[:, 0] < 1 - 1e-4)].numpy()
        law = stats.beta(alpha, (width - 1) * alpha)
        assert stats.kstest(known, law.cdf).pvalue > 1e-4


def test_a_clean_share_of_one_returns_the_image_and_of_zero_the_chain():
    module, images = AugMix(width=1, depth=1), batch(6)
    mixture = module.sample(images, generator=seeded())
    ends = torch.tensor([[1.0, 0.0]]).expand(6, 2)
    torch.testing.assert_close(module(images, parameters=replace(mixture, weights=ends)), images)
    chains = module(images, parameters=replace(mixture, weights=ends.flip(1)))
    for call in mixture.calls:
        operation, rows = module.operations[call.operation], call.chains
        expected = operation.apply(images[rows], call.parameters)
        torch.testing.assert_close(chains[rows], expected)


def test_every_image_draws_its_own():
    same = batch(1).expand(64, -1, -1, -1)
    found = AugMix()(same, generator=seeded())
    assert len(found.flatten(1).unique(dim=0)) == 64
    strengths = [
        call.parameters
        for call in AugMix().sample(same, generator=seeded()).calls
        if AugMix().operations[call.operation].name == "shear_x"
    ]
    assert len(strengths) == 3
    assert all(len(one.unique()) == len(one) for one in strengths)


def test_equal_generators_give_equal_images_and_the_default_one_is_used_without():
    module, images = AugMix(alpha=0.5), batch()
    kept = images.clone()
    before = torch.random.get_rng_state()
    first = module(images, generator=seeded(3))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(module(images, generator=seeded(3)), first)
    assert not torch.equal(module(images, generator=seeded(4)), first)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        assert torch.equal(module(images), first)
    assert torch.equal(images, kept)
    replayed = module(images, parameters=module.sample(images, generator=seeded(3)))
    assert torch.equal(replayed, first)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    severity=st.floats(0.1, 10),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 17),
    width=st.integers(1, 17),
    all_operations=st.booleans(),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_results_stay_in_the_unit_range(
    seed, severity, channels, height, width, all_operations, dtype
):
    images = torch.rand(4, channels, height, width, generator=seeded(seed)).to(dtype)
    module = AugMix(severity=severity, all_operations=all_operations, alpha=0.2)
    found = module(images, generator=seeded(seed))
    assert (found.dtype, found.shape) == (dtype, images.shape)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_nothing_waits_for_the_values_of_pixels_or_draws():
    module, images = AugMix(all_operations=True), batch()
    mixture = module.sample(images, generator=seeded())
    calls = tuple(
        replace(call, chains=call.chains.to("meta"), parameters=call.parameters.to("meta"))
        for call in mixture.calls
    )
    # Tensors of this device have no values: to ask for one is an error.
    nowhere = replace(mixture, weights=mixture.weights.to("meta"), calls=calls)
    assert module(images.to("meta"), parameters=nowhere).shape == images.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_does_the_same_without_waiting():
    module, images = AugMix(all_operations=True, alpha=0.5), batch(64).cuda()
    mixture = module.sample(images, generator=seeded())
    found = module(images, parameters=mixture)
    calls = tuple(
        replace(call, chains=call.chains.cpu(), parameters=call.parameters.cpu())
        for call in mixture.calls
    )
    here = replace(mixture, weights=mixture.weights.cpu(), calls=calls)
    apart = (found.cpu() - module(images.cpu(), parameters=here)).abs()
    assert apart.mean() < 0.1 / 255
    torch.cuda.set_sync_debug_mode("error")
    try:
        module(images, generator=seeded())
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_its_name_holds_every_setting_and_it_has_no_state():
    assert repr(AugMix()) == (
        "AugMix(width=3, depth=None, severity=3, alpha=1.0, all_operations=False)"
    )
    assert repr(AugMix(2, 4, 1, 0.5, True)) == (
        "AugMix(width=2, depth=4, severity=1, alpha=0.5, all_operations=True)"
    )
    assert AugMix().state_dict() == {}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: AugMix(width=0), "at least 1"),
        (lambda: AugMix(depth=0), "at least 1"),
        (lambda: AugMix(severity=0), "severity must lie"),
        (lambda: AugMix(alpha=0), "alpha must be positive"),
        (lambda: AugMix()(torch.zeros(3, 8, 8)), "batch"),
        (lambda: AugMix()(torch.full((2, 3, 8, 8), 1.5)), "lie in"),
        (
            lambda: AugMix()(
                torch.zeros(2, 3, 8, 8), parameters=AugMix().sample(torch.zeros(2, 3, 8, 9))
            ),
            "draw another",
        ),
        (
            lambda: AugMix(all_operations=True)(
                torch.zeros(2, 3, 8, 8), parameters=AugMix().sample(torch.zeros(2, 3, 8, 8))
            ),
            "for 9 operations",
        ),
        (lambda: AugMix()(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)), "to_float"),
        (
            lambda: AugMix(all_operations=True, width=9)(
                torch.zeros(20, 2, 8, 8), generator=seeded()
            ),
            "one channel or three",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()
