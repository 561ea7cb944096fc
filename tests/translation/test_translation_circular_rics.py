"""In circular mode every network is invariant, exactly, to all rolls: ties and tiles included."""

import pytest
import torch
from selection_references import levels
from torch import nn

from robustkit.data import to_float
from robustkit.errors import InputError
from robustkit.translation import RICS, canonical, crops_at, hash_score

SIDE = 16
SCORES = ["seam", "filter", "hash", "laplacian"]


class Transformer(nn.Module):
    """A vision transformer with learned positions: nothing about it is invariant."""

    def __init__(self, channels):
        super().__init__()
        self.patches = nn.Conv2d(channels, 16, 4, stride=4)
        self.positions = nn.Parameter(torch.randn(16, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).mT + self.positions
        return self.head(self.layer(tokens).mean(1))


def convolutional(channels):
    layers = [nn.Conv2d(channels, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


def perceptron(channels):
    layers = [nn.Flatten(), nn.Linear(channels * SIDE * SIDE, 32), nn.ReLU(), nn.Linear(32, 10)]
    return nn.Sequential(*layers)


NETWORKS = {"cnn": convolutional, "mlp": perceptron, "vit": Transformer}


def tied():
    """Two spots of equal Laplacians and different surroundings, the same number of steps apart."""
    image = torch.full((1, SIDE, SIDE), 100, dtype=torch.uint8)
    image[0, 4, 4], image[0, 4, 12] = 130, 70
    image[0, 12, 4], image[0, 12, 12] = 131, 69
    return image


def pictures():
    smooth = torch.arange(SIDE, dtype=torch.uint8)
    one = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    one[0, 5, 9] = 255
    board = ((smooth[:, None] + smooth) % 2 * 255)[None]
    tiles = levels(1, 4, 8, seed=3).repeat(1, 4, 2)
    return {
        "random": levels(3, SIDE, SIDE),
        "gradient": (smooth[:, None] * 9 + smooth)[None],
        "constant": torch.full((3, SIDE, SIDE), 77, dtype=torch.uint8),
        "one pixel": one,
        "checkerboard": board,
        "tiles": tiles,
        "tied": tied(),
    }


def rolls(image):
    return torch.stack(
        [image.roll((y, x), (1, 2)) for y in range(image.shape[1]) for x in range(image.shape[2])]
    )


def raster_mutant(images):
    """The canonical roll with ties broken by place: the largest Laplacian that comes first."""
    large = images.repeat(1, 1, 2, 2)[..., : 2 * SIDE - 1, : 2 * SIDE - 1]
    scores = RICS(nn.Flatten(), SIDE, score="laplacian").score_maps(large)[0]
    places = scores.flatten(1).argmax(1)
    positions = torch.stack([places // SIDE, places % SIDE], dim=1)
    return crops_at(images, positions, SIDE, wrap=True)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", pictures())
def test_crops_are_the_canonical_images(name, score):
    image = pictures()[name]
    rics = RICS(nn.Flatten(), None, mode="circular", score=score)
    some = rolls(image)[::29]
    assert torch.equal(rics.crops(some), canonical(some, score=score))
    # Its hash is that of the selection.
    chosen = rics.select(some)
    assert (chosen.hashes == hash_score()(rics.crops(some[:1]), (SIDE, SIDE))).all()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("score", SCORES)
def test_every_roll_has_the_same_logits(kind, score):
    for image in pictures().values():
        model = NETWORKS[kind](len(image)).eval()
        rics = RICS(model, None, mode="circular", score=score)
        # One image at a time, so that no other image of a batch can matter.
        with torch.no_grad():
            outputs = torch.cat([rics(one[None]) for one in rolls(image)[::13]])
        assert (outputs == outputs[0]).all()


@pytest.mark.parametrize("name", ["random", "tied", "tiles"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_all_256_rolls_have_the_same_logits_and_without_it_they_have_not(kind, name):
    image = pictures()[name]
    model = NETWORKS[kind](len(image)).eval()
    rics = RICS(model, None, mode="circular")
    with torch.no_grad():
        outputs = torch.cat([rics(one[None]) for one in rolls(image)])
        plain = model(to_float(rolls(image)))
    assert len(outputs) == SIDE * SIDE
    assert (outputs == outputs[0]).all()
    # The control: the network alone tells rolls apart, all of noise and some of what repeats.
    assert len(plain.unique(dim=0)) == SIDE * SIDE or (name != "random" and plain.std(0).max() > 0)


def test_ties_broken_by_place_are_not_invariant():
    mutant = raster_mutant(rolls(tied()))
    assert len(mutant.unique(dim=0)) > 1
    # Without ties the mutant is as good.
    spot = pictures()["one pixel"]
    assert (raster_mutant(rolls(spot)) == raster_mutant(spot[None])).all()


@pytest.mark.parametrize("score", SCORES)
def test_crops_go_on_at_the_other_side(score):
    image = levels(2, SIDE, SIDE - 3, seed=8)
    rics = RICS(nn.Flatten(), (9, 8), mode="circular", score=score, size=5)
    outputs, crops = rics(rolls(image)), rics.crops(rolls(image))
    assert crops.shape == (SIDE * (SIDE - 3), 2, 9, 8)
    assert (crops == crops[0]).all()
    assert outputs.shape == (len(crops), 2 * 25)
    assert (outputs == outputs[0]).all()


def test_gradients_pass_to_the_rolled_pixels():
    images = to_float(levels(2, 3, SIDE, SIDE)).requires_grad_()
    RICS(convolutional(3).eval(), None, mode="circular")(images).sum().backward()
    assert (images.grad.abs().flatten(1).sum(1) > 0).all()


def test_what_a_torus_has_not_is_refused():
    images = levels(2, 3, SIDE, SIDE)
    for how in ("landmark", "bottomk"):
        with pytest.raises(InputError, match="use 'argmax'"):
            RICS(nn.Flatten(), 9, mode="circular", select=how)
    rics = RICS(nn.Flatten(), 9, mode="circular")
    with pytest.raises(InputError, match="circular_scores"):
        rics.score_maps(images)
    with pytest.raises(InputError, match="circular_scores"):
        rics.select_windows(images, 12, torch.tensor([[0, 0]]))
    with pytest.raises(InputError, match="does not fit"):
        RICS(nn.Flatten(), 17, mode="circular")(images)
    with pytest.raises(InputError, match="unknown score"):
        RICS(nn.Flatten(), 9, mode="circular", score="edge")
