"""Levels of every corruption on small pictures, kept so that no result changes unnoticed.

Run this file to write them anew, after a change that is meant to alter results.
"""

import json
from functools import cache
from pathlib import Path

import torch

from robustkit.corruptions import corrupt
from robustkit.corruptions.registry import ALL

FILE = Path(__file__).with_name("golden.json")
SIDES = {"cifar": 32, "tiny": 64, "imagenet": 224}
CASES = [(name, preset) for name, one in ALL.items() for preset in one.severities]


@cache
def picture(side):
    """Return a batch (1, 3, side, side) of 8-bit levels, made of integers alone."""
    rows, columns = 32 * torch.arange(side)[:, None] // side, 32 * torch.arange(side) // side
    red = (rows * columns) % 256
    green = (7 * rows + 3 * columns) % 256
    blue = (255 - 4 * ((rows - 16) ** 2 + (columns - 12) ** 2)).clamp(0, 255)
    return torch.stack([red, green, blue.expand(side, side)]).to(torch.uint8)[None]


def samples(name, preset, severity, **options):
    """Return 24 levels of the corrupted picture, spread over channels, rows and columns."""
    image, index = picture(SIDES[preset]), torch.tensor([3])
    options = {"seed": 7, "indices": index, "preset": preset, **options}
    result = corrupt(image, name, severity, **options).flatten()
    places = (37 + torch.arange(24) * (len(result) // 24 + 5)) % len(result)
    return result[places]


def main():
    """Write the levels of all corruptions, presets and severities."""
    lines = []
    for name, preset in CASES:
        for severity in range(1, 6):
            levels = bytes(samples(name, preset, severity).tolist()).hex()
            lines.append(f'  "{name}/{preset}/{severity}": "{levels}"')
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def stored():
    """Return the levels kept, by "name/preset/severity"."""
    kept = json.loads(FILE.read_text())
    return {key: torch.tensor(list(bytes.fromhex(levels))) for key, levels in kept.items()}


if __name__ == "__main__":
    main()
