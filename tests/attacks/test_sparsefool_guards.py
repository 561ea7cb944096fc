"""What SparseFool refuses, what it never calls a success, and that images do not interact."""

import math

import pytest
import torch
from attack_toys import Lambda, affine, conv, generator, images, judged_anew
from host_waits import Waits
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit.attacks import sparsefool
from robustkit.errors import InputError

BATCH = images(4, (1, 4, 5))
# Every way of stepping: measured, on planes in l0 order, and as published.
WAYS = [{}, {"unit": "pixel"}, {"candidates": 0}, {"legacy": True}]


def predicted(model, batch):
    with torch.no_grad():
        return model(batch).argmax(1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": torch.zeros(0, 1, 4, 5)}, "empty"),
        ({"images": 255 * BATCH}, "Normalized"),
        ({"images": torch.full_like(BATCH, math.nan)}, "NaN"),
        ({"images": (255 * BATCH).to(torch.uint8)}, "floating"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "shape"),
        ({"labels": torch.full((4,), 5)}, "5 classes"),
        ({"labels": torch.full((4,), -1)}, "5 classes"),
        ({"labels": torch.zeros(4)}, "int64"),
        ({"model": affine(1)}, "at least two classes"),
        ({"model": Lambda(lambda x: x.sum())}, "logits"),
        ({"model": Lambda(lambda x: affine(3)(x.detach()).detach())}, "no gradient"),
        ({"model": affine(3).train()}, "training mode"),
        ({"model": nn.Sequential(conv().train(), nn.Flatten()).eval().train()}, "training mode"),
        ({"reach": 0}, "reach must be above 0"),
        ({"reach": -1.0}, "reach"),
        ({"reach": math.nan}, "reach"),
        ({"reach": (1, math.inf)}, "reach"),
        ({"reach": (1, 0)}, "reach"),
        ({"reach": ()}, "empty list"),
        ({"overshoot": -0.1}, "overshoot"),
        ({"overshoot": math.inf}, "overshoot"),
        ({"classes": 1}, "classes"),
        ({"steps": 0}, "steps"),
        ({"candidates": -1}, "candidates"),
        ({"moves": 0}, "moves"),
        ({"chunk": 0}, "chunk"),
        ({"unit": "pixels"}, "Did you mean 'pixel'"),
        ({"unit": "pixel", "legacy": True}, "changes components"),
        ({"precision": torch.int8}, "Known: None, bfloat16, float16"),
        ({"precision": torch.float32}, "precision"),
        ({"bounds": None}, "needs bounds"),
        ({"bounds": (1.0, 0.0)}, "exceeds"),
        ({"bounds": (0.5, 1.0)}, "outside the given bounds"),
        ({"bounds": (0.0, math.inf)}, "finite"),
        ({"bounds": (torch.zeros(7), 1.0)}, "broadcast"),
    ],
)
def test_what_it_cannot_work_with_is_refused_with_a_reason(arguments, message):
    arguments = {"model": affine(5), "images": BATCH, **arguments}
    with pytest.raises(InputError, match=message):
        sparsefool(**arguments)


def test_a_model_made_in_inference_mode_is_refused():
    with torch.inference_mode():
        model = nn.Sequential(nn.Flatten(), nn.Linear(20, 3)).double().eval()
    with pytest.raises(InputError, match="inference_mode"):
        sparsefool(model, BATCH)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize(
    "forward",
    [
        lambda x: torch.full((len(x), 3), math.nan, dtype=x.dtype) * x.sum(),
        lambda x: x.flatten(1)[:, :3] * math.inf,
        # Constant: the gradient is zero, or the logits do not depend on the image at all.
        lambda x: 0 * x.flatten(1)[:, :3] + torch.arange(3.0),
        lambda x: nn.Parameter(torch.arange(3.0, dtype=x.dtype)).expand(len(x), 3),
        # Finite outputs, NaN gradients: the square root at zero.
        lambda x: (0 * x.flatten(1)[:, :3]).sqrt() + torch.arange(3.0),
    ],
)
def test_a_model_without_finite_gradients_is_never_fooled(forward, options):
    model = Lambda(forward)
    result = sparsefool(model, BATCH, **options)
    assert not result.success.any()
    assert torch.equal(result.adversarial, BATCH)
    assert (result.iterations == 0).all()
    assert (result.distance("pixels") == math.inf).all()
    # Hopeless images leave at once, on each of five reaches.
    assert model.calls < 30


@pytest.mark.parametrize("options", WAYS)
def test_one_hopeless_image_spoils_no_other(options):
    # What the model does with an image stands in a component that cannot move.
    network, batch = conv(), images(5)
    batch[:, 0, 0, 0] = torch.tensor([0.5, 0.0, 0.5, 1.0, 0.5])
    lower, upper = torch.zeros_like(batch), torch.ones_like(batch)
    lower[:, 0, 0, 0] = upper[:, 0, 0, 0] = batch[:, 0, 0, 0]

    def forward(x):
        logits, mark = network(x), x[:, 0, 0, 0, None]
        logits = torch.where(mark == 0, torch.full_like(logits, math.nan), logits)
        return torch.where(mark == 1, torch.arange(6.0).to(x).expand_as(logits), logits)

    sound = torch.tensor([0, 2, 4])
    result = sparsefool(Lambda(forward), batch, bounds=(lower, upper), **options)
    expected = sparsefool(network, batch[sound], bounds=(lower[sound], upper[sound]), **options)
    assert result.success.tolist() == [True, False, True, False, True]
    assert torch.equal(result.adversarial[sound] != batch[sound], expected.perturbation != 0)
    torch.testing.assert_close(result.adversarial[sound], expected.adversarial)
    assert torch.equal(result.adversarial[[1, 3]], batch[[1, 3]])
    assert result.labels.tolist()[1] == -1
    assert result.iterations[[1, 3]].tolist() == [0, 0]


def test_candidates_without_a_finite_output_are_not_taken():
    # Any component near its bound breaks the output, half of the way is enough.
    def forward(x):
        logits = torch.stack([x.new_ones(len(x)), x.sum(1)], 1)
        return torch.where((x > 0.9).any(1)[:, None], torch.full_like(logits, math.nan), logits)

    result = sparsefool(Lambda(forward), torch.full((2, 8), 0.1).double())
    assert result.success.all()
    assert result.components.tolist() == [1, 1]
    assert result.iterations.tolist() == [1, 1]


def test_points_that_turn_out_not_finite_are_left_for_planes():
    # Each component may go to its bound, but no two of them.
    def forward(x):
        logits = torch.stack([x.new_full((len(x),), 2.0), x.sum(1)], 1)
        broken = ((x > 0.9).sum(1) > 1)[:, None]
        return torch.where(broken, torch.full_like(logits, math.nan), logits)

    batch = torch.full((2, 8), 0.1).double()
    alone = sparsefool(Lambda(forward), batch, moves=3, reach=0.5, steps=1)
    assert not alone.success.any()
    assert alone.adversarial.isfinite().all()
    # Planes go back to the clean image, and there is a plane for them: 1.2 is missing.
    result = sparsefool(Lambda(forward), batch, moves=3)
    assert torch.equal(result.success, judged_anew(Lambda(forward), result))
    assert (result.iterations > 1).all()


def test_a_point_that_leaves_the_finite_returns_clean():
    model = Lambda(lambda x: torch.stack([x.new_ones(len(x)), 0.1 * (1e3 * x.sum(1)).exp()], 1))
    batch = torch.full((3, 2), 1e-3).double()
    for options in WAYS:
        result = sparsefool(model, batch, **options)
        assert result.adversarial.isfinite().all()
        assert torch.equal(result.success, judged_anew(model, result))
        failed = ~result.success
        assert torch.equal(result.adversarial[failed], batch[failed])
        assert (result.predictions[failed] == 0).all()


def test_a_last_point_that_is_not_finite_returns_clean():
    # The steps of the published algorithm go to the bound, where the output breaks.
    def forward(x):
        logits = torch.stack([x.new_ones(len(x)), x.sum(1)], 1)
        return torch.where((x > 0.9).any(1)[:, None], torch.full_like(logits, math.nan), logits)

    batch = torch.full((2, 8), 0.1).double()
    result = sparsefool(Lambda(forward), batch, legacy=True, reach=50)
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)
    assert result.predictions.tolist() == [0, 0]
    assert result.iterations.tolist() == [1, 1]


def test_failures_cost_no_pruning():
    model, batch = affine(2), images(6, (1, 4, 5))
    result = sparsefool(model, batch, candidates=0, reach=0.5, overshoot=0, steps=1)
    assert not result.success.any()
    # The clean image, one step of DeepFool and its judgement, the tangent, the move, the outcome.
    assert result.forwards.tolist() == [6] * 6
    assert result.backwards.tolist() == [2] * 6


def test_an_image_beyond_its_plane_stays():
    # Shallow, a step, and falling again: where DeepFool crosses, the boundary lies behind.
    def forward(x):
        lead = x[:, 0] - 0.5 + 1e-3 * x[:, 1:].sum(1)
        lead = torch.where(x[:, 0] > 0.2, 0.1 - 0.05 * x[:, 0] - 1e-3 * x[:, 1:].sum(1), lead)
        return torch.stack([-lead, lead], 1)

    batch = torch.full((2, 192), 0.1).double()
    published = sparsefool(Lambda(forward), batch, legacy=True)
    assert torch.equal(published.adversarial, batch)
    assert not published.success.any()
    assert published.iterations.tolist() == [0, 0]
    # Measuring does not mind.
    result = sparsefool(Lambda(forward), batch)
    assert result.success.all()
    assert result.components.tolist() == [1, 1]


def test_an_image_that_nothing_helps_leaves_soon():
    # Every component loses where it is measured, and the boundary is out of reach.
    def forward(x):
        gain = torch.where(x > 0.9, -1.0, x).sum(1)
        return torch.stack([torch.full_like(gain, 1e4), gain], 1)

    model, batch = Lambda(forward), 0.8 * images(1, (300,))
    result = sparsefool(model, batch, steps=10**6, reach=1)
    assert not result.success.any()
    assert result.adversarial.isfinite().all()
    assert result.forwards.item() < 2000


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_any_number_of_classes_serves(classes, options):
    model, batch = affine(classes, (3, 4, 5)), images(4, (3, 4, 5))
    result = sparsefool(model, batch, **options)
    assert result.success.all()
    assert torch.equal(result.success, judged_anew(model, result))
    # More classes than there are look at all of them.
    most = sparsefool(model, batch, classes=10**6, **options)
    assert most.success.all()
    if classes < 10:
        assert torch.equal(most.adversarial, result.adversarial)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_outputs_do_not_poison(options, dtype):
    network = affine(3, dtype=dtype)
    network.weight.data *= 1e4
    batch = images(8, (1, 4, 5), dtype=dtype)
    # Margins of some thousands are logits like others.
    result = sparsefool(network, batch, **options)
    assert result.success.all()
    # Of their probabilities, most have no gradient left.
    model = Lambda(lambda x: network(x).softmax(1))
    result = sparsefool(model, batch, steps=5, **options)
    assert result.adversarial.isfinite().all()
    assert torch.equal(result.success, judged_anew(model, result))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    way=st.sampled_from(WAYS),
    reach=st.sampled_from([None, 1, (0.5, 4)]),
    overshoot=st.sampled_from([0.0, 0.02, 0.7]),
    room=st.sampled_from([0.01, 0.2, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    given_labels=st.booleans(),
)
def test_results_are_in_bounds_and_success_is_true(
    seed, way, reach, overshoot, room, dtype, given_labels
):
    draw = generator(seed)
    model = conv(seed=seed % 7, dtype=dtype, smooth=bool(seed % 2))
    batch = torch.rand(4, 2, 8, 8, generator=draw, dtype=dtype)
    # Pixels at the bounds of the box, as photographs have.
    batch = torch.where(torch.rand(batch.shape, generator=draw) < 0.2, batch.round(), batch)
    lower = (batch - room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(min=0)
    upper = (batch + room * torch.rand(batch.shape, generator=draw, dtype=dtype)).clamp(max=1)
    frozen = torch.rand(batch.shape, generator=draw) < 0.2
    lower, upper = lower.where(~frozen, batch), upper.where(~frozen, batch)
    labels = torch.randint(6, (4,), generator=draw) if given_labels else None
    result = sparsefool(
        model,
        batch,
        labels,
        reach=reach,
        overshoot=overshoot,
        bounds=(lower, upper),
        steps=6,
        **way,
    )
    assert result.adversarial.dtype == dtype
    assert ((result.adversarial >= lower) & (result.adversarial <= upper)).all()
    assert torch.equal(result.adversarial[frozen], batch[frozen])
    assert torch.equal(result.success, judged_anew(model, result))
    assert torch.equal(result.predictions, predicted(model, result.adversarial))
    assert (result.pixels <= result.components).all()
    assert (result.components <= 2 * result.pixels).all()
    assert (result.components[result.iterations > 0][result.success[result.iterations > 0]]).all()
    if given_labels:
        wrong = predicted(model, batch) != labels
        assert torch.equal(result.adversarial[wrong], batch[wrong])
        assert (result.iterations[wrong] == 0).all()
        assert (result.backwards[wrong] == 0).all()


@pytest.mark.parametrize("options", WAYS)
def test_no_room_is_a_failure(options):
    batch = images(3)
    result = sparsefool(conv(), batch, bounds=(batch, batch), **options)
    assert not result.success.any()
    assert torch.equal(result.adversarial, batch)
    assert result.iterations.tolist() == [0, 0, 0]


@pytest.mark.parametrize("options", WAYS)
def test_less_room_takes_more_pixels(options):
    model, batch = conv(), images(12)
    medians = []
    for delta in (1.0, 0.5, 0.25, 0.1):
        box = ((batch - delta).clamp(min=0), (batch + delta).clamp(max=1))
        result = sparsefool(model, batch, bounds=box, **options)
        assert (result.linf <= delta + 1e-12).all()
        medians.append(result.distance("pixels").median().item())
    assert medians == sorted(medians)
    assert medians[-1] > medians[0]


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_the_rest_of_the_batch_does_not_matter(options, chunk):
    model, batch = conv(), images(9)
    whole = sparsefool(model, batch, **options)
    order = torch.randperm(9, generator=generator(2))
    for rows in (order, torch.tensor([4])):
        part = sparsefool(model, batch[rows], chunk=chunk, **options)
        assert torch.equal(part.perturbation != 0, (whole.perturbation != 0)[rows])
        torch.testing.assert_close(part.adversarial, whole.adversarial[rows], rtol=0, atol=1e-9)
        for name in ("success", "labels", "predictions", "iterations", "forwards", "backwards"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[rows]), name


@pytest.mark.parametrize("unit", ["component", "pixel"])
def test_images_that_need_more_do_not_matter_to_those_that_need_less(unit):
    # Rooms of many sizes, so that images need from a few components to all they have.
    model, batch = conv(), images(12)
    room = torch.tensor([1.0, 0.3, 0.1, 0.05]).repeat(3)[:, None, None, None]
    lower, upper = (batch - room).clamp(min=0), (batch + room).clamp(max=1)
    options = {"unit": unit, "candidates": 4, "reach": 1, "steps": 12}
    whole = sparsefool(model, batch, bounds=(lower, upper), **options)
    assert whole.components.max() > 10 * whole.components.min()
    for row in range(12):
        alone = slice(row, row + 1)
        part = sparsefool(model, batch[alone], bounds=(lower[alone], upper[alone]), **options)
        assert torch.equal(part.perturbation[0] != 0, whole.perturbation[row] != 0)
        torch.testing.assert_close(part.adversarial[0], whole.adversarial[row], rtol=0, atol=1e-9)
        assert part.forwards[0] == whole.forwards[row]


@pytest.mark.parametrize("options", WAYS)
def test_it_is_the_same_every_time(options):
    model, batch = conv(dtype=torch.float32), images(6, dtype=torch.float32)
    torch.manual_seed(0)
    first = sparsefool(model, batch, **options)
    torch.manual_seed(1)
    assert torch.equal(sparsefool(model, batch, **options).adversarial, first.adversarial)


@pytest.mark.parametrize("options", WAYS)
def test_calls_and_waits_do_not_grow_with_the_batch(options):
    model, batch = conv(), images(3)
    with Waits() as few:
        one = sparsefool(model, batch, **options)
    with Waits() as many:
        result = sparsefool(model, batch.repeat(12, 1, 1, 1), chunk=10**6, **options)
    assert result.backward_calls == one.backward_calls
    assert result.forward_calls == one.forward_calls
    assert many.count == few.count
    assert torch.equal(result.backwards, one.backwards.repeat(12))
    # Each image alone would need as many calls as it takes part in passes.
    assert result.backward_calls < result.backwards.sum() / 10


@pytest.mark.parametrize("options", WAYS)
def test_the_passes_are_counted_as_made(options):
    model = Lambda(conv())
    result = sparsefool(model, images(7), chunk=5, **options)
    assert result.forward_calls == model.calls
    assert result.forwards.sum() == model.images


@pytest.mark.parametrize("options", WAYS)
def test_misclassified_images_are_returned_as_they_are(options):
    model, batch = conv(), images(6)
    predictions = predicted(model, batch)
    labels = predictions.clone()
    labels[:3] = (labels[:3] + 1) % 6
    result = sparsefool(model, batch, labels, **options)
    assert result.success.all()
    assert torch.equal(result.labels, labels)
    assert result.iterations[:3].tolist() == [0, 0, 0]
    assert torch.equal(result.adversarial[:3], batch[:3])
    assert result.pixels[:3].tolist() == result.components[:3].tolist() == [0, 0, 0]
    assert torch.equal(result.predictions[:3], predictions[:3])
    assert (result.iterations[3:] > 0).all()
    assert result.attacked.tolist() == [False] * 3 + [True] * 3


def test_labels_of_any_integer_type_serve():
    model, batch = conv(), images(4)
    labels = predicted(model, batch)
    expected = sparsefool(model, batch, labels)
    assert torch.equal(sparsefool(model, batch, labels.int()).adversarial, expected.adversarial)
    assert torch.equal(sparsefool(model, batch).adversarial, expected.adversarial)


@pytest.mark.parametrize("options", WAYS)
def test_the_steps_run_out(options):
    model, batch = conv(), images(12)
    result = sparsefool(
        model, batch, steps=1, **{"moves": 1, "reach": 1.0, **options}, overshoot=0.0
    )
    assert not result.success.all()
    assert (result.iterations <= 2).all()
    assert torch.equal(result.success, judged_anew(model, result))
    assert (result.distance("components")[~result.success] == math.inf).all()
    # Failures are returned at their last point.
    assert (result.components > 0).all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("options", WAYS)
def test_it_runs_where_the_caller_wants_no_gradients(options, mode):
    model, batch = conv(), images(3)
    expected = sparsefool(model, batch, **options)
    with mode():
        result = sparsefool(model, batch.clone(), predicted(model, batch), **options)
    assert torch.equal(result.adversarial, expected.adversarial)
    assert not result.adversarial.is_inference()


@pytest.mark.parametrize("options", WAYS)
def test_model_and_inputs_stay_as_they_were(options):
    model, batch = conv(), images(4).requires_grad_()
    labels = predicted(model, batch.detach())
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.ones_like(parameter)
    kept = [batch.detach().clone(), labels.clone()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    result = sparsefool(model, batch, labels, **options)
    assert result.success.all()
    assert torch.equal(batch, kept[0])
    assert torch.equal(labels, kept[1])
    assert batch.grad is None
    assert batch.requires_grad
    assert not result.adversarial.requires_grad
    assert result.images.data_ptr() == batch.data_ptr()
    assert result.adversarial.data_ptr() != batch.data_ptr()
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    for number, parameter in enumerate(model.parameters()):
        assert parameter.requires_grad == (number % 2 == 0)
        assert (parameter.grad == 1).all()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_gains_may_be_measured_in_half_precision(precision):
    network, dtypes = conv(dtype=torch.float32), []

    def forward(x):
        logits = network(x)
        dtypes.append(logits.dtype)
        return logits

    batch = images(12, dtype=torch.float32)
    result = sparsefool(Lambda(forward), batch, precision=precision)
    assert result.success.all()
    assert torch.equal(result.success, judged_anew(network, result))
    assert result.adversarial.dtype == torch.float32
    assert set(dtypes) == {precision, torch.float32}
    assert (dtypes[0], dtypes[-1]) == (torch.float32, torch.float32)
    exact = sparsefool(network, batch)
    assert result.components.sum() <= 1.2 * exact.components.sum()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("options", WAYS)
def test_half_precision_serves(options, dtype):
    model, batch = conv(dtype=dtype), images(3, dtype=dtype)
    result = sparsefool(model, batch, **options)
    assert result.adversarial.dtype == dtype
    assert torch.equal(result.success, judged_anew(model, result))
    assert result.success.double().mean() > 0.8
    assert ((result.adversarial >= 0) & (result.adversarial <= 1)).all()
    assert (result.components < 128).all()


def test_vectors_and_images_of_other_ranks_serve():
    for shape in ((30,), (5, 6), (2, 3, 1, 5)):
        model, batch = affine(3, shape), images(5, shape)
        for options in WAYS:
            result = sparsefool(model, batch, **options)
            assert result.success.all()
            assert torch.equal(result.pixels, result.components)


def test_several_reaches_are_tried_in_turn():
    model, batch = conv(), images(16)
    options = {"candidates": 0, "steps": 1, "overshoot": 0.0}
    short = sparsefool(model, batch, reach=0.9, **options)
    both = sparsefool(model, batch, reach=(0.9, 4.0), **options)
    assert 0 < both.success.sum() > short.success.sum()
    # Those that the first is enough for are not tried again.
    done = short.success
    assert torch.equal(both.adversarial[done], short.adversarial[done])
    assert torch.equal(both.iterations[done], short.iterations[done])
    assert (both.iterations[~done] == 2).all()
