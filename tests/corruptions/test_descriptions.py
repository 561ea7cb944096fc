"""What a checkpoint knows a judged cell by: all source files that make corrupted images."""

import inspect
from copy import deepcopy
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest
import torch
from torch import nn

import robustkit
from robustkit.corruptions.benchmark.descriptions import (
    describe_code,
    describe_options,
    makers,
)
from robustkit.corruptions.registry import ALL
from robustkit.digests import describe_model


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the sources of robustkit."""
    source, copy = Path(robustkit.__file__).parent, tmp_path_factory.mktemp("source") / "robustkit"
    return copytree(source, copy, ignore=ignore_patterns("__pycache__", ".mypy_cache"))


def test_the_code_of_a_corruption_is_all_that_it_is_made_by(package):
    found = {file.relative_to(package).as_posix() for file in makers(package)}
    home = Path(robustkit.__file__).parent
    for corruption in ALL.values():
        source = Path(inspect.getsourcefile(inspect.unwrap(corruption.function)))
        assert source.relative_to(home).as_posix() in found
    # What functions use in turn, and what numbers and parameters come from.
    below = {f"corruptions/{name}.py" for name in ("crystals", "edges", "jpeg_tensor", "smoothing")}
    assert below <= found
    assert {"corruptions/draws.py", "corruptions/severities.py", "rng.py"} <= found
    assert not any("benchmark" in file for file in found)
    assert not {"records.py", "corruptions/__init__.py"} & found


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("corruptions/fog.py", True),
        ("corruptions/edges.py", True),
        ("corruptions/c_bar/severities.py", True),
        ("corruptions/levels.py", True),
        ("rng.py", True),
        ("corruptions/benchmark/metrics.py", False),
        ("augment/prime.py", False),
    ],
)
def test_a_changed_maker_changes_the_digest_of_the_code(package, file, counts):
    before, text = describe_code(package), (package / file).read_text()
    (package / file).write_text(text + "# Changed.\n")
    assert (describe_code(package) != before) == counts
    (package / file).write_text(text)
    assert describe_code(package) == before == describe_code()


def test_a_folder_is_known_by_its_files(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "frost1.png").write_bytes(b"ice")
    known = describe_options({"frost_folder": first, "mode": "swap"})
    assert known == describe_options({"frost_folder": str(second), "mode": "swap"})
    (second / "frost1.png").rename(second / "frost2.png")
    assert describe_options({"frost_folder": second}) != describe_options({"frost_folder": first})
    assert describe_options({"frost_folder": None}) == {"frost_folder": "None"}


def test_a_model_is_known_by_its_layers_and_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2))
    known = describe_model(model)
    assert describe_model(deepcopy(model)) == known
    assert describe_model(nn.Sequential(nn.Linear(3, 2))) != known
    assert describe_model(model[0]) != known
