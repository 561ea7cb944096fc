"""Pieces in one process: blocks, what is kept, what is refused."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from robustkit import attacks, inputs, piece_folders, provenance, rng
from robustkit.corruptions.benchmark.table import CorruptionTable
from robustkit.errors import InputError, RunError
from robustkit.margins import Whole, margins
from robustkit.pieces import Pieces


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a run keeps its pieces; this process is in such a run."""
    place = tmp_path / "prekey" / "pieces"
    monkeypatch.setenv(piece_folders.FOLDER, str(place))
    return place


@pytest.fixture
def collecting(monkeypatch):
    """Let what comes after collect the pieces of a number of shards."""
    return lambda shards: monkeypatch.setenv(piece_folders.COLLECTED, str(shards))


class Doubled:
    """A function of images that remembers the batches it was given."""

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(images[:, 0].int().tolist())
        return {"twice": 2 * images, "sum": images.sum(1)}


def numbered(rows):
    return torch.stack([rows, rows + 0.5], dim=1).double()


def same(first, second):
    """Whether two results are equal bit for bit."""
    one, other = (vars(r) if dataclasses.is_dataclass(r) else r for r in (first, second))
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name])
        if isinstance(one[name], torch.Tensor)
        else one[name] == other[name]
        for name in one
    )


def test_blocks_are_dealt_out_in_turn():
    rows = [Pieces(shard, 3, block=2).rows(11).tolist() for shard in range(3)]
    assert rows == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10]]
    assert Pieces(block=2).rows(11).tolist() == list(range(11))


def test_a_block_is_one_batch_wherever_it_is_computed():
    batches = {}
    for shards in (1, 2, 3):
        for shard in range(shards):
            work, function = Pieces(shard, shards, block=4), Doubled()
            rows = work.rows(18)
            rows = rows[rows % 3 != 1]
            made = work.by_image("double", function, numbered(rows), rows=rows)
            assert torch.equal(made["twice"], 2 * numbered(rows))
            batches[shards] = sorted([*batches.get(shards, []), *function.batches])
    assert batches[1] == [[0, 2, 3], [5, 6], [8, 9, 11], [12, 14, 15], [17]]
    assert batches[1] == batches[2] == batches[3]


def test_what_is_finished_is_not_computed_again(folder):
    def failing(images):
        if images[0, 0] == 8:
            raise RuntimeError("the power went off")
        return first(images)

    first, second, rows = Doubled(), Doubled(), Pieces(block=4).rows(11)
    with pytest.raises(RuntimeError, match="power"):
        Pieces(block=4).by_image("double", failing, numbered(rows), rows=rows)
    work = Pieces(block=4)
    made = work.by_image("double", second, numbered(rows), rows=rows)
    assert (first.batches, second.batches) == ([[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10]])
    assert same(made, {"twice": 2 * numbered(rows), "sum": numbered(rows).sum(1)})
    assert work.seconds("double") > 0
    assert len(list((folder / "0-of-1").iterdir())) == 3
    piece_folders.clear(folder, 0, 1)
    assert not folder.exists()


def network():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double().eval()
    return model.requires_grad_(False)


def test_results_of_robustkit_come_back_as_they_were(folder, collecting):
    model, spaces = network(), [Whole((3, 2, 2))] * 2

    def table(keys):
        hits = torch.stack([keys % 2 == 0, keys % 3 == 0])
        return CorruptionTable((("fog", 1), ("snow", 2)), hits, keys % 5 == 0)

    def results(work, images, rows):
        functions = {
            "deepfool": lambda x: attacks.deepfool(model, x, bounds=None),
            "margins": lambda x: margins(model, x, spaces, perturbations=True),
        }
        found = {
            name: work.by_image(name, function, images, rows=rows, of=model)
            for name, function in functions.items()
        }
        return found | {"table": work.by_image("table", table, rows, rows=rows)}

    for shard in range(2):
        work = Pieces(shard, 2, block=3)
        rows = work.rows(10)
        results(work, rng.uniform(0, "images", rows, (3, 2, 2), torch.float64), rows)
    collecting(2)
    rows = torch.arange(10)
    images = rng.uniform(0, "images", rows, (3, 2, 2), torch.float64)
    collected = results(Pieces(block=3), images, rows)
    whole = attacks.deepfool(model, images, bounds=None)
    assert type(collected["deepfool"]) is type(whole)
    assert torch.equal(collected["deepfool"].images, images)
    assert torch.allclose(collected["deepfool"].adversarial, whole.adversarial, atol=1e-12)
    assert collected["deepfool"].backward_calls > whole.backward_calls
    apart = margins(model, images, spaces, perturbations=True)
    assert collected["margins"].subspaces == apart.subspaces
    assert torch.allclose(collected["margins"].distances, apart.distances, atol=1e-12)
    assert collected["margins"].perturbations.shape == (2, 10, 3, 2, 2)
    assert same(collected["table"], table(rows))


def test_a_piece_counts_what_it_had_read(folder, tmp_path, monkeypatch, collecting):
    file = tmp_path / "data.bin"
    file.write_bytes(b"first")

    def reading(images):
        inputs.note("data", [file])
        return images

    def made(shard=0, shards=1):
        work = Pieces(shard, shards, block=4)
        rows = work.rows(8)
        return work.by_image("read", reading, numbered(rows), rows=rows)

    for shard in range(2):
        made(shard, 2)
    monkeypatch.setattr(inputs, "_noted", {})
    collecting(2)
    made()
    assert inputs.noted()["data"] == [file]
    file.write_bytes(b"second")
    with pytest.raises(RunError, match=r"'read' of shard 0 of 2 .*another data\. Run shard 0 of 2"):
        made()
    collecting(0)
    made(0, 2)
    collecting(2)
    with pytest.raises(RunError, match="of shard 1 of 2"):
        made()


def test_pieces_of_something_else_are_not_used(folder, collecting, monkeypatch):
    def made(work, of, images=None):
        function, rows = Doubled(), work.rows(8)
        images = numbered(rows) if images is None else images
        work.by_image("double", function, images, rows=rows, of=of)
        return len(function.batches)

    model = network()
    of = {"model": model, "radius": 0.5}
    assert [made(Pieces(block=4), of) for _ in range(2)] == [2, 0]
    assert made(Pieces(block=4), {"model": model, "radius": 0.25}) == 2
    with torch.no_grad():
        model[1].bias[0] += 1
    assert made(Pieces(block=4), {"model": model, "radius": 0.25}) == 2
    changed = numbered(torch.arange(8))
    changed[6] = 0
    assert made(Pieces(block=4), {"model": model, "radius": 0.25}, changed) == 1
    made(Pieces(0, 2, block=4), of)
    collecting(2)
    with pytest.raises(RunError, match=r"of shard 0 of 2 .*made with another model"):
        made(Pieces(block=4), {"model": model, "radius": 0.25})
    with pytest.raises(RunError, match=r"of shard 1 of 2 .*it is not there"):
        made(Pieces(block=4), of)
    # A piece that was copied to the place of another.
    place = next((folder / "0-of-2").iterdir())
    (folder / "1-of-2").mkdir()
    shutil.copy(place, folder / "1-of-2" / place.name.replace("00000", "00001"))
    with pytest.raises(RunError, match=r"of shard 1 of 2 .*made with another images"):
        made(Pieces(block=4), of)
    # Pieces that were copied from a run with other parameters.
    shutil.copytree(folder, folder.parents[1] / "another" / "pieces")
    monkeypatch.setenv(piece_folders.FOLDER, str(folder.parents[1] / "another" / "pieces"))
    with pytest.raises(RunError, match=r"of shard 0 of 2 .*made with another run"):
        made(Pieces(block=4), of)


def test_a_damaged_piece_is_made_again_and_not_collected(folder, collecting):
    rows = Pieces(block=4).rows(8)

    def made(shard=0, shards=1):
        work, function = Pieces(shard, shards, block=4), Doubled()
        own = work.rows(8)
        work.by_image("double", function, numbered(own), rows=own)
        return function.batches

    made(0, 2)
    made(1, 2)
    place = next((folder / "1-of-2").iterdir())
    whole = place.read_bytes()
    collecting(2)
    for damage in (whole[: len(whole) // 2], b"", whole[:8] + b"x" + whole[9:]):
        place.write_bytes(damage)
        with pytest.raises(RunError, match=r"of shard 1 of 2 .*is damaged"):
            made()
        collecting(0)
        assert made(1, 2) == [rows[4:].tolist()]
        collecting(2)
        assert made() == []


def test_what_shards_share_is_made_once(folder, collecting):
    calls = []

    def train(place: Path):
        calls.append(place)
        assert not place.exists()
        place.write_text("a checkpoint")
        return {"weight": torch.ones(3), "seconds": torch.tensor(2.5, dtype=torch.float64)}

    made = [Pieces(shard, 2).once("net/a", train, of=0.1) for shard in (1, 0)]
    collecting(2)
    made.append(Pieces().once("net/a", train, of=0.1))
    assert len(calls) == 1
    assert not calls[0].exists()
    assert same(made[0], made[1])
    assert same(made[0], made[2])
    with pytest.raises(RunError, match=r"'net/a' of the shards .*another model"):
        Pieces().once("net/a", train, of=0.2)


def test_what_is_edited_during_a_run_is_made_again_by_the_next(folder, tmp_path):
    source = tmp_path / "weights.txt"
    source.write_text("old")
    inputs.note("weights", [source])
    work, old = Pieces(block=2), Doubled()
    rows = work.rows(4)

    def edited(images):
        source.write_text("new")
        return old(images)

    work.by_image("double", edited, numbered(rows), rows=rows)
    again, new = Pieces(block=2), Doubled()
    again.by_image("double", new, numbered(rows), rows=rows)
    assert new.batches == old.batches == [[0, 1], [2, 3]]


def test_pieces_of_another_version_of_a_package_are_made_again(folder, monkeypatch):
    rows, made = Pieces().rows(3), []
    for version in ("1.0+cpu", "1.0", "2.0"):
        monkeypatch.setattr(provenance, "packages", lambda version=version: {"torch": version})
        function = Doubled()
        Pieces().by_image("double", function, numbered(rows), rows=rows)
        made.append(len(function.batches))
    assert made == [1, 0, 1]


def test_networks_that_print_differently_have_pieces_of_their_own(folder):
    rows, made = Pieces().rows(3), []
    for slope in (0.1, 0.2):
        function = Doubled()
        of = nn.LeakyReLU(slope)
        Pieces().by_image("double", function, numbered(rows), rows=rows, of=of)
        made.append(len(function.batches))
    assert made == [1, 1]


def test_what_shards_share_stays_while_another_shard_is_at_work(folder):
    piece_folders.begin(folder, 0, 2)
    (folder / piece_folders.ONCE).mkdir()
    piece_folders.clear(folder, 1, 2)
    assert (folder / piece_folders.ONCE).exists()
    piece_folders.clear(folder, 0, 2)
    assert not folder.exists()


def test_nothing_is_kept_outside_a_run(tmp_path, monkeypatch):
    monkeypatch.delenv(piece_folders.FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    work, function = Pieces(block=4), Doubled()
    rows = work.rows(6)
    work.by_image("double", function, numbered(rows), rows=rows)
    assert work.once("training", lambda place: torch.tensor([place is None])).item()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda work, rows: Pieces(2, 2), r"shard must lie in \[0, 2\), got 2"),
        (lambda work, rows: Pieces(0, 0), "shards must be at least 1"),
        (lambda work, rows: Pieces(block=0), "block must be at least 1"),
        (lambda work, rows: Pieces(0, 3, block=4).rows(8), "too few for 3 shards; take shards=2"),
        (lambda work, rows: work.rows(0), "count must be at least 1"),
        (lambda work, rows: work.seconds("no"), "nothing was made under the name 'no'"),
        (
            lambda work, rows: [
                work.by_image("two", Doubled(), numbered(rows), rows=rows) for _ in range(2)
            ],
            "there is a piece 'two' already",
        ),
        (
            lambda work, rows: work.by_image("x", Doubled(), numbered(rows), rows=rows.flip(0)),
            "ascending positions of this shard",
        ),
        (
            lambda work, rows: work.by_image("x", Doubled(), numbered(rows), rows=rows + 4),
            "ascending positions of this shard",
        ),
        (
            lambda work, rows: work.by_image("x", Doubled(), numbered(rows)[:2], rows=rows),
            "4 rows need tensors of as many images",
        ),
        (lambda work, rows: work.by_image("x", Doubled(), rows=rows), "need tensors"),
        (
            lambda work, rows: work.by_image("x", Doubled(), rows, rows=rows.double()),
            "rows must be int64",
        ),
        (
            lambda work, rows: work.by_image("x", Doubled(), rows[:0], rows=rows[:0]),
            "at least one image",
        ),
        (
            lambda work, rows: work.by_image("x", lambda x: x[:1], rows, rows=rows),
            "one row for each of 4 images",
        ),
        (
            lambda work, rows: work.by_image("x", lambda x: x.tolist(), rows, rows=rows),
            "list cannot be kept",
        ),
        (
            lambda work, rows: work.by_image("x", lambda x: {"a": 1}, rows, rows=rows),
            "must hold tensors under names",
        ),
        (
            lambda work, rows: work.by_image("x", lambda x: x, rows, rows=rows, of=[1]),
            "cannot be made of list",
        ),
    ],
)
def test_bad_input_is_refused(use, message):
    work = Pieces(0, 2, block=4)
    with pytest.raises(InputError, match=message):
        use(work, work.rows(8))


def test_what_differs_between_blocks_and_is_not_of_images_is_refused():
    def cells(keys):
        return CorruptionTable((("fog", int(keys[0])),), keys[None] >= 0)

    work = Pieces(block=4)
    rows = work.rows(8)
    with pytest.raises(InputError, match="cells differs between parts of the batch"):
        work.by_image("cells", cells, rows, rows=rows)


def test_a_kept_mapping_has_its_names_in_order(folder):
    rows = Pieces(block=4).rows(8)

    def many(images):
        return dict.fromkeys(("standard", "augmix", "prime"), images)

    made, kept = (
        Pieces(block=4).by_image("many", many, numbered(rows), rows=rows) for _ in range(2)
    )
    assert list(made) == list(kept) == ["standard", "augmix", "prime"]
