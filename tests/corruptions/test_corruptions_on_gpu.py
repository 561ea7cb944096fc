"""The same corruptions on a GPU: the same numbers, and images that agree up to rounding."""

import numpy as np
import pytest
import torch
from corruption_toys import draws, images
from torch import nn

from robustkit.corruptions import C_BAR, CORRUPTIONS, EXTRA, CifarC, compare_released, corrupt
from robustkit.corruptions import evaluate_corruptions as evaluate
from robustkit.corruptions.draws import Draws

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

NAMES = [*CORRUPTIONS, *EXTRA, *C_BAR]


def network():
    """Return a linear network of fixed weights on (3, 32, 32), on the processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).eval()


def levels(count, size=32):
    return (images(count, (3, size, size)) * 255).round().to(torch.uint8)


def test_draws_agree_with_those_of_the_processor():
    here, there = draws(50), Draws(0, "test/1", torch.arange(50).cuda())
    for method in ("bits", "uniform"):
        found = getattr(there, method)("a", (3, 41, 7))
        assert found.is_cuda
        assert torch.equal(found.cpu(), getattr(here, method)("a", (3, 41, 7)))
    found = there.integers("a", -5, 1000, (77,)).cpu()
    assert torch.equal(found, here.integers("a", -5, 1000, (77,)))
    found = there.normal("a", (3, 100, 101)).cpu()
    assert (found - here.normal("a", (3, 100, 101))).abs().max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [32, 224])
def test_results_agree_with_those_of_the_processor(name, size):
    batch = levels(3, size)
    severity = torch.tensor([1, 5, 3])
    expected = corrupt(batch, name, severity, rounding="round").int()
    found = corrupt(batch.cuda(), name, severity, rounding="round")
    assert found.is_cuda
    difference = (found.cpu().int() - expected).abs()
    assert (difference > 1).double().mean() < 1e-3
    assert (difference > 0).double().mean() < 1e-2


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_a_model_on_a_gpu_is_judged_wherever_the_images_are(where):
    batch, labels = levels(50), torch.arange(50) % 10
    options = {"corruptions": ["fog", "gaussian_noise"], "severities": (1, 4), "batch_size": 16}
    expected = evaluate(network(), batch, labels, **options)
    found = evaluate(network().cuda(), batch.to(where), labels.to(where), **options)
    assert found.hits.device.type == "cpu"
    # A level may differ by one, and with it the label of an image between two classes.
    assert (found.hits != expected.hits).sum() <= 4
    assert (found.clean != expected.clean).sum() <= 1


def test_released_images_are_judged_by_a_model_on_a_gpu(tmp_path):
    batch, labels = levels(20), np.arange(20) % 10
    np.save(tmp_path / "fog.npy", batch.permute(0, 2, 3, 1).repeat(5, 1, 1, 1).numpy())
    np.save(tmp_path / "labels.npy", np.tile(labels, 5))
    released, options = CifarC(tmp_path), {"corruptions": ["fog"], "batch_size": 8}
    expected = compare_released({"": network()}, released, **options)[""]
    found = compare_released({"": network().cuda()}, released, **options)[""]
    assert (found.hits != expected.hits).sum() <= 5
