"""Dense steps, thinned from the first row and column on, are the network's own strided steps."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import mobilenet_v2, resnet18, squeezenet1_0

from robustkit.errors import InputError
from robustkit.models import build
from robustkit.translation.strides import DenseSteps, periodic


def first(dense, strides):
    return dense[:, :, :: strides[0], :: strides[1]]


def draws(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def shapes_within(network, images, module=None):
    """The shapes of what every module returns in one pass through `network` or one around it."""
    found = []
    hooks = [
        part.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape)))
        for part in network.modules()
    ]
    (module or network)(images)
    for hook in hooks:
        hook.remove()
    return found


CONVOLUTIONS = [
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 7, "stride": 2, "padding": 3, "groups": 2},
    {"kernel_size": (1, 4), "stride": (3, 2), "padding": (0, 1)},
    {"kernel_size": 3, "stride": 2, "padding": 2, "dilation": 2},
    {"kernel_size": 5, "stride": 4, "bias": False},
    {"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "reflect"},
    {"kernel_size": (3, 5), "padding": "same"},
    {"kernel_size": 2, "stride": 3, "padding": "valid"},
]


@pytest.mark.parametrize("options", CONVOLUTIONS)
@pytest.mark.parametrize("size", [(8, 8), (9, 12), (11, 7)])
def test_convolutions_are_reproduced(options, size):
    step, features = nn.Conv2d(4, 6, **options).double(), draws(2, 4, *size)
    with DenseSteps(first, circular=False):
        found = step(features)
    torch.testing.assert_close(found, step(features), rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (11, 7)])
@pytest.mark.parametrize(
    "step",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d((2, 3), (1, 2), dilation=2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d((3, 1), (2, 3), divisor_override=5),
    ],
    ids=str,
)
def test_poolings_are_reproduced(step, size):
    features = draws(2, 4, *size)
    with DenseSteps(first, circular=False):
        found = step(features)
    torch.testing.assert_close(found, step(features), rtol=0, atol=1e-13)


def test_functions_and_slices_are_steps_too():
    features, seen = draws(2, 3, 8, 10), []

    def sample(dense, strides):
        seen.append((tuple(dense.shape), strides))
        return first(dense, strides)

    with DenseSteps(sample, circular=False):
        found = (
            features[:, :, ::2, ::5],
            features[..., ::2],
            features[:, :, 0::2],
            F.max_pool2d(features, 2),
            torch.max_pool2d(features, 2, stride=(1, 2)),
            F.avg_pool2d(features, kernel_size=2, stride=3),
            F.conv2d(features, features[:, :, :2, :2], stride=2),
        )
        # Neither channels nor rows of a matrix are thinned places.
        assert torch.equal(features[:, 1:, 2:], features.narrow(1, 1, 2).narrow(2, 2, 6))
        assert features[0, 0][::2].shape == (4, 10)
    expected = (
        features[:, :, ::2, ::5],
        features[:, :, :, ::2],
        features[:, :, ::2, :],
        F.max_pool2d(features, 2),
        F.max_pool2d(features, 2, (1, 2)),
        F.avg_pool2d(features, 2, 3),
        F.conv2d(features, features[:, :, :2, :2], stride=2),
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    assert seen == [
        ((2, 3, 8, 10), (2, 5)),
        ((2, 3, 8, 10), (1, 2)),
        ((2, 3, 8, 10), (2, 1)),
        ((2, 3, 7, 9), (2, 2)),
        ((2, 3, 7, 9), (1, 2)),
        ((2, 3, 7, 9), (3, 3)),
        ((2, 2, 7, 9), (2, 2)),
    ]


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: build("resnet20"), (32, 32)),
        (lambda: build("resnet18", channels=1), (17, 22)),
        (lambda: build("small_cnn"), (9, 14)),
        (lambda: build("vgg19"), (32, 32)),
        (lambda: build("lenet", channels=1), (28, 28)),
        (lambda: resnet18(num_classes=7), (33, 24)),
        (lambda: mobilenet_v2(num_classes=7, width_mult=0.25), (24, 33)),
    ],
)
def test_whole_networks_are_reproduced_with_every_size_within(make, size):
    network = make().eval().double()
    channels = next(network.parameters()).shape[1]
    images = draws(1, channels, *size)

    def dense(images):
        with DenseSteps(first, circular=False):
            return network(images)

    torch.testing.assert_close(dense(images), network(images), rtol=0, atol=1e-10)
    assert shapes_within(network, images, dense) == shapes_within(network, images)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (2, 4), (5, 3)])
def test_circular_convolutions_are_products_of_spectra(kernel):
    features, weight = draws(2, 3, 6, 8), draws(4, 3, *kernel)
    before = tuple((side - 1) // 2 for side in kernel)
    # A kernel of even size reaches further after a place than before it.
    with DenseSteps(first, circular=True):
        found = F.conv2d(features, weight, stride=(2, 2), padding=before)
    large = features.new_zeros(4, 3, 6, 8)
    for row, column in itertools.product(range(kernel[0]), range(kernel[1])):
        large[:, :, (before[0] - row) % 6, (before[1] - column) % 8] += weight[:, :, row, column]
    spectrum = torch.einsum("nchw,ochw->nohw", torch.fft.fft2(features), torch.fft.fft2(large))
    expected = torch.fft.ifft2(spectrum).real
    torch.testing.assert_close(found, expected[:, :, ::2, ::2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("step", [nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1), nn.MaxPool2d(2)])
def test_circular_pooling_looks_around_the_border(step):
    features = draws(1, 2, 6, 4)
    with DenseSteps(first, circular=True):
        found = step(features)
    start = -int(step.padding)
    pool = torch.amax if isinstance(step, nn.MaxPool2d) else torch.mean
    expected = torch.empty(1, 2, 3, 2).double()
    for row, column in itertools.product(range(3), range(2)):
        rows = [(2 * row + start + k) % 6 for k in range(step.kernel_size)]
        columns = [(2 * column + start + k) % 4 for k in range(step.kernel_size)]
        expected[:, :, row, column] = pool(features[:, :, rows][:, :, :, columns], dim=(2, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_a_continuation_may_go_around_several_times():
    features = torch.arange(3.0).reshape(1, 1, 1, 3)
    expected = torch.tensor([2.0, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]).reshape(1, 1, 1, 11)
    assert torch.equal(periodic(features, 3, 4, 4), expected)
    assert periodic(features, 3, 0, 0) is features


@pytest.mark.parametrize(
    ("step", "say"),
    [
        (lambda x: F.max_pool2d(x, 2, return_indices=True), "cannot be made dense"),
        (lambda x: torch.max_pool2d(x, 2, ceil_mode=True), "rounds its size up"),
        (lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True), "rounds its size up"),
        (lambda x: F.lp_pool2d(x, 2.0, 2), "lp_pool2d"),
        (lambda x: F.unfold(x, 2, stride=2), "unfold"),
        (lambda x: x.unfold(2, 2, 2), "unfold"),
        (lambda x: F.adaptive_max_pool2d(x, 1), "adaptive_max_pool2d"),
        (lambda x: nn.AdaptiveMaxPool2d(2, return_indices=True)(x), "adaptive_max_pool2d"),
        (lambda x: nn.AdaptiveAvgPool2d(4)(x), "adaptively to 4"),
        (lambda x: F.adaptive_avg_pool2d(x, (None, 3)), "adaptively"),
        (lambda x: F.interpolate(x, (4, 4)), "interpolate"),
        (lambda x: nn.Upsample(scale_factor=2)(x), "interpolate"),
        (lambda x: F.pixel_unshuffle(x[..., :8], 2), "pixel_unshuffle"),
        (lambda x: x[:, :, 1::2, ::2], "slice"),
        (lambda x: x[:, ::2], "slice"),
        (lambda x: x[..., :6:2], "slice"),
        (lambda x: F.max_pool2d(x[0], 2), "batch"),
    ],
)
def test_what_cannot_be_made_dense_is_refused(step, say):
    with DenseSteps(first, circular=False), pytest.raises(InputError, match=say):
        step(draws(2, 3, 8, 9))


@pytest.mark.parametrize(
    ("step", "say"),
    [
        (lambda x: F.max_pool2d(x, 2), "Strides must divide"),
        (lambda x: x[..., ::2, ::2], "Strides must divide"),
        (lambda x: F.conv2d(x, torch.ones(3, 3, 3, 3).double()), "keeps the plane whole"),
        (
            lambda x: F.conv2d(x, torch.ones(3, 3, 1, 1).double(), padding=1),
            "keeps the plane whole",
        ),
        (lambda x: F.pad(x, (1, 1)), "a step of its own"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="circular"), "a step of its own"),
        (lambda x: x[:, :, 1:], "a part of features of 8 x 9"),
        (lambda x: x[..., :-1], "a part of features of 8 x 9"),
        (lambda x: x[:, :, 0, 0], "a part of features of 8 x 9"),
        (lambda x: x.flatten(1), "flattens features of 8 x 9"),
        (lambda x: nn.Flatten()(x), "flattens features of 8 x 9"),
        (lambda x: torch.flatten(x, 1), "flattens features of 8 x 9"),
        (lambda x: x.reshape(2, -1), "flattens features of 8 x 9"),
        (lambda x: x.contiguous().view(2, 216), "flattens features of 8 x 9"),
    ],
)
def test_what_knows_the_border_is_refused_on_a_torus(step, say):
    features = draws(2, 3, 8, 9)
    with DenseSteps(first, circular=False):
        step(features)
    with DenseSteps(first, circular=True), pytest.raises(InputError, match=say):
        step(features)


def test_what_does_not_know_the_border_passes_on_a_torus():
    features = draws(2, 3, 8, 9)
    with DenseSteps(first, circular=True):
        assert F.pad(features, (0, 0, 0, 0, 1, 1)).shape == (2, 5, 8, 9)
        assert F.adaptive_avg_pool2d(features, 1).flatten(1).shape == (2, 3)
        assert features.flatten(2).mean(2).shape == (2, 3)
        assert torch.equal(features[1:, [2, 0]], features.index_select(1, torch.tensor([2, 0]))[1:])
        assert features[0].shape == (3, 8, 9)
        # Weights have no places.
        assert nn.Parameter(features)[:, :, 1:].shape == (2, 3, 7, 9)
        for size in (1, (8, 9), (None, 1), None, (8, None)):
            expected = features if size is None else nn.AdaptiveAvgPool2d(size)(features)
            found = F.adaptive_avg_pool2d(features, (None, None) if size is None else size)
            torch.testing.assert_close(found, expected)


def test_rounding_up_is_refused_only_where_it_matters():
    network = squeezenet1_0(num_classes=4).eval()
    with DenseSteps(first, circular=False), pytest.raises(InputError, match="ceil_mode"):
        network(torch.rand(1, 3, 58, 58))
    pool, features = nn.MaxPool2d(3, 2, ceil_mode=True), draws(1, 1, 9, 7)
    with DenseSteps(first, circular=False):
        assert torch.equal(pool(features), F.max_pool2d(features, 3, 2))
