"""Training in two processes is training in one, up to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_toys import Halve, bars, network, plain_network, same

import robustkit
from robustkit.checks import check_model
from robustkit.errors import InputError
from robustkit.training import train

pytest.importorskip("accelerate", reason="Accelerate is not installed: robustkit[scale]")
from robustkit.training.distributed import Accelerated
from robustkit.training.processes import Processes

# Batches of 21 images leave shares of 11 and 10, and a last batch of 12.
RECIPE = {"epochs": 3, "learning_rate": 0.05, "batch_size": 21, "augment": True, "seed": 3}
HARD = RECIPE | {"clip": 0.5, "label_smoothing": 0.1, "nesterov": True, "schedule": "triangular"}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Accelerate find one process, whatever it found in an earlier test."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def in_two_processes(place: Path, recipe: dict[str, object]) -> list[dict[str, object]]:
    """Train in two processes that talk over the loopback; return what each has in the end."""
    place.write_text(json.dumps(recipe))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    worker = Path(__file__).with_name("distributed_worker.py")
    paths = [str(worker.parent), str(Path(robustkit.__file__).parents[1])]
    shared = {
        **{"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        **{"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "lo"},
        "PYTHONPATH": os.pathsep.join(paths),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(worker), str(place), str(rank)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return [torch.load(place.with_suffix(f".{rank}.pt")) for rank in range(2)]


def close(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two states agree up to the rounding of sums."""
    return all(torch.allclose(first[k], second[k], rtol=1e-4, atol=1e-6) for k in first)


@pytest.mark.parametrize("adversarial", [False, True])
def test_two_processes_train_as_one(tmp_path: Path, alone: None, adversarial: bool) -> None:
    from robustkit.training import Adversarial

    attack = Adversarial(norm=2, radius=0.3, steps=2) if adversarial else None
    one, start = plain_network(), plain_network()
    expected = train(one, bars(), **HARD, adversarial=attack)
    made = in_two_processes(tmp_path / "recipe.json", {**HARD, "adversarial": adversarial})
    for process in made:
        assert close(process["state"], one.state_dict())
        assert not close(process["state"], start.state_dict())
        assert process["losses"] == pytest.approx(expected.losses, rel=1e-5)
        assert process["hits"] == expected.accuracies
    assert all(torch.equal(made[0]["state"][k], made[1]["state"][k]) for k in made[0]["state"])


class Cut(Exception):
    """Stands for a killed process."""


def test_a_checkpoint_goes_on_in_any_number_of_processes(tmp_path: Path, alone: None) -> None:
    def cut(model: object, epoch: int) -> None:
        if epoch == 1:
            raise Cut

    path, whole, first, last = tmp_path / "c.pt", plain_network(), plain_network(), plain_network()
    expected = train(whole, bars(), **RECIPE)
    with pytest.raises(Cut):
        train(first, bars(), **RECIPE, checkpoint=path, on_epoch=cut)
    begun = path.read_bytes()
    made = in_two_processes(tmp_path / "recipe.json", {**RECIPE, "checkpoint": str(path)})
    assert close(made[1]["state"], whole.state_dict())
    assert made[1]["losses"][0] == expected.losses[0]
    assert made[1]["losses"] == pytest.approx(expected.losses, rel=1e-5)
    assert path.read_bytes() != begun
    # What two processes have finished, one finds finished.
    result = train(last, bars(), **RECIPE, checkpoint=path)
    assert result.losses == made[0]["losses"]
    assert all(torch.equal(made[0]["state"][k], value) for k, value in last.state_dict().items())


def test_one_process_gives_the_weights_of_train_bit_for_bit(alone: None) -> None:
    one, other = network(), network()
    options = {**HARD, "transform": Halve(), "consistency": 2.0}
    expected = train(one, bars(), **options)
    result = train(other, bars(), **options, processes=Accelerated(cpu=True))
    assert same(one, other)
    assert result.losses == expected.losses
    assert result.accuracies == expected.accuracies
    assert result.images_per_second == pytest.approx(3 * 96 / result.seconds)
    check_model(other)


def test_processes_agree_on_statistics_that_are_not_synchronised(
    tmp_path: Path, alone: None
) -> None:
    recipe = {**RECIPE, "average": 0.9, "network": "network", "synchronize": False}
    made = in_two_processes(tmp_path / "recipe.json", recipe)
    assert any("running_var" in name for name in made[0]["state"])
    assert all(torch.equal(made[0]["state"][k], made[1]["state"][k]) for k in made[0]["state"])


def test_statistics_are_not_synchronised_between_processors(tmp_path: Path, alone: None) -> None:
    with pytest.raises(AssertionError, match="synchronised between GPUs only"):
        in_two_processes(tmp_path / "recipe.json", {**RECIPE, "network": "network"})


def test_a_batch_has_an_image_for_every_process() -> None:
    class Three(Processes):
        count = 3

    with pytest.raises(InputError, match="a batch of 2 images has none for some of 3"):
        train(plain_network(), bars(), **(RECIPE | {"batch_size": 2}), processes=Three())


def test_without_accelerate_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(InputError, match=r"pip install 'robustkit\[scale\]'"):
        Accelerated(cpu=True)
