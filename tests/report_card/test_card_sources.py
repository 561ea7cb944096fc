"""Models and images by text: own files, published weights, folders, and what is refused."""

import sys

import pytest
import torch
from PIL import Image
from torch import nn

from robustkit import inputs
from robustkit.errors import DataError, InputError, UnknownNameError
from robustkit.report_card.sources import Source, load_images, load_model, seen_by

FACTORY = """\
import torch

import beside

network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
number = 3


def factory():
    torch.manual_seed(7)
    made = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, beside.CLASSES))
    return made.train()


def broken():
    raise RuntimeError("no weights")


def numbers():
    return [1, 2]


def command_line():
    import argparse

    argparse.ArgumentParser().parse_args(["--nonsense"])
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("CLASSES = 4\n")
    path = tmp_path / "torch.py"
    path.write_text(FACTORY)
    return path


def test_a_file_of_ones_own(file):
    before, folders = torch.get_rng_state(), list(sys.path)
    source = load_model(f"{file}:factory")
    assert source.name == "torch.py:factory"
    assert source.size is None
    assert not any(module.training for module in source.model.modules())
    assert not any(parameter.requires_grad for parameter in source.model.parameters())
    assert source.model(torch.zeros(5, 3, 2, 2)).shape == (5, 4)
    # Neither random numbers nor imports of the caller are touched by the file.
    assert torch.equal(torch.get_rng_state(), before)
    assert sys.path == folders
    assert sys.modules["torch"] is torch
    assert "beside" not in sys.modules
    assert inputs.noted()["model/torch.py"] == [file.resolve()]


@pytest.mark.parametrize("package", [False, True])
def test_two_files_of_one_name_have_their_own_modules_beside_them(tmp_path, package):
    for place, classes in (("old", 4), ("new", 5)):
        (tmp_path / place / "parts").mkdir(parents=True)
        beside = "parts/beside.py" if package else "beside.py"
        (tmp_path / place / beside).write_text(f"CLASSES = {classes}\n")
        text = FACTORY.replace("import beside", "from parts import beside") if package else FACTORY
        (tmp_path / place / "mine.py").write_text(text)
    found = [load_model(f"{tmp_path / place / 'mine.py'}:factory") for place in ("old", "new")]
    assert [one.model(torch.zeros(1, 3, 2, 2)).shape[1] for one in found] == [4, 5]


def test_a_module_will_do_as_well(file):
    source = load_model(f"{file}:network")
    assert isinstance(source.model, nn.Sequential)
    assert not source.model.training


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("factry", "unknown name in torch.py 'factry'. Did you mean 'factory'"),
        ("broken", r"broken\(\) in torch.py raised RuntimeError: no weights"),
        ("command_line", r"command_line\(\) in torch.py raised SystemExit"),
        ("numbers", r"numbers\(\) in torch.py returned list, not a torch.nn.Module"),
        ("number", "number in torch.py is neither a module nor a function"),
    ],
)
def test_a_name_that_makes_no_model_is_refused(file, name, message):
    with pytest.raises(InputError, match=message):
        load_model(f"{file}:{name}")


def test_a_file_that_fails_is_named(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import not_there_at_all\n")
    with pytest.raises(InputError, match=r"mine\.py raised ModuleNotFoundError"):
        load_model(f"{path}:factory")
    path.write_text("raise SystemExit('no arguments')\n")
    with pytest.raises(InputError, match=r"mine\.py raised SystemExit: no arguments"):
        load_model(f"{path}:factory")
    with pytest.raises(InputError, match="there is no file"):
        load_model(f"{tmp_path / 'absent.py'}:factory")


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_here_is_refused(file, device):
    for text in (f"{file}:factory", "robustkit:cifar10_resnet20"):
        with pytest.raises(InputError, match="cannot be used here"):
            load_model(text, device=device)


def test_what_models_see_together():
    net = nn.Identity()
    open_one, small, large = Source("a", net, None), Source("b", net, (8, 8), 3), (224, 200)
    assert seen_by([]) == (None, None)
    assert seen_by([open_one]) == (None, None)
    assert seen_by([open_one], 5) == ((5, 5), None)
    assert seen_by([open_one, small]) == ((8, 8), 3)
    assert seen_by([small, Source("c", net, large)], 9) == ((9, 9), 3)
    with pytest.raises(InputError, match="images of different sizes"):
        seen_by([small, Source("c", net, large)])
    with pytest.raises(InputError, match="images of different channels"):
        seen_by([small, Source("c", net, None, 1)])


@pytest.mark.parametrize("text", ["resnet18", "robustkit:", "timm:", "torchvision:", "", "a:b"])
def test_a_text_that_names_no_model_is_refused(text):
    with pytest.raises(UnknownNameError, match="unknown model"):
        load_model(text)


def test_a_near_match_is_offered():
    with pytest.raises(UnknownNameError, match="Did you mean 'robustkit:cifar10_resnet20'"):
        load_model("robustkit:cifar10_resnet_20")


def test_published_weights(real_data):
    source = load_model("robustkit:cifar10_resnet20")
    assert source.size == (32, 32)
    assert source.channels == 3
    assert source.name == load_model("cifar10_resnet20").name == "cifar10_resnet20"


@pytest.fixture
def folder(tmp_path):
    for name, size in (("cat", (40, 30)), ("dog", (30, 50))):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for place in range(3):
            Image.new("RGB", size, (10 * place, 0, 0)).save(
                tmp_path / "pets" / name / f"{place}.png"
            )
    return tmp_path / "pets"


def test_a_folder_has_an_eighth_more_than_the_network_sees(folder):
    found = load_images(str(folder), size=(14, 14))
    assert found.name == "imagefolder:pets"
    assert found.images.shape == (6, 3, 16, 16)
    assert found.classes == ("cat", "dog")
    assert len(load_images(f"imagefolder:{folder}", size=(14, 14), limit=2)) == 2
    assert found.read.startswith("They were read at 16 x 16")


def test_a_folder_of_several_sizes_needs_one(folder):
    with pytest.raises(InputError, match="pass size"):
        load_images(str(folder))


def test_a_known_dataset_is_read_as_it_is():
    assert load_images("digits", size=(4, 4)).images.shape[2:] == (8, 8)
    assert len(load_images("digits", limit=5)) == 5


def test_a_name_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'digits'"):
        load_images("digit")
    with pytest.raises(DataError, match="neither one folder a class"):
        load_images(str(tmp_path), size=(8, 8))
