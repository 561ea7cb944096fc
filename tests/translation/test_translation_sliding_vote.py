"""Votes over all crops: certificates that no new content breaks, and that claim no less."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import interpolate

from robustkit.errors import InputError
from robustkit.prediction import predict
from robustkit.translation.sliding_vote import SlidingVote, certify_votes, count_votes


def majority(labels, classes):
    counts = [labels.count(label) for label in range(classes)]
    return counts.index(max(counts))


def kept(field, shift):
    """The labels of a field, a list of lists, that the field moved by the shift has too."""
    rows, columns = len(field), len(field[0])
    return [
        field[i][j]
        for i, j in itertools.product(range(rows), range(columns))
        if 0 <= i - shift[0] < rows and 0 <= j - shift[1] < columns
    ]


def shifts_within(radius):
    return itertools.product(range(-radius, radius + 1), repeat=2)


def flips_by_one_rival(field, classes, shift):
    """Whether unseen crops that all vote for some one class change the majority."""
    before = majority(list(itertools.chain(*field)), classes)
    old = kept(field, shift)
    unseen = len(field) * len(field[0]) - len(old)
    return any(majority(old + [rival] * unseen, classes) != before for rival in range(classes))


def reference_radius(field, classes):
    radius = 0
    while not any(flips_by_one_rival(field, classes, d) for d in shifts_within(radius + 1)):
        radius += 1
    return radius


def random_fields(count, rows, columns, classes, seed, bias=0.0):
    """Fields of random labels; a share `bias` of the crops is put into class 1."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randint(classes, (count, rows, columns), generator=generator)
    return torch.where(torch.rand(fields.shape, generator=generator) < bias, 1, fields)


# --- the certificate -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "columns", "classes"), [(1, 2, 2), (2, 2, 2), (2, 2, 3), (2, 3, 2), (3, 3, 2)]
)
def test_no_filling_at_all_breaks_a_certificate_and_any_other_can_be_broken(rows, columns, classes):
    """Every field, every shift, and every one of the possible labels of the unseen crops."""
    cells = rows * columns
    fields = torch.tensor(list(itertools.product(range(classes), repeat=cells)))
    if len(fields) > 100:
        fields = fields[torch.randperm(len(fields), generator=torch.manual_seed(1))[:100]]
    result = certify_votes(fields.reshape(-1, rows, columns), classes, 1)
    for field, label, sure in zip(fields, result.labels, result.certified, strict=True):
        field = field.reshape(rows, columns).tolist()
        assert label == majority(list(itertools.chain(*field)), classes)
        broken = False
        for shift in shifts_within(1):
            old = kept(field, shift)
            fillings = itertools.product(range(classes), repeat=cells - len(old))
            broken = broken or any(majority(old + list(new), classes) != label for new in fillings)
        assert sure == (not broken)


@pytest.mark.parametrize(
    ("rows", "columns", "classes", "bias"),
    [
        (3, 3, 2, 0.6),
        (4, 6, 3, 0.7),
        (7, 5, 4, 0.7),
        (8, 8, 10, 0.8),
        (9, 9, 3, 0.95),
        (1, 9, 2, 1),
    ],
)
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_sound_and_maximal_on_random_fields(rows, columns, classes, bias, radius):
    fields = random_fields(80, rows, columns, classes, rows + columns, bias)
    result = certify_votes(fields, classes, radius)
    for field, sure, largest in zip(fields.tolist(), result.certified, result.radii, strict=True):
        flips = any(flips_by_one_rival(field, classes, d) for d in shifts_within(radius))
        assert sure == (not flips)
        assert largest == reference_radius(field, classes)
    assert torch.equal(result.certified, result.radii >= radius)
    assert torch.equal(result.certified, result.margins >= 0)
    assert torch.equal(result.labels, count_votes(fields, classes).argmax(1))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_fillings_never_break_a_certificate(data):
    rows, columns = data.draw(st.integers(2, 10)), data.draw(st.integers(2, 10))
    classes, radius = data.draw(st.integers(2, 5)), data.draw(st.integers(0, 3))
    bias = data.draw(st.floats(0.5, 1))
    fields = random_fields(8, rows, columns, classes, data.draw(st.integers(0, 2**32)), bias)
    result = certify_votes(fields, classes, radius)
    reach = int(result.radii.max())
    shift = [data.draw(st.integers(-reach, reach)) for _ in range(2)]
    for field, label, largest in zip(fields.tolist(), result.labels, result.radii, strict=True):
        if max(map(abs, shift)) <= largest:
            old = kept(field, shift)
            unseen = rows * columns - len(old)
            new = st.lists(st.integers(0, classes - 1), min_size=unseen, max_size=unseen)
            assert majority(old + data.draw(new), classes) == label


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 7), st.integers(2, 7), st.integers(2, 4))
def test_mirrored_fields_have_one_certificate(seed, rows, columns, classes):
    fields = random_fields(5, rows, columns, classes, seed, 0.8)
    result = certify_votes(fields, classes, 1)
    for other in (fields.flip(1), fields.flip(2), fields.transpose(1, 2).contiguous()):
        mirrored = certify_votes(other, classes, 1)
        assert torch.equal(mirrored.margins, result.margins)
        assert torch.equal(mirrored.radii, result.radii)


@pytest.mark.parametrize(("majority_label", "rival"), [(0, 1), (1, 0)])
def test_a_field_at_the_bound_holds_and_one_vote_beyond_flips(majority_label, rival):
    """Of 10 x 10 crops a diagonal pixel keeps 81 and brings 19."""
    field = torch.full((1, 10, 10), majority_label)
    # In the corner that all nine windows share: 81 - x kept votes against x + 19.
    most = 31 if majority_label < rival else 30
    inner = [(i, j) for i in range(1, 9) for j in range(1, 9)]
    for i, j in inner[:most]:
        field[0, i, j] = rival
    at_bound = certify_votes(field, 2, 1)
    assert at_bound.certified
    assert at_bound.radii == 1
    assert at_bound.margins == (0 if majority_label < rival else 1)
    i, j = inner[most]
    field[0, i, j] = rival
    beyond = certify_votes(field, 2, 1)
    assert beyond.labels == majority_label
    assert not beyond.certified
    assert beyond.radii == 0
    assert beyond.margins == at_bound.margins - 2
    assert any(flips_by_one_rival(field[0].tolist(), 2, d) for d in shifts_within(1))


def test_a_class_without_votes_is_a_rival():
    """All crops say 1; a shift by one of two rows brings two votes for 0, and the tie is 0's."""
    field = torch.ones(1, 2, 2, dtype=torch.int64)
    assert not certify_votes(field[:, :, :1].expand(1, 2, 1).contiguous(), 2, 1).certified
    slim = torch.ones(1, 8, 8, dtype=torch.int64)
    result = certify_votes(slim, 2, 2)
    # 6 x 6 crops are kept, 28 are new: 36 - 28 - 1 for the tie.
    assert result.margins == 7
    assert result.radii == 2
    assert certify_votes(torch.zeros_like(slim), 2, 2).margins == 8


@pytest.mark.parametrize("side", [1, 2, 3, 7, 33])
def test_the_radius_of_a_unanimous_field_is_where_half_of_the_crops_are_new(side):
    result = certify_votes(torch.zeros(1, side, side, dtype=torch.int64), 3, 0)
    expected = max(k for k in range(side) if 2 * (side - k) ** 2 >= side**2)
    assert result.radii == expected
    assert result.certified


def test_a_shift_that_keeps_exactly_half_is_survived_by_the_class_that_wins_ties():
    """A diagonal pixel keeps 6 of 3 x 4 crops."""
    fields = torch.tensor([0, 1])[:, None, None].expand(2, 3, 4).contiguous()
    assert certify_votes(fields, 2, 0).radii.tolist() == [1, 0]
    assert certify_votes(fields, 2, 1).margins.tolist() == [0, -1]


@pytest.mark.parametrize("radius", [3, 5, 40])
def test_no_crop_in_common_is_never_certified(radius):
    result = certify_votes(torch.zeros(2, 3, 5, dtype=torch.int64), 2, radius)
    assert not result.certified.any()
    # Nothing kept, 15 new votes for class 1.
    assert result.margins.tolist() == [-15, -15]
    assert result.radius == radius


def test_many_classes_and_small_parts_change_nothing(monkeypatch):
    fields = random_fields(20, 6, 7, 5, 3, 0.7)
    whole = certify_votes(fields, 5, 1)
    monkeypatch.setattr("robustkit.translation.sliding_vote._BLOCK", 1)
    for classes in (5, 1000):
        result = certify_votes(fields, classes, 1)
        for name in ("labels", "certified", "margins", "radii"):
            assert torch.equal(getattr(result, name), getattr(whole, name))
    assert len(whole) == 20


def test_margins_do_not_grow_with_the_radius():
    fields = random_fields(200, 9, 9, 3, 5, 0.8)
    margins = torch.stack([certify_votes(fields, 3, radius).margins for radius in range(10)])
    assert (margins.diff(dim=0) <= 0).all()
    counts = count_votes(fields, 3).sort(dim=1, descending=True).values
    # Without a shift: the lead, less one where the runner-up would win a tie.
    lead = counts[:, 0] - counts[:, 1]
    assert ((margins[0] == lead) | (margins[0] == lead - 1)).all()
    assert (margins[0] >= 0).all()


# --- the module ----------------------------------------------------------------------------------


class Corner(nn.Module):
    """The class is the level of a crop's first pixel, modulo the number of classes."""

    def __init__(self, classes=3):
        super().__init__()
        self.classes, self.shapes = classes, []

    def forward(self, images):
        self.shapes.append(tuple(images.shape))
        levels = (images[:, 0, 0, 0] * 255).round().long() % self.classes
        return nn.functional.one_hot(levels, self.classes).to(images.dtype)


def scenes(count, height, width, classes=3, seed=0, channels=2, share=0.7):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, height, width)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    common = torch.rand(shape, generator=generator) < share
    return torch.where(common, images - images % classes, images)


def test_the_label_field_is_the_model_on_every_crop():
    images, model = scenes(3, 8, 11), Corner().eval()
    vote = SlidingVote(model, (5, 4), batch_size=7).eval()
    field = vote.label_field(images)
    assert field.shape == (3, 4, 8)
    for i, j in itertools.product(range(4), range(8)):
        crops = images[:, :, i : i + 5, j : j + 4]
        assert torch.equal(field[:, i, j], predict(model, crops))
    assert set(model.shapes) <= {(7, 2, 5, 4), (3 * 32 % 7, 2, 5, 4), (3, 2, 5, 4)}
    votes = vote.votes(images)
    assert torch.equal(votes, torch.stack([(field == label).sum((1, 2)) for label in range(3)], 1))
    assert torch.equal(vote(images), votes / 32)
    assert torch.equal(predict(vote, images), votes.argmax(1))


@pytest.mark.parametrize("stride", [2, 3])
def test_a_stride_leaves_out_crops(stride):
    images = scenes(2, 9, 12)
    whole = SlidingVote(Corner().eval(), 4).eval().label_field(images)
    part = SlidingVote(Corner().eval(), 4, stride=stride).eval().label_field(images)
    assert torch.equal(part, whole[:, ::stride, ::stride])


def test_crops_are_cut_before_they_are_resized():
    class Mean(nn.Module):
        def forward(self, images):
            assert images.shape[1:] == (2, 6, 5)
            return images.flatten(1)[:, :4]

    images = scenes(2, 7, 9).to(torch.float64) / 255
    field = SlidingVote(Mean().eval(), 4, size=(6, 5)).eval().label_field(images)
    for i, j in itertools.product(range(4), range(6)):
        crop = interpolate(
            images[..., i : i + 4, j : j + 4], (6, 5), mode="bilinear", antialias=True
        )
        assert torch.equal(field[:, i, j], Mean()(crop).argmax(1))


@pytest.mark.parametrize(("crop", "share"), [(1, 0.24), (4, 0.4)])
def test_a_certified_window_of_a_scene_keeps_its_class_at_every_shift(crop, share):
    """The new content is the scene's own, then an adversary's: the level of one rival."""
    source = scenes(40, 16, 16, seed=4, share=share)
    vote = SlidingVote(Corner().eval(), crop).eval()
    result = vote.certify(source[..., 3:13, 3:13], 1)
    fooled = torch.zeros(40, dtype=torch.bool)
    for a, b in shifts_within(1):
        for rival in (None, 0, 1, 2):
            scene = source if rival is None else torch.full_like(source, rival)
            scene = scene.clone()
            scene[..., 3:13, 3:13] = source[..., 3:13, 3:13]
            moved = scene[..., 3 + a : 13 + a, 3 + b : 13 + b]
            fooled |= vote.votes(moved).argmax(1) != result.labels
    assert 0 < result.certified.sum() < 40
    assert not (result.certified & fooled).any()
    # A crop of one pixel has a label as free as the pixel is: then the adversary always succeeds.
    assert crop > 1 or torch.equal(fooled, ~result.certified)


def test_rows_parts_and_layouts_do_not_matter():
    images, vote = scenes(5, 9, 9), SlidingVote(Corner().eval(), 4, batch_size=5).eval()
    kept_images = images.clone()
    field = vote.label_field(images)
    assert torch.equal(images, kept_images)
    alone = torch.cat([vote.label_field(image[None]) for image in images])
    assert torch.equal(field, alone)
    vote.batch_size = 1000
    assert torch.equal(vote.label_field(images.to(memory_format=torch.channels_last)), field)
    assert torch.equal(vote.label_field(images.to(torch.float32) / 255), field)


def test_a_crop_as_large_as_the_window_is_the_plain_model():
    images, model = scenes(4, 6, 7), Corner().eval()
    vote = SlidingVote(model, (6, 7)).eval()
    assert torch.equal(vote.label_field(images)[:, 0, 0], predict(model, images))
    assert vote.certify(images, 0).certified.all()
    assert not vote.certify(images, 1).certified.any()


def test_global_generators_are_not_touched():
    before = torch.get_rng_state()
    SlidingVote(Corner().eval(), 4).eval().certify(scenes(1, 6, 6), 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda v, x: v.label_field(x[..., :3, :]), "does not fit"),
        (lambda v, x: v.label_field(x[0]), "must be a batch"),
        (lambda v, x: v.label_field(x.float()), "must lie in"),
        (lambda v, x: v.certify(x, -1), "radius must be at least 0"),
        (lambda v, x: SlidingVote(v.model, 4, stride=2).eval().certify(x, 1), "use stride=1"),
        (lambda v, x: SlidingVote(v.model, 4, stride=0), "stride must be at least 1"),
        (lambda v, x: SlidingVote(v.model, 4, batch_size=0), "batch_size must be at least 1"),
        (lambda v, x: SlidingVote(v.model, 0), "crop"),
        (lambda v, x: SlidingVote(v.model, 4, size=(3, 0)), "size"),
        (lambda v, x: SlidingVote(nn.Flatten().train(), 4).label_field(x), "training mode"),
        (lambda v, x: SlidingVote(Broken().eval(), 4).eval().label_field(x), "NaN"),
        (lambda v, x: certify_votes(torch.zeros(1, 2, 2, dtype=torch.int64), 1, 0), "classes"),
        (lambda v, x: certify_votes(torch.zeros(1, 2, 2, dtype=torch.int64), 2, -1), "radius"),
        (lambda v, x: certify_votes(torch.full((1, 2, 2), 2), 2, 0), r"labels span \[2, 2\]"),
        (lambda v, x: count_votes(torch.full((1, 2, 2), -1), 2), "labels span"),
        (lambda v, x: count_votes(torch.zeros(0, 2, 2, dtype=torch.int64), 2), "fields must be"),
        (lambda v, x: count_votes(torch.zeros(1, 2, 2, dtype=torch.int32), 2), "fields must be"),
    ],
)
def test_what_cannot_work_is_refused(call, says):
    with pytest.raises(InputError, match=says):
        call(SlidingVote(Corner().eval(), 4).eval(), scenes(2, 8, 8))


class Broken(nn.Module):
    def forward(self, images):
        return torch.full((len(images), 2), torch.nan)


def test_a_vote_starts_in_the_mode_of_its_model_and_shows_its_sizes():
    assert not SlidingVote(Corner().eval(), 4).training
    assert SlidingVote(Corner().train(), 4).training
    assert "crop=(4, 5), stride=2" in repr(SlidingVote(Corner().eval(), (4, 5), stride=2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_counts_the_same():
    fields = random_fields(50, 7, 9, 5, 2, 0.7)
    here, there = certify_votes(fields, 5, 1), certify_votes(fields.cuda(), 5, 1)
    for name in ("labels", "certified", "margins", "radii"):
        assert torch.equal(getattr(here, name), getattr(there, name).cpu())
    images = scenes(3, 9, 9)
    vote = SlidingVote(Corner().eval(), 4).eval()
    assert torch.equal(vote.label_field(images.cuda()).cpu(), vote.label_field(images))
