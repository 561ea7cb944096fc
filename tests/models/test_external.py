"""torchvision and timm models meet the same contract, with no network."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from robustkit import inputs
from robustkit.errors import DataError, InputError
from robustkit.files import sha256
from robustkit.models import from_timm, from_torchvision, load
from robustkit.models.external import load_timm

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WEIGHTS = models.ShuffleNet_V2_X0_5_Weights
NAME = "shufflenet_v2_x0_5"


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without weights, and no way to fetch any."""
    monkeypatch.setenv("ROBUSTKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ROBUSTKIT_OFFLINE", "1")
    return tmp_path / "home"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, Path]:
    """A network whose weights torchvision finds at a file address, and where they belong."""
    network = models.get_model(NAME, weights=None).eval()
    plain = tmp_path / "plain.pth"
    torch.save(network.state_dict(), plain)
    path = plain.rename(tmp_path / f"{NAME}-{sha256(plain)[:8]}.pth")
    monkeypatch.setattr(WEIGHTS.DEFAULT.value, "url", path.as_uri())
    return network, path


def by_hand(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    return network((images - mean) / std)


def test_a_torchvision_model_is_normalised_as_its_weights_say() -> None:
    network = models.get_model(NAME, weights=None).eval()
    images = torch.rand(2, 3, 64, 64)
    wrapped = from_torchvision(network, WEIGHTS.DEFAULT)
    torch.testing.assert_close(wrapped(images), by_hand(network, images))


def test_torchvision_weights_are_fetched_once_and_checked(
    published: tuple[nn.Module, Path], empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, source = published
    monkeypatch.delenv("ROBUSTKIT_OFFLINE")
    folder, generator = torch.hub.get_dir(), torch.random.get_rng_state()
    model = load(f"torchvision:{NAME}")
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), by_hand(network, images))
    assert not any(module.training for module in model.modules())
    assert torch.hub.get_dir() == folder
    assert torch.equal(torch.random.get_rng_state(), generator)
    kept = empty_home / "torch" / "checkpoints" / source.name
    assert kept in inputs.noted()[f"weights/torchvision:{NAME}"]
    source.unlink()
    torch.testing.assert_close(load(f"torchvision:{NAME}")(images), model(images))


def test_damaged_torchvision_weights_are_refused(
    published: tuple[nn.Module, Path], empty_home: Path
) -> None:
    kept = empty_home / "torch" / "checkpoints" / published[1].name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(published[1].read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{kept.name} is damaged"):
        load(f"torchvision:{NAME}")


def test_weights_that_would_run_code_are_refused_before_they_do(
    empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    plain = tmp_path / "plain.pth"
    torch.save({"weight": Code()}, plain)
    kept = empty_home / "torch" / "checkpoints" / f"{NAME}-{sha256(plain)[:8]}.pth"
    kept.parent.mkdir(parents=True)
    plain.rename(kept)
    monkeypatch.setattr(WEIGHTS.DEFAULT.value, "url", kept.as_uri())
    with pytest.raises(DataError, match="does not hold tensors alone"):
        load(f"torchvision:{NAME}")
    assert not (tmp_path / "ran").exists()


def test_a_download_with_other_bytes_leaves_nothing_behind(
    published: tuple[nn.Module, Path], empty_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ROBUSTKIT_OFFLINE")
    published[1].write_bytes(b"other bytes")
    with pytest.raises(DataError, match="could not be fetched"):
        load(f"torchvision:{NAME}")
    assert [path for path in empty_home.rglob("*") if path.is_file()] == []


def test_offline_says_what_to_place_where(empty_home: Path) -> None:
    with pytest.raises(DataError, match="ROBUSTKIT_OFFLINE is set") as raised:
        load(f"torchvision:{NAME}")
    assert WEIGHTS.DEFAULT.url in str(raised.value)
    assert str(empty_home / "torch" / "checkpoints") in str(raised.value)


def test_an_unknown_torchvision_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'resnet50'"):
        load("torchvision:resnet_50")


def test_weights_without_statistics_are_refused() -> None:
    with pytest.raises(InputError, match="states no mean and std"):
        from_torchvision(nn.Flatten(), "IMAGENET1K_V1")


def test_a_model_without_a_timm_configuration_is_refused() -> None:
    with pytest.raises(InputError, match="not a timm model"):
        from_timm(nn.Flatten())


def test_timm_absent_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'robustkit\[zoo\]'"):
        load("timm:resnet18")


class TestTimm:
    """With timm installed."""

    @pytest.fixture(autouse=True)
    def _timm(self) -> None:
        pytest.importorskip("timm")

    def test_a_model_is_normalised_as_its_configuration_says(self) -> None:
        import timm

        network = timm.create_model("test_resnet.r160_in1k").eval()
        mean, std = (torch.tensor(network.pretrained_cfg[key]) for key in ("mean", "std"))
        images = torch.rand(2, 3, 64, 64)
        expected = network((images - mean[:, None, None]) / std[:, None, None])
        torch.testing.assert_close(from_timm(network)(images), expected)

    def test_pretrained_weights_are_read_from_the_cache_of_the_hub(
        self, empty_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import timm

        network = timm.create_model("test_resnet.r160_in1k").eval()
        snapshot = empty_home / "timm" / "models--timm--test_resnet.r160_in1k" / "snapshots" / "0"
        snapshot.mkdir(parents=True)
        (snapshot.parents[1] / "refs").mkdir()
        (snapshot.parents[1] / "refs" / "main").write_text("0")
        save_file(network.state_dict(), empty_home / "plain.safetensors")
        blobs = snapshot.parents[1] / "blobs"
        blobs.mkdir()
        blob = blobs / sha256(empty_home / "plain.safetensors")
        (empty_home / "plain.safetensors").rename(blob)
        (snapshot / "model.safetensors").symlink_to(blob)
        images = torch.rand(2, 3, 64, 64)
        model = load("timm:test_resnet.r160_in1k")
        torch.testing.assert_close(model(images), from_timm(network)(images))
        noted = inputs.noted()["weights/timm:test_resnet.r160_in1k"]
        assert snapshot / "model.safetensors" in noted
        blob.write_bytes(blob.read_bytes()[:-1])
        with pytest.raises(DataError, match="is damaged"):
            load("timm:test_resnet.r160_in1k")

    def test_offline_says_what_is_missing(self) -> None:
        with pytest.raises(DataError, match="timm weights of resnet18"):
            load_timm("resnet18")

    def test_unknown_names_are_answered_with_the_nearest(self) -> None:
        with pytest.raises(InputError, match="unknown timm model 'resnet19'"):
            load("timm:resnet19")
        with pytest.raises(InputError, match=r"unknown pretrained timm model 'resnet18\.none'"):
            load("timm:resnet18.none")

    def test_an_architecture_without_weights_is_refused(self) -> None:
        with pytest.raises(DataError, match="publishes no weights of botnet50ts_256"):
            load("timm:botnet50ts_256")
