"""Sigma-zero: the fewest components of an affine model, the best point seen, and a reference."""

import inspect
import itertools
import math

import pytest
import torch
from attack_toys import Lambda, affine, conv, generator, images, judged_anew
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit.attacks.sigma_zero import sigma_zero
from robustkit.errors import InputError

BATCH = images(4, (1, 4, 5))


class Recorder(nn.Module):
    """A model that keeps every batch it is shown."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model, []
        self.eval()

    def forward(self, batch):
        self.seen.append(batch.detach().clone())
        return self.model(batch)


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


def components(result):
    return (result.adversarial != result.images).flatten(1).sum(1)


def fewest(model, image, label):
    """Brute force: the size of the smallest set of components that can fool an affine model."""
    normal = (model.weight[1 - label] - model.weight[label]).detach()
    corner = (normal > 0).to(image)
    for size in range(1, image.numel() + 1):
        for chosen in itertools.combinations(range(image.numel()), size):
            moved = image.clone()
            moved[list(chosen)] = corner[list(chosen)]
            if predicted(model, moved[None]).item() != label:
                return size
    return math.inf


def test_few_components_of_an_affine_model_are_found():
    excesses = []
    for seed in range(6):
        model, batch = affine(2, (9,), seed=seed), images(8, (9,), seed=seed + 50)
        # A bias that keeps the boundary several components away from some of the images.
        with torch.no_grad():
            model.bias += torch.tensor([0.0, -1.5 * (seed % 3)])
        labels = predicted(model, batch).tolist()
        best = [fewest(model, image, label) for image, label in zip(batch, labels, strict=True)]
        best = torch.tensor(best)
        result = sigma_zero(model, batch, steps=300)
        assert torch.equal(result.success, best.isfinite())
        excesses.append((components(result) - best)[result.success])
    excess = torch.cat(excesses)
    assert len(excess) > 20
    assert ((excess == 0) | (excess == 1)).all()
    assert (excess == 0).double().mean() > 0.7


def reference(model, image, label, steps, *, rate, sigma, threshold, threshold_step):
    """One image, with torch's own Adam, scheduler and autograd."""
    change = torch.zeros_like(image, requires_grad=True)
    adam = torch.optim.Adam([change], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=rate / 10)
    best, count = None, math.inf
    for _ in range(steps):
        logits = model((image + change)[None])[0]
        margin = logits[label] - torch.cat([logits[:label], logits[label + 1 :]]).max()
        smooth = (change**2 / (change**2 + sigma)).mean()
        changed = int((change != 0).sum())
        fooled = margin.item() < 0
        if fooled and changed < count:
            best, count = (image + change).detach().clone(), changed
        adam.zero_grad()
        (margin.clamp(min=0) + smooth).backward()
        change.grad /= change.grad.abs().max()
        now = schedule.get_last_lr()[0]
        adam.step()
        schedule.step()
        with torch.no_grad():
            change.copy_((image + change).clamp(0, 1) - image)
            threshold = min(max(threshold + (1 if fooled else -1) * threshold_step * now, 0), 1)
            change[change.abs() < threshold] = 0
    return best


@pytest.mark.parametrize(
    "options",
    [
        {"learning_rate": 1.0, "sigma": 1e-3, "threshold": 0.3, "threshold_step": 0.01},
        {"learning_rate": 0.3, "sigma": 1e-1, "threshold": 0.1, "threshold_step": 0.3},
        {"learning_rate": 1.0, "sigma": 1e-2, "threshold": 0.9, "threshold_step": 1.6},
    ],
)
def test_it_is_the_published_algorithm(options):
    names = {"learning_rate": "rate"}
    for seed in range(2):
        model, batch = conv(seed=seed), images(3, seed=seed + 5)
        labels = predicted(model, batch)
        result = sigma_zero(model, batch, steps=40, **options)
        plain = {names.get(name, name): value for name, value in options.items()}
        for row in range(3):
            expected = reference(model, batch[row], labels[row].item(), 40, **plain)
            assert result.success[row]
            torch.testing.assert_close(result.adversarial[row], expected, rtol=0, atol=1e-8)


def test_the_defaults_are_those_of_the_paper():
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(sigma_zero).parameters.items()
    }
    names = ("steps", "learning_rate", "sigma", "threshold", "threshold_step")
    assert [defaults[name] for name in names] == [1000, 1.0, 1e-3, 0.3, 0.01]


def test_of_all_points_seen_the_sparsest_that_fools_is_returned():
    model, batch = conv(seed=1, smooth=False), images(6)
    for image in batch[:, None]:
        recorder = Recorder(model)
        result = sigma_zero(recorder, image, steps=60)
        shown = torch.cat(recorder.seen)
        # The clean image first and the returned one last.
        assert torch.equal(shown[0], image[0])
        assert torch.equal(shown[-1], result.adversarial[0])
        fooling = predicted(model, shown) != result.labels
        counts = (shown != image).flatten(1).sum(1)[fooling]
        assert len(counts) > 3
        assert counts[0] > counts[-1]
        assert counts.min() == components(result)
        assert ((shown >= 0) & (shown <= 1)).all()


def test_the_threshold_falls_until_changes_survive():
    # Steps of 0.05 fall below the threshold of 0.3 and are undone, as long as that stands still.
    model, batch = affine(2), BATCH
    options = {"learning_rate": 0.05, "steps": 40}
    still = sigma_zero(model, batch, threshold_step=0.0, **options)
    assert not still.success.any()
    assert torch.equal(still.adversarial, batch)
    falling = sigma_zero(model, batch, threshold_step=1.0, **options)
    assert falling.success.all()


def test_the_threshold_rises_over_fooling_points_until_changes_are_undone():
    model = Lambda(lambda x: torch.stack([x.sum(1), 1.5 + 0 * x.sum(1)], dim=1))
    batch, start = torch.full((1, 4), 0.8), torch.full((1, 4), 0.3)
    for threshold_step, smallest in ((0.0, 4), (100.0, 0)):
        recorder = Recorder(model)
        options = {"learning_rate": 1e-3, "steps": 4, "threshold_step": threshold_step}
        result = sigma_zero(recorder, batch, start=start, **options)
        assert components(result).tolist() == [4]
        # From 0.3 by 0.1 a step: the changes of 0.5 are gone at the third step.
        counts = [int((points != batch).sum()) for points in recorder.seen[1:-1]]
        assert counts == [4, 4, 4, smallest]


def test_lengths_are_in_units_of_the_bounds():
    model, batch = conv(), images(5)
    plain = sigma_zero(model, batch, steps=25)
    wide = Lambda(lambda x: model(x / 256))
    scaled = sigma_zero(wide, batch * 256, steps=25, bounds=(0.0, 256.0))
    torch.testing.assert_close(scaled.adversarial, plain.adversarial * 256, rtol=1e-9, atol=1e-9)
    assert torch.equal(scaled.adversarial != scaled.images, plain.adversarial != plain.images)


def test_a_start_that_fools_is_the_first_best():
    model, batch = conv(), images(6)
    labels = predicted(model, batch)
    good = sigma_zero(model, batch, steps=100)
    again = sigma_zero(model, batch, start=good.adversarial, steps=2)
    assert again.success.all()
    assert (components(again) <= components(good)).all()
    # A start that does not fool is no best.
    near = batch + 0.001 * (good.adversarial - batch)
    assert torch.equal(predicted(model, near), labels)
    short = sigma_zero(model, batch, start=near, steps=1, threshold=1.0, threshold_step=0.0)
    assert not short.success.any()


def test_a_small_rate_and_threshold_polish_a_start():
    model, batch = conv(seed=1), images(8)
    good = sigma_zero(model, batch, steps=60)
    # Many more components than are needed.
    extra = torch.rand(batch.shape, generator=generator()) < 0.2
    start = torch.where(extra & (good.perturbation == 0), batch.round(), good.adversarial)
    fooling = predicted(model, start) != predicted(model, batch)
    assert fooling.sum() >= 4
    options = {"learning_rate": 0.05, "threshold": 0.02, "threshold_step": 0.1}
    polished = sigma_zero(model, batch, start=start, steps=60, **options)
    assert polished.success[fooling].all()
    assert (2 * components(polished) < (start != batch).flatten(1).sum(1))[fooling].all()


def test_one_component_is_enough_to_leave():
    model = Lambda(lambda x: torch.stack([x.sum(1), 4 - 4 * x[:, 1]], dim=1))
    batch = 0.5 + 0.1 * images(4, (5,))
    result = sigma_zero(model, batch, steps=500)
    assert components(result).tolist() == [1] * 4
    assert (result.iterations < 500).all()
    assert (result.iterations > 0).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    room=st.sampled_from([0.05, 0.3, 1.0]),
    steps=st.integers(1, 12),
    rate=st.sampled_from([0.1, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    given_labels=st.booleans(),
)
def test_results_are_in_bounds_and_success_is_true(seed, room, steps, rate, dtype, given_labels):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = torch.rand(5, 2, 8, 8, generator=draw, dtype=dtype)
    batch = torch.where(torch.rand(batch.shape, generator=draw) < 0.2, batch.round(), batch)
    lower = (batch - room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(max=1)
    lower[:, :, 6:], upper[:, :, 6:] = batch[:, :, 6:], batch[:, :, 6:]
    labels = torch.randint(6, (5,), generator=draw) if given_labels else None
    before = batch.clone()
    result = sigma_zero(
        model, batch, labels, steps=steps, learning_rate=rate, bounds=(lower, upper)
    )
    assert torch.equal(batch, before)
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    assert torch.equal(result.success, judged_anew(model, result))
    assert torch.equal(result.adversarial[:, :, 6:], batch[:, :, 6:])
    already = result.labels != predicted(model, batch)
    assert torch.equal(result.adversarial[already], batch[already])
    assert torch.equal(result.iterations == 0, already)
    assert result.predictions.equal(predicted(model, result.adversarial))


@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_the_rest_of_the_batch_does_not_matter(chunk):
    model, batch = conv(), images(7)
    labels = predicted(model, batch)
    labels[3] = (labels[3] + 1) % 6
    whole = sigma_zero(model, batch, labels, steps=30)
    rows = torch.tensor([6, 3, 0, 2])
    part = sigma_zero(model, batch[rows], labels[rows], steps=30, chunk=chunk)
    torch.testing.assert_close(part.adversarial, whole.adversarial[rows], rtol=0, atol=1e-8)
    assert torch.equal(components(part), components(whole)[rows])
    assert torch.equal(part.iterations, whole.iterations[rows])


def test_the_passes_are_counted_as_made():
    model = Lambda(conv())
    batch = images(6)
    labels = predicted(model.function, batch)
    labels[:2] = (labels[:2] + 1) % 6
    result = sigma_zero(model, batch, labels, steps=5, chunk=4)
    # The clean images, five steps, and the returned ones; the misclassified ones just the first.
    assert result.forwards.tolist() == [1, 1, 7, 7, 7, 7]
    assert result.backwards.tolist() == [0, 0, 5, 5, 5, 5]
    assert result.backward_calls == 5
    assert (result.forward_calls, int(result.forwards.sum())) == (model.calls, model.images)
    assert result.iterations.tolist() == [0, 0, 5, 5, 5, 5]
    assert torch.equal(result.adversarial[:2], batch[:2])
    assert result.success[:2].all()


@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.full((len(x), 3), math.nan, dtype=x.dtype) * x.sum(),
        lambda x: x.flatten(1)[:, :3] * math.inf,
        lambda x: 0 * x.flatten(1)[:, :3] + torch.arange(3.0),
        lambda x: nn.Parameter(torch.arange(3.0, dtype=x.dtype)).expand(len(x), 3),
        lambda x: (0 * x.flatten(1)[:, :3]).sqrt() + torch.arange(3.0),
    ],
)
def test_a_model_without_finite_gradients_is_never_fooled(forward):
    model = Lambda(forward)
    result = sigma_zero(model, BATCH, steps=50)
    assert not result.success.any()
    assert torch.equal(result.adversarial, BATCH)
    assert result.iterations.tolist() == [0] * 4
    # Hopeless images leave at once.
    assert model.calls < 6


def test_one_hopeless_image_spoils_no_other():
    model, batch = conv(), images(4)
    poison = batch[1].clone()

    def forward(x):
        poisoned = (x == poison).flatten(1).all(1)[:, None]
        return model(x) * torch.where(poisoned, math.nan, 1.0)

    result = sigma_zero(Lambda(forward), batch, steps=20)
    alone = sigma_zero(model, batch, steps=20)
    assert result.success.tolist() == [True, False, True, True]
    kept = torch.tensor([0, 2, 3])
    torch.testing.assert_close(result.adversarial[kept], alone.adversarial[kept], rtol=0, atol=1e-9)
    assert (result.labels[1], result.predictions[1]) == (-1, -1)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_gradient_that_breaks_once_is_survived(broken):
    model, batch = affine(2), BATCH
    options = {"learning_rate": 0.05, "threshold": 0.0, "steps": 40}

    class Breaking(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 1

        @staticmethod
        def backward(context, gradient):
            return gradient * broken

    counter = Lambda(lambda x: model(Breaking.apply(x) if counter.calls == 3 else x))
    result = sigma_zero(counter, batch, **options)
    assert result.success.all()
    assert result.perturbation.isfinite().all()
    # Nothing was found before.
    assert not sigma_zero(model, batch, **{**options, "steps": 2}).success.any()


def test_a_failure_is_returned_at_its_last_point():
    # The second class is always ahead by more than the image can make up.
    model = Lambda(lambda x: torch.stack([x.sum(1), x.sum(1) * 0 + 9.0], dim=1))
    recorder = Recorder(model)
    result = sigma_zero(recorder, torch.full((2, 4), 0.5), steps=7)
    assert not result.success.any()
    assert (result.distance(1) == math.inf).all()
    assert torch.equal(result.adversarial, torch.ones(2, 4))
    assert torch.equal(recorder.seen[-1], result.adversarial)


def test_no_room_is_a_failure():
    batch = images(3)
    result = sigma_zero(conv(), batch, bounds=(batch, batch))
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)
    assert result.iterations.tolist() == [0, 0, 0]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_runs_where_the_caller_wants_no_gradients(mode):
    model, batch = conv(), images(4)
    expected = sigma_zero(model, batch, steps=10)
    with mode():
        result = sigma_zero(model, batch + 0, steps=10)
    assert torch.equal(result.adversarial, expected.adversarial)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_serves(dtype):
    model, batch = affine(3, dtype=dtype), images(6, (1, 4, 5), dtype=dtype)
    result = sigma_zero(model, batch, steps=40)
    assert result.adversarial.dtype == dtype
    assert result.success.all()
    assert torch.equal(result.success, judged_anew(model, result))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 1, 4, 5)}, "empty"),
        ({"images": 255 * BATCH}, "Normalized"),
        ({"labels": torch.full((4,), 5)}, "5 classes"),
        ({"labels": torch.zeros(4)}, "int64"),
        ({"model": affine(3).train()}, "training mode"),
        ({"model": Lambda(lambda x: affine(3)(x.detach()).detach())}, "no gradient"),
        ({"steps": 0}, "steps"),
        ({"chunk": 0}, "chunk"),
        ({"learning_rate": 0.0}, "learning_rate must be above"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"sigma": 0.0}, "sigma must be above"),
        ({"sigma": -1.0}, "sigma"),
        ({"threshold": 1.5}, r"\[0, 1\]"),
        ({"threshold": math.nan}, r"\[0, 1\]"),
        ({"threshold_step": -0.1}, "threshold_step"),
        ({"bounds": None}, "needs bounds"),
        ({"bounds": (0.5, 1.0)}, "outside the given bounds"),
        ({"start": BATCH[:2]}, "shape"),
        ({"start": torch.zeros(4, 1, 4, 5, dtype=torch.int64)}, "floating"),
        ({"start": BATCH + 1}, "starts lie outside"),
        ({"start": BATCH * math.nan}, "4 starts lie outside"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    arguments = {"model": affine(5), "images": BATCH, **arguments}
    with pytest.raises(InputError, match=message):
        sigma_zero(**arguments)
