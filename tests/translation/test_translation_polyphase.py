"""Adaptive polyphase sampling: exact on the torus, and a loop's choice; blur pooling is timm's."""

import itertools
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import mobilenet_v2, resnet18

from robustkit import data as datasets
from robustkit.errors import InputError
from robustkit.models import MLP, Normalized, build, load
from robustkit.translation.polyphase import largest_component, with_blur_pool, with_polyphase

needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
CONVERSIONS = [with_polyphase, pytest.param(with_blur_pool, marks=needs_timm)]
NETWORKS = {
    "small_cnn": lambda: build("small_cnn", classes=7),
    "resnet20": lambda: build("resnet20", classes=7),
    "resnet18": lambda: resnet18(num_classes=7),
    "mobilenet_v2": lambda: mobilenet_v2(num_classes=7, width_mult=0.1),
}


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def draws(*shape, seed=1):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network_of(name):
    network = NETWORKS[name]().double().train()
    # Statistics that fit, or the features of untrained networks fade away in depth.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(draws(4, 3, 64, 64, seed=2))
    return Normalized(network.eval(), 0.5, 0.25)


def rolled(image, step):
    height, width = image.shape[1:]
    shifts = itertools.product(range(0, height, step), range(0, width, step + 1))
    return torch.stack([image.roll(shift, (1, 2)) for shift in shifts])


def spread(logits):
    return (logits - logits[:1]).abs().max().item() / logits.std(dim=1).mean().item()


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "size", "step"),
    [
        ("small_cnn", (8, 12), 1),
        ("resnet20", (16, 8), 1),
        ("resnet18", (32, 32), 5),
        ("mobilenet_v2", (32, 64), 7),
    ],
)
def test_circular_shifts_change_nothing_but_the_last_digits(name, size, step):
    network, image = network_of(name), draws(3, *size)
    exact = with_polyphase(network, padding="circular")
    images = rolled(image, step)
    logits = exact(images)
    assert spread(logits) < 1e-10
    assert logits.argmax(1).unique().numel() == 1
    # Zero padding, strides without a choice, or both, do not have it.
    assert spread(network(images)) > 1e-3
    assert spread(with_polyphase(network)(images)) > 1e-3


@torch.no_grad()
@needs_timm
def test_a_blur_is_steadier_but_not_exact():
    network, images = network_of("small_cnn"), rolled(draws(3, 8, 12), 1)
    blurred = spread(with_blur_pool(network, padding="circular")(images))
    assert 1e-3 < blurred < 0.5 * spread(network(images))


@torch.no_grad()
@pytest.mark.usefixtures("real_data")
def test_a_trained_network_gives_rolled_photographs_one_label():
    network = load("cifar10_resnet20").double()
    images = datasets.to_float(datasets.load("cifar10", limit=24).images).double()
    exact = with_polyphase(network, padding="circular")
    labels, flips = exact(images).argmax(1), []
    for shift in ((0, 1), (1, 0), (15, 7), (16, 16)):
        moved = images.roll(shift, (2, 3))
        assert torch.equal(exact(moved).argmax(1), labels)
        flips.append(network(moved).argmax(1) != network(images).argmax(1))
    assert torch.stack(flips).any()
    assert (labels == network(images).argmax(1)).double().mean() > 0.7


@torch.no_grad()
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_circular_shift_of_any_strides(data):
    strides = data.draw(
        st.lists(st.sampled_from([1, 2, 3, (2, 1), (1, 3)]), min_size=1, max_size=3)
    )
    pairs = [stride if isinstance(stride, tuple) else (stride, stride) for stride in strides]
    size = [int(np.prod([pair[axis] for pair in pairs])) * 2 for axis in (0, 1)]
    kernel = data.draw(st.sampled_from([1, 3, 5]))
    torch.manual_seed(data.draw(st.integers(0, 100)))
    layers = []
    for stride in strides:
        layers += [nn.Conv2d(3, 3, kernel, stride, kernel // 2), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().eval()
    image = draws(1, 3, *size, seed=data.draw(st.integers(0, 100)))
    shift = data.draw(st.tuples(*(st.integers(0, side) for side in size)))
    exact = with_polyphase(network, padding="circular")
    torch.testing.assert_close(exact(image.roll(shift, (2, 3))), exact(image), rtol=0, atol=1e-12)


@torch.no_grad()
def test_images_whose_components_agree_keep_the_guarantee():
    exact = with_polyphase(network_of("small_cnn"), padding="circular")
    board = torch.arange(8)[:, None] + torch.arange(8)
    for image in (torch.ones(8, 8), board % 2, board % 4, (board % 4 < 2) * (board % 3 > 0)):
        images = rolled(image.double().expand(3, 8, 8), 1)
        assert spread(exact(images)) < 1e-10


def test_mirrored_components_of_equal_norm_are_not_told_apart():
    # The limit that the docstring states: the first in raster order wins, whatever it contains.
    row = torch.tensor([1.0, 3, 2, 2, 3, 1]).double().expand(1, 1, 1, 6)
    chosen = []

    def thin(images):
        features = images[..., ::2]
        chosen.append(features.flatten().tolist())
        return features.mean((2, 3))

    network = with_polyphase(Function(thin))
    network(row)
    network(row.roll(1, 3))
    assert chosen == [[1, 2, 3], [1, 3, 2]]
    # Neither is the other moved around the circle.
    assert chosen[1] not in ([1, 2, 3], [2, 3, 1], [3, 1, 2])


def loop_sampling(dense, strides):
    """The component of largest norm, image by image, and its place; in NumPy."""
    result, places = [], []
    for features in dense:
        counts = [-(-side // s) for side, s in zip(features.shape[1:], strides, strict=True)]
        best = None
        for i, j in itertools.product(range(strides[0]), range(strides[1])):
            rows = [(i + k * strides[0]) % features.shape[1] for k in range(counts[0])]
            columns = [(j + k * strides[1]) % features.shape[2] for k in range(counts[1])]
            component = features[:, rows][:, :, columns]
            if best is None or (component**2).sum() > best[0]:
                best = (component**2).sum(), component, (i, j)
        result.append(best[1])
        places.append(best[2])
    return np.stack(result), places


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (2, 3), (1, 1)])
@pytest.mark.parametrize("stride", [2, 3, (1, 2), (4, 3)])
def test_the_choice_is_that_of_a_loop(size, stride):
    features = draws(5, 2, *size)
    weight = draws(4, 2, 3, 3, seed=2) - 0.5
    network = with_polyphase(Function(lambda x: F.conv2d(x, weight, None, stride, 1)))
    pair = stride if isinstance(stride, tuple) else (stride, stride)
    expected, _ = loop_sampling(F.conv2d(features, weight, padding=1).numpy(), pair)
    torch.testing.assert_close(network(features), torch.from_numpy(expected), rtol=0, atol=1e-13)


def test_equal_norms_fall_to_the_first_and_each_image_chooses_for_itself():
    parts = torch.zeros(4, 1, 2, 2, 2, 3)
    parts[1, 0, 0, 1, 0, 2] = parts[1, 0, 1, 0, 1, 1] = -1
    parts[2, 0, 1, 1, 1, 0] = 2
    parts[3, 0, :, 1, :, 1], parts[3, 0, 0, 0, 0, 0] = 1, 1.9
    assert largest_component(parts).tolist() == [0, 1, 3, 4]


def test_norms_do_not_overflow_in_half_precision():
    parts = torch.full((1, 8, 2, 2, 2, 2), 60000.0, dtype=torch.float16)
    parts[0, 0, 0, 1, 0, 1] = 61000
    assert largest_component(parts).tolist() == [3]


def test_a_shortcut_shares_the_choice_of_the_branch_that_runs_first():
    features = draws(6, 2, 8, 8)
    weight = draws(2, 2, 3, 3, seed=2) - 0.5

    def block(x):
        return F.conv2d(x, weight, None, 2, 1) + 10 * x[:, :, ::2, ::2]

    dense = F.conv2d(features, weight, padding=1)
    main, places = loop_sampling(dense.numpy(), (2, 2))
    assert len(set(places)) > 1
    _, own = loop_sampling(features.numpy(), (2, 2))
    assert own != places
    short = torch.stack([x[:, i::2, j::2] for x, (i, j) in zip(features, places, strict=True)])
    expected = torch.from_numpy(main) + 10 * short
    found = with_polyphase(Function(block))(features)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_choices_are_made_anew_in_every_pass_and_at_every_size():
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 1, 0] = 1
    network = with_polyphase(Function(lambda x: x[:, :, ::2, ::2][:, :, ::2, ::2]))
    for shift in ((0, 0), (2, 3), (5, 7), (1, 1)):
        assert network(image.roll(shift, (2, 3))).sum() == 1


@torch.no_grad()
@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize(("name", "size"), [("resnet20", (33, 30)), ("mobilenet_v2", (65, 70))])
def test_features_have_the_sizes_of_the_original(convert, name, size):
    network = network_of(name)
    converted, images = convert(network), draws(2, 3, *size)
    shapes = []
    for model in (network, converted.model):
        found = []
        for part in model.modules():
            part.register_forward_hook(lambda _, __, out, found=found: found.append(out.shape))
        shapes.append(found)
    network(images)
    converted(images)
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) > 20


@torch.no_grad()
@pytest.mark.parametrize("convert", CONVERSIONS)
def test_weights_are_kept_in_a_copy(convert):
    network = build("small_cnn")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.rand(2, 3, 16, 16)
    logits = network(images)
    converted = convert(network)
    kept = converted.model.state_dict()
    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], before[name]) for name in before)
    assert sum(p.numel() for p in converted.parameters()) == sum(
        p.numel() for p in network.parameters()
    )
    for weights in converted.parameters():
        weights.zero_()
    assert torch.equal(network(images), logits)
    assert not converted.training
    assert convert(build("small_cnn").train()).training


@pytest.mark.parametrize("padding", ["kept", "circular"])
@pytest.mark.parametrize("convert", CONVERSIONS)
def test_rows_layouts_and_gradients(convert, padding):
    network = convert(build("resnet20").double(), padding=padding)
    images = draws(5, 3, 16, 16).requires_grad_()
    logits = network(images)
    for rows in ([0], [3, 1], [4, 4, 2]):
        torch.testing.assert_close(network(images[rows]), logits[rows], rtol=0, atol=1e-11)
    last = images.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(last), logits, rtol=0, atol=1e-11)
    (gradient,) = torch.autograd.grad(logits[1].sum(), images)
    assert gradient[1].abs().max() > 0
    assert (gradient[[0, 2, 3, 4]] == 0).all()


@torch.no_grad()
def test_a_network_whose_step_is_1_is_left_alone():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(180, 4))
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(with_polyphase(network)(images), network(images))
    mlp = MLP(27, 4).eval()
    assert torch.equal(with_polyphase(mlp)(images[..., :3, :3]), mlp(images[..., :3, :3]))


def blur(features, size, circular):
    """The binomial filter by loops, at every place."""
    taps = np.array({3: [1, 2, 1], 5: [1, 4, 6, 4, 1]}[size])
    taps = taps / taps.sum()
    reach = size // 2
    around = ((0, 0), (0, 0), (reach, reach), (reach, reach))
    wide = np.pad(features, around, mode="wrap" if circular else "reflect")
    result = np.zeros_like(features)
    height, width = features.shape[2:]
    for i, j in itertools.product(range(size), range(size)):
        result += taps[i] * taps[j] * wide[:, :, i : i + height, j : j + width]
    return result


@needs_timm
@pytest.mark.parametrize("padding", ["kept", "circular"])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [2, 3, (4, 1)])
def test_a_blur_stands_behind_the_dense_step(stride, size, padding):
    features, weight = draws(2, 3, 12, 12), draws(4, 3, 3, 3, seed=2)
    pair = stride if isinstance(stride, tuple) else (stride, stride)
    circular = padding == "circular"
    steps = {
        lambda x: F.conv2d(x, weight, None, stride, 1): lambda x: F.conv2d(x, weight),
        lambda x: F.max_pool2d(x, 3, stride, 1): lambda x: F.max_pool2d(x, 3, 1),
        lambda x: x[:, :, :: pair[0], :: pair[1]]: lambda x: x[:, :, 1:-1, 1:-1],
    }
    wide = F.pad(features, (1, 1, 1, 1), mode="circular" if circular else "constant")
    for step, valid in steps.items():
        network = with_blur_pool(Function(step), filter_size=size, padding=padding).double()
        expected = blur(valid(wide).numpy(), size, circular)[:, :, :: pair[0], :: pair[1]]
        torch.testing.assert_close(
            network(features), torch.from_numpy(expected), rtol=0, atol=1e-12
        )


@needs_timm
def test_a_blur_needs_something_to_reflect():
    network = with_blur_pool(Function(lambda x: x[:, :, ::2, ::2]))
    network(torch.rand(1, 1, 2, 5))
    with pytest.raises(InputError, match="too small for a blur"):
        network(torch.rand(1, 1, 1, 5))
    with_blur_pool(Function(lambda x: x[:, :, ::2, ::2]), padding="circular")(
        torch.rand(1, 1, 2, 6)
    )


def test_the_blur_of_stride_2_is_that_of_timm():
    layers = pytest.importorskip("timm.layers")
    features, weight = torch.rand(2, 3, 9, 12), torch.rand(4, 3, 3, 3)
    network = with_blur_pool(Function(lambda x: F.conv2d(x, weight, None, 2, 1)))
    expected = layers.BlurPool2d(4, stride=2)(F.conv2d(features, weight, padding=1))
    torch.testing.assert_close(network(features), expected)


@needs_timm
def test_the_blur_follows_the_type_of_the_network():
    network = with_blur_pool(build("small_cnn"))
    assert network(torch.rand(1, 3, 16, 16)).dtype == torch.float32
    assert network.double()(draws(1, 3, 16, 16)).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "say"),
    [
        (lambda: with_polyphase(build("small_cnn"), padding="zeros"), "unknown padding"),
        (lambda: with_blur_pool(build("small_cnn"), padding="circle"), "Did you mean 'circular'"),
        (lambda: with_blur_pool(build("small_cnn"), filter_size=4), "odd"),
        (lambda: with_blur_pool(build("small_cnn"), filter_size=1), "at least 3"),
    ],
)
def test_what_cannot_be_converted_is_refused(call, say):
    with pytest.raises(InputError, match=say):
        call()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")
def test_torchscript_is_refused():
    scripted = torch.jit.trace(nn.MaxPool2d(2), torch.rand(1, 1, 4, 4))
    for convert in (with_polyphase, with_blur_pool):
        with pytest.raises(InputError, match="TorchScript"):
            convert(nn.Sequential(scripted))


def test_timm_absent_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"robustkit\[zoo\]"):
        with_blur_pool(build("small_cnn"))


@torch.no_grad()
def test_what_the_network_does_is_refused_when_it_runs():
    images = torch.rand(1, 3, 28, 28)

    def unlike(x):
        return x[:, :, ::4, ::4] + x[:, :, ::2, ::2][:, :, ::2, ::2]

    with pytest.raises(InputError, match="cannot share"):
        with_polyphase(Function(unlike))(images)
    small = with_polyphase(build("small_cnn"), padding="circular")
    small(images)
    with pytest.raises(InputError, match="Strides must divide"):
        small(images[..., :26, :])
    with pytest.raises(InputError, match="keeps the plane whole"):
        with_polyphase(build("lenet"), padding="circular")(images)
    with pytest.raises(InputError, match="flattens features of 28 x 28"):
        with_polyphase(MLP(2352, 4).eval(), padding="circular")(images)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(7), nn.Flatten())
    with pytest.raises(InputError, match="features of 14 x 14 adaptively to 7"):
        with_polyphase(network, padding="circular")(images)
