"""One progress line for long work: images a second and time left, silent off a terminal."""

from typing import Never

from tqdm import tqdm


def progress(total: int, description: str, unit: str = "image") -> "tqdm[Never]":
    """Open one line that counts to `total`; call `update(n)`, use as a context manager.

    Nothing is printed when standard error is not a terminal, so published pages stay clean.
    """
    return tqdm(
        total=total,
        desc=description,
        unit=f" {unit}s",
        disable=None,
        leave=False,
        dynamic_ncols=True,
    )
