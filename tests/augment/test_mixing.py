"""Chains and their mixture: the laws of the draws, replay, and no work in vain."""

import math
from dataclasses import dataclass, replace

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prime_toys import generator, images

from robustkit.augment import Operation, Prime, Spectral, mix, primitives, sample_mixture
from robustkit.augment.operation import check_operations
from robustkit.errors import InputError

HALF = [torch.float16, torch.bfloat16]


@dataclass
class Power:
    """Raise pixels to a fixed power: chains then tell which operations they are made of."""

    exponent: float
    images: int = 0
    calls: int = 0

    def sample(self, count, shape, *, generator, dtype, device):
        return torch.rand(count, generator=generator, device=device)

    def apply(self, batch, parameters):
        assert len(batch) == len(parameters)
        self.images += len(batch)
        self.calls += 1
        return batch**self.exponent


class Marked(Power):
    """Replace an image by its parameter."""

    def apply(self, batch, parameters):
        return parameters.to(batch.dtype)[:, None, None, None].expand_as(batch).clone()


class Refined(Power):
    """Keep parameters in a dataclass."""

    @dataclass(frozen=True)
    class Draws:
        scale: torch.Tensor
        number: torch.Tensor

    def sample(self, count, shape, *, generator, dtype, device):
        scale = torch.rand(count, generator=generator, dtype=dtype, device=device)
        return self.Draws(scale, torch.arange(count, device=device))

    def apply(self, batch, parameters):
        assert len(parameters.number) == len(batch)
        return batch * parameters.scale[:, None, None, None]


def only_chain(count, width, chain, mixture):
    """Give all the weight to one chain."""
    weights = torch.zeros(count, 1 + width)
    weights[:, chain] = 1
    return replace(mixture, weights=weights)


def counted(mixture, chains, operations, depth):
    """Rebuild by brute force which operations each chain meets, in order."""
    met = [[] for _ in range(chains)]
    for call in mixture.calls:
        assert len(call.chains) == len(call.parameters)
        assert call.chains.unique().numel() == len(call.chains)
        for chain in call.chains.tolist():
            met[chain].append(call.operation)
    assert max(map(len, met)) <= depth
    assert {one for chain in met for one in chain} <= set(range(operations))
    return met


def test_as_published_lengths_and_operations_are_uniform():
    count, width, depth = 3000, 3, 3
    operations = [Power(1.0) for _ in range(4)]
    mixture = sample_mixture(operations, (count, 1, 1, 1), generator=generator())
    met = counted(mixture, count * width, 4, depth)
    lengths = torch.bincount(torch.tensor([len(one) for one in met]), minlength=4)
    assert lengths[0] == 0
    assert scipy.stats.chisquare(lengths[1:].numpy()).pvalue > 1e-3
    for step in range(depth):
        chosen = torch.tensor([one[step] for one in met if len(one) > step])
        assert scipy.stats.chisquare(torch.bincount(chosen, minlength=4).numpy()).pvalue > 1e-3
    # Choices of an image's chains, and of a chain's steps, are independent.
    first = torch.tensor([one[0] for one in met]).reshape(width, count)
    table = torch.zeros(4, 4)
    table.index_put_((first[0], first[1]), torch.ones(count), accumulate=True)
    assert scipy.stats.chi2_contingency(table.numpy()).pvalue > 1e-3


def test_in_the_paper_the_identity_takes_part_and_all_chains_are_as_long():
    count, width, depth = 3000, 3, 2
    operations = [Power(1.0) for _ in range(3)]
    mixture = sample_mixture(
        operations, (count, 1, 1, 1), depth=depth, mixing="paper", generator=generator()
    )
    met = counted(mixture, count * width, 3, depth)
    lengths = torch.bincount(torch.tensor([len(one) for one in met]), minlength=3)
    # A step is the identity with chance 1/4.
    wanted = torch.tensor([1, 6, 9]) / 16 * count * width
    assert scipy.stats.chisquare(lengths.numpy(), wanted.double().numpy()).pvalue > 1e-3
    chosen = torch.bincount(torch.tensor([one for chain in met for one in chain]), minlength=3)
    assert scipy.stats.chisquare(chosen.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("mixing", "clean"), [("code", 0.5), ("paper", 0.25)])
def test_weights_are_uniform_on_the_simplex(mixing, clean):
    count = 20_000
    weights = sample_mixture(
        [Power(1.0)], (count, 1, 1, 1), mixing=mixing, generator=generator(1)
    ).weights.double()
    assert weights.shape == (count, 4)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(count).double(), rtol=0, atol=1e-6)
    assert weights[:, 0].mean().item() == pytest.approx(clean, abs=0.01)
    if mixing == "code":
        assert scipy.stats.kstest(weights[:, 0].numpy(), "uniform").pvalue > 1e-3
        weights = weights[:, 1:] / weights[:, 1:].sum(1, keepdim=True)
    terms = weights.shape[1]
    for term in range(terms):
        law = scipy.stats.beta(1, terms - 1)
        assert scipy.stats.kstest(weights[:, term].numpy(), law.cdf).pvalue > 1e-3
    # Every pair has the covariance of a uniform point of the simplex.
    covariance = torch.cov(weights.mT)
    wanted = -torch.ones(terms, terms).double() / (terms**2 * (terms + 1))
    wanted.fill_diagonal_((terms - 1) / (terms**2 * (terms + 1)))
    torch.testing.assert_close(covariance, wanted, rtol=0, atol=0.003)


@pytest.mark.parametrize("mixing", ["code", "paper"])
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (2, 4), (3, 3)])
def test_the_result_is_the_stated_mixture_of_the_stated_chains(mixing, width, depth):
    count = 13
    batch = 0.2 + 0.8 * images(count, (2, 3, 4), dtype=torch.float64)
    exponents = [0.5, 2.0, 3.0]
    operations = [Power(exponent) for exponent in exponents]
    options = {"width": width, "depth": depth, "mixing": mixing}
    mixture = sample_mixture(
        operations, batch.shape, generator=generator(3), dtype=batch.dtype, **options
    )
    met = counted(mixture, count * width, 3, depth)
    wanted = torch.empty_like(batch)
    for i, image in enumerate(batch):
        total = mixture.weights[i, 0] * image
        for k in range(width):
            chain = image
            for one in met[k * count + i]:
                chain = chain ** exponents[one]
            total = total + mixture.weights[i, 1 + k] * chain
        wanted[i] = total
    torch.testing.assert_close(mix(batch, operations, parameters=mixture), wanted)
    # Drawing on the way is the same as drawing before.
    drawn = mix(batch, operations, generator=generator(3), **options)
    torch.testing.assert_close(drawn, wanted)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 50])
def test_an_operation_meets_the_images_that_drew_it_and_no_others(count):
    operations = [Power(1.0), Power(1.0), Power(1.0)]
    batch = images(count, (1, 2, 2))
    mixture = sample_mixture(operations, batch.shape, generator=generator(count))
    mix(batch, operations, parameters=mixture)
    for number, operation in enumerate(operations):
        rows = sum(len(call.chains) for call in mixture.calls if call.operation == number)
        assert operation.images == rows
    met = counted(mixture, 3 * count, 3, 3)
    assert sum(operation.images for operation in operations) == sum(map(len, met))
    # And in few calls: a call takes a quarter of the batch.
    assert sum(operation.calls for operation in operations) <= 9 + 4 * 6


def test_parameters_stay_with_their_images():
    batch = images(50, (1, 2, 2))
    operations = [Marked(1.0), Refined(1.0)]
    mixture = sample_mixture(operations, batch.shape, depth=1, generator=generator(5))
    results = [mix(batch, operations, parameters=only_chain(50, 3, k, mixture)) for k in (1, 2, 3)]
    chains = torch.cat(results)
    clean = batch.repeat(3, 1, 1, 1)
    assert {call.operation for call in mixture.calls} == {0, 1}
    for call in mixture.calls:
        if call.operation == 0:
            wanted = call.parameters[:, None, None, None].expand(-1, 1, 2, 2)
        else:
            wanted = clean[call.chains] * call.parameters.scale[:, None, None, None]
        torch.testing.assert_close(chains[call.chains], wanted)


def test_no_weight_on_the_chains_gives_the_image_itself():
    batch, operations = images(6), primitives("cifar")
    mixture = sample_mixture(operations, batch.shape, generator=generator())
    assert torch.equal(mix(batch, operations, parameters=only_chain(6, 3, 0, mixture)), batch)


def test_one_chain_of_one_operation_is_that_operation():
    batch = images(6)
    operation = primitives("cifar", names=("spectral",))[0]
    mixture = sample_mixture([operation], batch.shape, width=1, depth=1, generator=generator())
    (call,) = mixture.calls
    assert torch.equal(call.chains, torch.arange(6))
    alone = operation.apply(batch, call.parameters)
    found = mix(batch, [operation], parameters=only_chain(6, 1, 1, mixture))
    torch.testing.assert_close(found, alone, rtol=0, atol=1e-6)


def test_normalisation_before_and_after_the_mixture_are_the_same():
    batch, operations = images(6), primitives("cifar")
    mixture = sample_mixture(operations, batch.shape, generator=generator())
    mean = torch.tensor([0.5, 0.4, 0.3])[:, None, None]
    terms = [mix(batch, operations, parameters=only_chain(6, 3, k, mixture)) for k in range(4)]
    shares = mixture.weights.T[..., None, None, None]
    before = sum(share * (term - mean) / 0.2 for share, term in zip(shares, terms, strict=True))
    after = (mix(batch, operations, parameters=mixture) - mean) / 0.2
    torch.testing.assert_close(before, after, rtol=0, atol=1e-5)


def test_any_object_with_both_methods_joins():
    class Invert:
        def sample(self, count, shape, *, generator, dtype, device):
            return torch.zeros(count, device=device)

        def apply(self, images, parameters):
            return 1 - images

    assert isinstance(Invert(), Operation)
    assert not isinstance(object(), Operation)
    batch = images(5)
    result = mix(batch, [*primitives("cifar"), Invert()], generator=generator())
    assert result.shape == batch.shape
    inverted = mix(batch, [Invert()], width=1, depth=1, generator=generator())
    share = sample_mixture([Invert()], batch.shape, width=1, depth=1, generator=generator())
    wanted = batch + share.weights[:, 1, None, None, None] * (1 - 2 * batch)
    torch.testing.assert_close(inverted, wanted)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 6),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    mixing=st.sampled_from(["code", "paper"]),
    preset=st.sampled_from(["cifar", "imagenet"]),
    dtype=st.sampled_from([*HALF, torch.float32, torch.float64]),
)
def test_results_stay_in_the_box_and_replay(
    seed, count, channels, height, width, mixing, preset, dtype
):
    batch = images(count, (channels, height, width), seed, dtype)
    kept, operations = batch.clone(), primitives(preset)
    state = torch.get_rng_state()
    result = mix(batch, operations, mixing=mixing, generator=generator(seed))
    mixture = sample_mixture(
        operations, batch.shape, mixing=mixing, generator=generator(seed), dtype=dtype
    )
    assert torch.equal(mix(batch, operations, parameters=mixture), result)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(batch, kept)
    assert (result.dtype, result.shape) == (dtype, batch.shape)
    assert ((result >= 0) & (result <= 1)).all()


def test_an_image_does_not_depend_on_the_others():
    batch, operations = images(9, (3, 16, 16)), primitives("cifar")
    mixture = sample_mixture(operations, batch.shape, generator=generator())
    whole = mix(batch, operations, parameters=mixture)
    others = images(9, (3, 16, 16), seed=1)
    others[4] = batch[4]
    swapped = mix(others, operations, parameters=mixture)
    torch.testing.assert_close(swapped[4], whole[4], rtol=0, atol=1e-6)
    assert (swapped[3] - whole[3]).abs().max() > 0.01


def test_the_default_generator_is_that_of_torch():
    batch, operations = images(), primitives("cifar")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        first, second = mix(batch, operations), mix(batch, operations)
        torch.manual_seed(4)
        assert torch.equal(mix(batch, operations), first)
    assert not torch.equal(first, second)
    assert torch.equal(mix(batch, operations, generator=generator(4)), first)


def test_what_cannot_be_done_is_refused():
    batch, operations = images(), primitives("cifar")
    for wrong, words in [
        ({"width": 0}, "at least 1"),
        ({"depth": 0}, "at least 1"),
        ({"mixing": "codes"}, "Did you mean 'code'"),
    ]:
        with pytest.raises(InputError, match=words):
            mix(batch, operations, **wrong)
    with pytest.raises(InputError, match="operations"):
        mix(batch, [])
    with pytest.raises(InputError, match="unsqueeze"):
        mix(batch[0], operations)
    with pytest.raises(InputError, match="8-bit"):
        mix((batch * 255).to(torch.uint8), operations)
    with pytest.raises(InputError, match="empty"):
        mix(batch[:0], operations)
    with pytest.raises(InputError, match="shape"):
        sample_mixture(operations, (3, 32, 32))
    for value, words in [(-0.01, "lie in"), (1.01, "lie in"), (math.nan, "NaN")]:
        outside = batch.clone()
        outside[1, 2, 3, 4] = value
        with pytest.raises(InputError, match=words):
            mix(outside, operations)

    class Loose(Power):
        def sample(self, count, shape, **_):
            return [0.0] * count

    with pytest.raises(InputError, match="parameters"):
        mix(batch, [Loose(1.0)])


def test_a_mixture_serves_the_images_and_operations_that_it_was_drawn_for():
    batch, operations = images(6), primitives("cifar")
    mixture = sample_mixture(operations, batch.shape, generator=generator())
    for others, words in [
        (images(5), "6 images"),
        (images(6, (1, 12, 10)), r"\(3, 12, 10\)"),
        (images(6, (3, 10, 12)), r"\(3, 12, 10\)"),
    ]:
        with pytest.raises(InputError, match=words):
            mix(others, operations, parameters=mixture)
        with pytest.raises(InputError, match=words):
            Prime()(others, parameters=mixture)
    for wrong in (operations[:2], [*operations, Spectral()]):
        with pytest.raises(InputError, match="for 3 operations"):
            mix(batch, wrong, parameters=mixture)


def test_what_is_no_operation_is_refused():
    class Module(torch.nn.Module):
        sample, apply = Power.sample, Power.apply

    check_operations([*primitives("cifar"), Power(1.0), Module()])
    for wrong, words in [
        (Prime(), r"\[\*Prime\(\).operations\]"),
        (torch.nn.Identity(), "got Identity"),
        (1, "got int"),
        (Spectral, r"Spectral\(...\)"),
    ]:
        with pytest.raises(InputError, match=r"operations\[1\].*" + words):
            check_operations([Spectral(), wrong])
    batch, operations = images(), [Prime()]
    with pytest.raises(InputError, match="methods sample and apply"):
        mix(batch, operations)
    with pytest.raises(InputError, match="methods sample and apply"):
        sample_mixture(operations, batch.shape)
    assert mix(batch, [*Prime().operations], generator=generator()).shape == batch.shape
