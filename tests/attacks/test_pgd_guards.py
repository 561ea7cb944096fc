"""Where PGD could go wrong: gradients that vanish, outputs that overflow, wrong arguments."""

import math

import pytest
import torch
from attack_toys import Affine, Lambda, conv, images

from robustkit.attacks import pgd
from robustkit.errors import InputError


def test_confidence_does_not_stop_it():
    # Logits so far apart that the cross-entropy's own gradient is exactly zero.
    model = Affine(torch.tensor([[2e4, 0.0], [-2e4, 0.0]]), torch.zeros(2))
    batch = torch.tensor([[0.6, 0.5]])
    labels = torch.tensor([0])
    point = batch.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(point), labels).backward()
    assert (point.grad == 0).all()
    wide = pgd(model, batch, labels, radius=0.7, random_start=False, bounds=(-1, 1))
    assert wide.success.all()


@pytest.mark.parametrize("norm", [2, "inf"])
@pytest.mark.parametrize(
    "forward",
    [
        lambda x: 0 * x.flatten(1)[:, :3] + torch.arange(3.0),
        lambda x: torch.full((len(x), 3), math.nan) * x.sum(),
        lambda x: (0 * x.flatten(1)[:, :3]).sqrt() + torch.arange(3.0),
    ],
)
def test_without_a_gradient_it_fails_without_nan(forward, norm):
    batch = images(3, (4,), dtype=torch.float32)
    labels = torch.full((3,), 2)
    for early_stop in (True, False):
        result = pgd(
            Lambda(forward), batch, labels, norm=norm, radius=0.1, early_stop=early_stop, steps=3
        )
        assert result.adversarial.isfinite().all()
        assert not result.success.any()
        assert (getattr(result, f"l{norm}") <= 0.1 + 1e-6).all()


def test_an_infinite_logit_is_no_success():
    # One step goes where the other class overflows.
    model = Lambda(lambda x: torch.stack([x.new_ones(len(x)), (1e2 * (x.sum(1) - 1)).exp()], 1))
    batch = torch.full((3, 2), 0.4)
    labels = torch.zeros(3, dtype=torch.int64)
    options = {"radius": 2.0, "step_size": 2.0, "steps": 1, "random_start": False}
    for early_stop in (True, False):
        result = pgd(model, batch, labels, early_stop=early_stop, **options)
        assert result.iterations.tolist() == [1, 1, 1]
        assert not result.success.any()
        assert torch.equal(result.adversarial, batch)
    assert model(torch.ones(1, 2)).isinf().any()


def test_tiny_gradients_still_give_a_direction():
    normal = torch.tensor([1.0, 2.0])
    model = Affine(1e-25 * torch.stack([normal, -normal]), torch.zeros(2))
    result = pgd(
        model,
        torch.tensor([[0.1, 0.1]]),
        torch.tensor([0]),
        radius=0.5,
        bounds=None,
        random_start=False,
        early_stop=False,
    )
    assert result.success.all()
    torch.testing.assert_close(result.perturbation[0], -0.5 * normal / 5**0.5)


def test_nothing_of_the_caller_is_changed():
    model, batch = conv(), images(5)
    labels = model(batch).argmax(1)
    kept, state = batch.clone(), torch.random.get_rng_state()
    with torch.inference_mode():
        result = pgd(model, batch, labels, radius=0.1, restarts=2)
    assert torch.equal(batch, kept)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not result.adversarial.is_inference()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 2, 8, 8)}, "empty"),
        ({"images": 255 * images(4)}, "Normalized"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "shape"),
        ({"labels": torch.full((4,), 6)}, "6 classes"),
        ({"model": conv().train()}, "training mode"),
        ({"norm": 3}, "Known: 2, inf"),
        ({"radius": -1.0}, "radius"),
        ({"radius": math.inf}, "radius"),
        ({"radius": torch.ones(3)}, "radius"),
        ({"step_size": math.nan}, "step_size"),
        ({"steps": 0}, "steps"),
        ({"restarts": 0}, "restarts"),
        ({"restarts": 2, "random_start": False}, "random_start"),
        ({"loss": "crossentropy"}, "Did you mean 'cross_entropy'"),
        ({"chunk": 0}, "chunk"),
        ({"indices": torch.arange(3)}, "indices"),
        ({"indices": torch.zeros(4)}, "indices"),
        ({"bounds": (0.9, 1.0)}, "outside"),
    ],
)
@pytest.mark.parametrize("early_stop", [True, False])
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message, early_stop):
    batch = images(4)
    arguments = {
        "model": conv(),
        "images": batch,
        "labels": torch.zeros(4, dtype=torch.int64),
        "radius": 0.1,
        "early_stop": early_stop,
        **arguments,
    }
    with pytest.raises(InputError, match=message):
        pgd(**arguments)
