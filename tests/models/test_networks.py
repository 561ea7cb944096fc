"""Untrained networks have the published shapes and sizes, and seeded weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustkit.checks import check_predictions
from robustkit.errors import InputError
from robustkit.models import MLP, NETWORKS, build, build_mlp
from robustkit.models.resnet import BasicBlock, SubsampledIdentity

SHAPES = dict.fromkeys(NETWORKS, (3, 32, 32)) | {
    "lenet": (1, 28, 28),
    "wide_lenet": (1, 28, 28),
}


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 6 * (25 + 1), 16 * (6 * 25 + 1), 120 * (400 + 1), 84 * (120 + 1), 10 * (84 + 1).
        ("lenet", 156 + 2416 + 48120 + 10164 + 850),
        ("wide_lenet", 320 + 18496 + 627400 + 2010),
        # He et al., CVPR 2016, table 6 gives 0.27, 0.46, 0.66 and 0.85 million.
        ("resnet20", 269_722),
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet56", 853_018),
        ("resnet18", 11_173_962),
        ("vgg19", 20_040_522),
    ],
)
def test_the_number_of_parameters_is_the_published_one(name: str, parameters: int) -> None:
    assert size(build(name, channels=SHAPES[name][0])) == parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_logits_and_gradients_and_is_in_eval_mode(name: str) -> None:
    network = build(name, classes=7, channels=SHAPES[name][0])
    images = torch.rand(2, *SHAPES[name], requires_grad=True)
    assert check_predictions(network, images.detach()) == 7
    (gradient,) = torch.autograd.grad(network(images)[:, 3].sum(), images)
    assert gradient.isfinite().all()
    assert gradient.abs().amax(dim=(1, 2, 3)).gt(0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_logits_of_an_image_do_not_depend_on_its_batch(name: str) -> None:
    network = build(name, channels=SHAPES[name][0])
    images = torch.rand(3, *SHAPES[name])
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=8)
@given(channels=st.sampled_from([1, 3]), height=st.integers(8, 33), width=st.integers(8, 33))
def test_small_cnn_takes_any_size(channels: int, height: int, width: int) -> None:
    images = torch.rand(2, channels, height, width)
    assert build("small_cnn", classes=4, channels=channels)(images).shape == (2, 4)


def test_equal_seeds_give_equal_weights_and_others_do_not() -> None:
    first, again, other = (build("small_cnn", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


def test_building_leaves_the_global_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    build("small_cnn")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_shortcut_without_parameters_keeps_every_second_pixel_between_zeros() -> None:
    features = torch.rand(2, 4, 6, 6)
    found = SubsampledIdentity(4, 8)(features)
    assert found.shape == (2, 8, 3, 3)
    assert torch.equal(found[:, 2:6], features[:, :, ::2, ::2])
    assert found[:, :2].abs().sum() + found[:, 6:].abs().sum() == 0


def test_a_block_whose_residual_is_zero_is_its_shortcut() -> None:
    block = BasicBlock(4, 8, stride=2, projection=False).eval()
    nn.init.zeros_(block.conv2.weight)
    features = torch.rand(2, 4, 6, 6)
    assert torch.equal(block(features), block.shortcut(features))


@pytest.mark.parametrize("name", ["lenet", "wide_lenet"])
def test_lenets_refuse_other_sizes(name: str) -> None:
    with pytest.raises(InputError, match="28 x 28"):
        build(name, channels=1)(torch.rand(1, 1, 32, 32))


def test_an_unknown_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'resnet20'"):
        build("resnet-20")


@pytest.mark.parametrize(("classes", "channels"), [(1, 3), (10, 0)])
def test_impossible_sizes_are_refused(classes: int, channels: int) -> None:
    with pytest.raises(InputError, match="at least 2 classes and 1 channel"):
        build("small_cnn", classes=classes, channels=channels)


def test_a_perceptron_is_its_matrices_and_rectifiers() -> None:
    network = build_mlp(6, 3, width=5, depth=2).double()
    assert size(network) == (6 + 1) * 5 + (5 + 1) * 5 + (5 + 1) * 3
    points = torch.randn(4, 2, 3, dtype=torch.float64)
    expected = points.flatten(1)
    *hidden, output = [module for module in network.modules() if isinstance(module, nn.Linear)]
    for layer in hidden:
        expected = (expected @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(network(points), expected @ output.weight.T + output.bias)
    assert check_predictions(network, points) == 3


def test_perceptrons_are_seeded_and_leave_the_global_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (build_mlp(4, width=8, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_perceptrons_refuse_impossible_sizes_and_other_points() -> None:
    for sizes in ({"size": 0}, {"classes": 1}, {"width": 0}, {"depth": 0}):
        with pytest.raises(InputError, match="at least 1 input, 2 classes"):
            MLP(**{"size": 4} | sizes)
    with pytest.raises(InputError, match="points of 4 components"):
        build_mlp(4)(torch.zeros(2, 5))
