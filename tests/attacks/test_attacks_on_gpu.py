"""The same results on a GPU, up to rounding."""

import pytest
import torch
from attack_toys import conv, images

from robustkit.attacks import deepfool, pgd

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize("norm", [2, "inf"])
def test_a_gpu_agrees_with_the_processor(norm):
    model, batch = conv(), images(12)
    labels = torch.arange(12) % 6
    radius = 0.1 if norm == 2 else 0.02
    attacks = (
        lambda m, x, _: deepfool(m, x, norm=norm, bisection=5, chunk=5),
        lambda m, x, y: pgd(m, x, y, norm=norm, radius=radius, steps=5, restarts=2),
    )
    on_processor = [attack(model, batch, labels) for attack in attacks]
    model = model.cuda()
    for attack, expected in zip(attacks, on_processor, strict=True):
        # Labels may stay behind: they follow the images.
        result = attack(model, batch.cuda(), labels)
        assert result.adversarial.is_cuda
        torch.testing.assert_close(
            result.adversarial.cpu(), expected.adversarial, rtol=0, atol=1e-6
        )
        assert torch.equal(result.success.cpu(), expected.success)
