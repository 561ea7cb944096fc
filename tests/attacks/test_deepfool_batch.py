"""The batch is the unit of work, and no image's result depends on the others."""

import pytest
import torch
from attack_toys import Lambda, affine, conv, images, judged_anew
from torch import nn

from robustkit.attacks import deepfool

FIELDS = ("adversarial", "labels", "predictions", "success", "iterations")


def assert_same(result, other, rows):
    for name in FIELDS:
        one, two = getattr(result, name)[rows], getattr(other, name)
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-10, msg=name)


SETTINGS = [
    {},
    {"norm": "inf"},
    {"bounds": None},
    {"bisection": 12},
    {"bounds": (0.2, 0.9), "candidates": 3},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_batch_is_its_images_one_by_one(settings):
    model, batch = conv(), images(12) * 0.7 + 0.2
    whole = deepfool(model, batch, **settings)
    assert whole.success.all()
    assert torch.equal(whole.success, judged_anew(model, whole))
    # The toy is worth its name only if images leave the batch at different times.
    assert len(whole.iterations.unique()) > 1
    for row in range(len(batch)):
        assert_same(whole, deepfool(model, batch[row : row + 1], **settings), slice(row, row + 1))


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_order_and_the_chunks_do_not_matter(settings):
    model, batch = conv(), images(13) * 0.7 + 0.2
    whole = deepfool(model, batch, **settings)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0))
    assert_same(whole, deepfool(model, batch[order], **settings), order)
    for chunk in (1, 4, 13):
        assert_same(whole, deepfool(model, batch, chunk=chunk, **settings), slice(None))


def test_an_image_with_nan_outputs_leaves_the_others_alone():
    network, batch = conv(), images(6)
    poisoned = batch[3, 0, 0, 0].item()

    def forward(x):
        bad = (x[:, 0, 0, 0] == poisoned)[:, None]
        return torch.where(bad, torch.nan, network(x))

    for bounds in ((0.0, 1.0), None):
        result = deepfool(Lambda(forward), batch, bounds=bounds)
        others = [0, 1, 2, 4, 5]
        plain = deepfool(network, batch[others], bounds=bounds)
        assert_same(result, plain, others)
        assert not result.success[3]
        assert (result.labels[3], result.predictions[3]) == (-1, -1)
        assert torch.equal(result.adversarial[3], batch[3])


def test_the_passes_are_counted_as_made(monkeypatch):
    model, backward_images = Lambda(conv()), []
    gradient = torch.autograd.grad

    def counted(outputs, *rest, **options):
        backward_images.append(len(outputs))
        return gradient(outputs, *rest, **options)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    result = deepfool(model, images(20), bisection=3, chunk=8)
    assert result.forward_calls == model.calls
    assert result.forwards.sum() == model.images
    assert result.backward_calls == len(backward_images)
    assert result.backwards.sum() == sum(backward_images)
    # Five rivals of six classes: every step of an image takes five gradients.
    assert (result.backwards >= 5 * result.iterations).all()
    assert (result.backwards % 5 == 0).all()


def test_backward_calls_do_not_grow_with_the_batch():
    model = affine(10)
    few = deepfool(model, images(2, (1, 4, 5)))
    many = deepfool(model, images(200, (1, 4, 5)))
    # All finish within a few steps, each step at nine calls.
    assert few.backward_calls >= 9
    assert many.backward_calls <= 9 * int(many.iterations.max())
    assert few.backward_calls <= 9 * int(few.iterations.max())
    assert many.iterations.max() < 10


def test_a_graph_is_made_anew_only_when_most_images_leave():
    # Class 0 always wins at the start; two classes, so that one rival is one backward call.
    model = Lambda(affine(2))
    batch = images(50, (1, 4, 5))
    truth = model.function(batch).argmax(1)
    labels = truth.clone()
    labels[:40] = 1 - labels[:40]
    result = deepfool(model, batch, labels, bounds=None)
    # 40 of 50 are misclassified already: the gradients come from a graph of the other ten.
    assert result.backwards.tolist() == [0] * 40 + [1] * 10
    assert result.forwards[:40].tolist() == [2] * 40
    labels = truth.clone()
    labels[:5] = 1 - labels[:5]
    result = deepfool(model, batch, labels, bounds=None)
    assert result.backwards.tolist() == [1] * 50
    assert result.iterations.tolist() == [0] * 5 + [1] * 45


def test_nothing_of_the_caller_is_changed():
    model, batch = conv(), images(5)
    model[0].weight.requires_grad_(False)
    model[3].weight.grad = torch.ones_like(model[3].weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [p.requires_grad for p in model.parameters()]
    kept = batch.clone()
    state = torch.random.get_rng_state()
    result = deepfool(model, batch, bisection=2)
    assert torch.equal(batch, kept)
    assert result.images.data_ptr() == batch.data_ptr()
    assert not batch.requires_grad
    assert not result.adversarial.requires_grad
    assert [p.requires_grad for p in model.parameters()] == flags
    assert torch.equal(model[3].weight.grad, torch.ones_like(model[3].weight))
    assert model[0].weight.grad is None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_caller_may_be_in_any_gradient_mode():
    model, batch = conv(), images(4)
    expected = deepfool(model, batch)
    with torch.no_grad():
        assert_same(expected, deepfool(model, batch), slice(None))
    with torch.inference_mode():
        inside = deepfool(model, batch.clone())
        assert_same(expected, inside, slice(None))
    assert not inside.adversarial.is_inference()
    leaf = batch.clone().requires_grad_()
    assert_same(expected, deepfool(model, leaf), slice(None))
    assert leaf.grad is None
    assert not deepfool(model, leaf).perturbation.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_results_follow_the_dtype(dtype):
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 4)).to(dtype).eval()
    result = deepfool(model, images(8, (1, 4, 5), dtype=dtype))
    assert result.adversarial.dtype == dtype
    assert result.l2.dtype == torch.float32
    assert torch.equal(result.success, judged_anew(model, result))
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()


def test_strided_images_are_as_good_as_any():
    model, batch = conv(), images(6)
    expected = deepfool(model, batch)
    rolled = batch.contiguous(memory_format=torch.channels_last)
    assert_same(expected, deepfool(model, rolled), slice(None))
    assert_same(
        expected, deepfool(model, batch.transpose(2, 3).contiguous().transpose(2, 3)), slice(None)
    )
