"""`legacy=True` against what the authors' code gave: five statistics an image, in distribution."""

import numpy as np
import pytest
import torch
from prime_toys import augmented, generator, images

from robustkit import data
from robustkit.augment import Prime, Spectral, primitives

NAMES = {"diffeo": "diffeomorphism", "color": "color", "spectral": "spectral"}
BATCH = 8


@pytest.fixture
def photographs(real_data):
    return data.to_float(data.load("cifar10", limit=512).images)


@pytest.fixture
def reference(real_data):
    file = real_data.parent / "reference" / "prime_cifar10_stats.npz"
    if not file.is_file():
        pytest.skip("no outputs of the published code beside the data")
    values = dict(np.load(file).items())
    columns = ["mean_difference", "mse", "mean", "std", "saturated_fraction"]
    assert values["columns"].tolist() == columns
    return values


def statistics(results, clean):
    results, clean = results.flatten(1), clean.flatten(1)
    return torch.stack(
        [
            (results - clean).mean(1),
            (results - clean).square().mean(1),
            results.mean(1),
            results.std(1),
            ((results <= 0) | (results >= 1)).float().mean(1),
        ],
        dim=1,
    ).numpy()


def ours(name, clean, passes=4, operation=None, **settings):
    """Augment batches of eight as the reference was made, one row an image."""
    if name == "prime":
        transform = Prime(**settings)
    else:
        if operation is None:
            (operation,) = primitives(names=(NAMES[name],), **settings)

        def transform(batch, generator):
            return augmented(operation, batch, int(torch.randint(2**40, (), generator=generator)))

    source = generator(7)
    return np.concatenate(
        [
            statistics(transform(batch, generator=source), batch)
            for _ in range(passes)
            for batch in clean.split(BATCH)
        ]
    )


def chance(first, second, rounds=1000):
    """The p-value of the Kolmogorov-Smirnov distance, batches being exchanged and not images.

    Images of a batch share strengths: only whole batches are independent.
    """
    values = np.concatenate([first, second])
    labels = np.repeat([1.0, -1.0], [len(first) // BATCH, len(second) // BATCH])
    source = np.random.default_rng(0)
    rows = np.stack([labels, *(source.permutation(labels) for _ in range(rounds))])
    order = np.argsort(values, kind="stable")
    last = np.append(np.diff(values[order]) > 0, True)
    paths = np.repeat(rows, BATCH, axis=1)[:, order].cumsum(axis=1)[:, last]
    distances = np.abs(paths).max(axis=1)
    return (distances >= distances[0]).mean()


@pytest.mark.parametrize("name", ["diffeo", "color", "spectral", "prime"])
def test_legacy_has_the_law_of_the_published_code(name, photographs, reference):
    found, published = ours(name, photographs, legacy=True), reference[name]
    assert found.shape == published.shape
    for column, title in enumerate(reference["columns"]):
        assert chance(found[:, column], published[:, column]) > 1e-3, title
        batches = [rows[:, column].reshape(-1, BATCH).mean(1) for rows in (found, published)]
        error = np.sqrt(sum(means.var(ddof=1) / len(means) for means in batches))
        assert abs(batches[0].mean() - batches[1].mean()) < 4 * error, title


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("diffeo", {"preset": "imagenet"}),
        ("color", {"preset": "imagenet"}),
        ("prime", {"mixing": "paper"}),
    ],
)
def test_the_comparison_sees_other_settings(name, other, photographs, reference):
    passes = 2 if name == "prime" else 4
    found = ours(name, photographs, passes, legacy=True, **other)
    assert min(chance(found[:, k], reference[name][:, k]) for k in range(5)) < 2e-3


@pytest.mark.parametrize("sigma", [2.0, 8.0])
def test_the_comparison_sees_another_sigma(sigma, photographs, reference):
    other = Spectral(sigma, shared=True, centered=False)
    found = ours("spectral", photographs, operation=other)
    assert min(chance(found[:, k], reference["spectral"][:, k]) for k in range(5)) < 2e-3


@pytest.mark.parametrize(("legacy", "tap"), [(True, (2, 2)), (False, (1, 1))])
def test_the_filter_of_legacy_alone_moves_the_image(legacy, tap):
    # On white noise the result is correlated with the input at a tap by that tap's weight: over
    # many kernels only the delta's has a mean.
    (operation,) = primitives(names=("spectral",), legacy=legacy)
    clean = images(2400, (1, 12, 12))
    parts = enumerate(clean.split(BATCH))
    result = torch.cat([augmented(operation, part, seed) for seed, part in parts])[:, 0, 1:-1, 1:-1]
    windows = clean[:, 0].unfold(1, 10, 1).unfold(2, 10, 1)
    result = (result - result.mean((1, 2), keepdim=True))[:, None, None]
    windows = windows - windows.mean((3, 4), keepdim=True)
    product = (result * windows).sum((3, 4))
    sizes = result.norm(dim=(3, 4)) * windows.norm(dim=(3, 4))
    found = (product / sizes.clamp(min=1e-6)).mean(0)
    assert found[tap] > 0.15
    found[tap] = 0
    assert found.abs().max() < 0.05


def shared_part(rows):
    """How much of the variance of an image's MSE is that of its batch, per cent."""
    batches = np.log(rows[:, 1] + 1e-6).reshape(-1, BATCH)
    return batches.mean(axis=1).var() / batches.var()


@pytest.mark.parametrize("name", ["diffeo", "color"])
def test_images_of_a_batch_share_strengths_only_in_legacy(name, photographs, reference):
    published = shared_part(reference[name])
    assert published > 0.5
    assert abs(shared_part(ours(name, photographs, legacy=True)) - published) < 0.1
    # An image alone has the same law either way.
    default = ours(name, photographs)
    assert shared_part(default) < 0.3
    for column in range(5):
        assert chance(default[:, column], reference[name][:, column]) > 1e-3
