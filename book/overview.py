"""Draw the picture of the README and of the landing page from the committed laptop record.

Run `python book/overview.py` after that record changes; it writes `book/_static/overview.svg` and
its dark twin.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from robustkit import plots, records

NAMES = {
    "standard": "ResNet-20, standard training",
    "deeper": "ResNet-56, standard training",
    "adversarial": "ResNet-20, adversarially trained",
}


def draw(record: Mapping[str, Any]) -> Figure:
    """Draw the curves of the record."""
    plots.setup()
    points = records.frame(record, "curves")
    points = points[points["norm"] == "2"]
    figure, axes = plt.subplots(figsize=(7.2, 3.6))
    for position, (role, name) in enumerate(NAMES.items()):
        line = points[points["role"] == role]
        plots.banded_line(axes, line, label=name, position=position)
    axes.set(
        xlabel="how far an adversary may move each image ($\\ell_2$)",
        ylabel="correctly classified",
        title="CIFAR-10 test images",
        xlim=(0, points["radius"].max()),
        ylim=(0, 1),
    )
    axes.legend()
    return figure


def main() -> None:
    """Write both pictures; needs `book/results/laptop/01_preliminaries.json`."""
    record = records.committed("01_preliminaries", "laptop")
    if record is None:
        raise SystemExit("no record yet: robustkit run 01_preliminaries --profile laptop")
    light = Path(__file__).parent / "_static" / "overview.svg"
    # The key of the record in the file says which record it shows.
    metadata = {"Date": None, "Source": record["key"]}
    draw(record).savefig(light, metadata=metadata)
    twin = plots.recolour(light.read_text(encoding="utf-8"))
    light.with_name("overview-dark.svg").write_text(twin, encoding="utf-8")


if __name__ == "__main__":
    main()
