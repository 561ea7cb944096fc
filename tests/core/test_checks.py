"""The checks at the door: each bad input gets an error that says what to do."""

import pytest
import torch
from torch import nn

from robustkit import checks
from robustkit.errors import InputError, unknown


class Linear(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(12, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.linspace(0, 1, 24).reshape(2, 3, 2, 2)


def test_good_images_pass(images: torch.Tensor):
    checks.check_images(images)
    checks.check_images(images * 5 - 2, unit_range=False)
    checks.check_images((images * 255).to(torch.uint8), levels=True)


def test_8_bit_levels_pass_where_they_are_asked_for(images: torch.Tensor):
    levels = (images * 255).to(torch.uint8)
    for bad, asked in ((levels, False), (levels.int(), True)):
        with pytest.raises(InputError, match="floating point"):
            checks.check_images(bad, levels=asked)
    with pytest.raises(InputError, match="empty"):
        checks.check_images(levels[:0], levels=True)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda x: x[:0], "empty"),
        (lambda x: x.flatten(), "unsqueeze"),
        (lambda x: (x * 255).to(torch.uint8), "to_float"),
        (lambda x: x * 255, "divide by 255"),
        (lambda x: x - 0.5, "Normalized"),
        (lambda x: x / 0, "NaN or infinite"),
        (lambda x: x * float("nan"), "NaN"),
    ],
)
def test_bad_images_are_refused_with_the_way_out(images: torch.Tensor, spoil, word: str):
    bad = spoil(images)
    if word == "unsqueeze":
        bad = torch.zeros(12)
    with pytest.raises(InputError, match=word):
        checks.check_images(bad)


def test_a_single_module_in_training_mode_is_found_by_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout())).eval()
    checks.check_model(model)
    model[1][0].train()
    with pytest.raises(InputError, match=r"1\.0"):
        checks.check_model(model)


@pytest.mark.parametrize(
    ("labels", "word"),
    [
        (torch.tensor([0]), "shape"),
        (torch.tensor([0.0, 1.0]), "int64"),
        (torch.tensor([True, False]), "int64"),
        (torch.tensor([0, 3]), "3 classes"),
        (torch.tensor([-1, 0]), "3 classes"),
    ],
)
def test_bad_labels_are_refused(images: torch.Tensor, labels: torch.Tensor, word: str):
    with pytest.raises(InputError, match=word):
        checks.check_labels(labels, 2, 3)


def test_models_must_return_two_or_more_logits_an_image(images: torch.Tensor):
    assert checks.check_predictions(Linear(3).eval(), images, torch.tensor([0, 2])) == 3
    with pytest.raises(InputError, match="at least two classes"):
        checks.check_predictions(Linear(1).eval(), images)
    with pytest.raises(InputError, match="logits"):
        checks.check_predictions(nn.Identity().eval(), images)


def test_the_near_match_is_suggested():
    error = unknown("chapter", "02_sparce", ["01_preliminaries", "02_sparse"])
    assert "Did you mean '02_sparse'?" in str(error)
    assert "Did you mean" not in str(unknown("chapter", "zzzz", ["01_preliminaries"]))
