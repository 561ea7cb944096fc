"""One of several processes that train together; called with a file of arguments."""

import json
import sys
from pathlib import Path

import torch
from training_toys import bars, network, plain_network

from robustkit.training import Adversarial, train
from robustkit.training.distributed import Accelerated


def main() -> None:
    """Train as the file says, and write what this process has in the end beside it."""
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    given = json.loads(place.read_text())
    if given.pop("adversarial", False):
        given["adversarial"] = Adversarial(norm=2, radius=0.3, steps=2)
    if "checkpoint" in given:
        given["checkpoint"] = Path(given["checkpoint"])
    model = {"plain": plain_network, "network": network}[given.pop("network", "plain")]()
    processes = Accelerated(cpu=True, synchronize=given.pop("synchronize", True))
    result = train(model, bars(), **given, processes=processes)
    content = {"state": model.state_dict(), "losses": result.losses, "hits": result.accuracies}
    torch.save(content, place.with_suffix(f".{sys.argv[2]}.pt"))


if __name__ == "__main__":
    main()
