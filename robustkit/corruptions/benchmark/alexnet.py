"""The errors of AlexNet on ImageNet-C, which mCE is measured in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from robustkit.corruptions.severities import ALL_SEVERITIES
from robustkit.errors import InputError, unknown

if TYPE_CHECKING:
    import pandas

# Top-1 error of the AlexNet of Hendrycks and Dietterich on clean ImageNet, to three digits as
# published.
CLEAN_ERROR = 0.435

# Top-1 error at severities 1 to 5, as Hendrycks published them (issue 10 of his repository). Their
# means are the constants of all published code for mCE.
ERRORS: Mapping[str, tuple[float, float, float, float, float]] = {
    "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
    "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
    "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
    "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
    "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
    "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
    "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
    "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
    "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
    "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
    "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
    "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
    "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
    "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
    "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
}

# Means over the severities for the four further corruptions, from the code of Mintun, Kirillov and
# Xie, NeurIPS 2021; no errors of single severities are published.
EXTRA_MEANS: Mapping[str, float] = {
    "gaussian_blur": 0.787108,
    "saturate": 0.658248,
    "spatter": 0.717512,
    "speckle_noise": 0.845388,
}


def summed_error(corruption: str, severities: Sequence[int]) -> float:
    """Return the sum of AlexNet's top-1 errors, as fractions, over severities 1 to 5 or some.

    Raises `InputError` for an unknown corruption or severity, and where only the mean over all
    five severities is published. Source: Hendrycks and Dietterich, ICLR 2019, section 4.
    """
    if not set(severities) <= set(ALL_SEVERITIES):
        raise InputError(f"AlexNet's errors are at severities 1 to 5, not {list(severities)}.")
    if corruption in ERRORS:
        return sum(ERRORS[corruption][severity - 1] for severity in severities)
    if corruption not in EXTRA_MEANS:
        raise unknown("corruption of AlexNet's table", corruption, [*ERRORS, *EXTRA_MEANS])
    if len(severities) != len(ALL_SEVERITIES):
        raise InputError(
            f"of AlexNet's errors on {corruption} only the mean over the severities 1 to 5 is "
            "published; judge all five."
        )
    return len(ALL_SEVERITIES) * EXTRA_MEANS[corruption]


def alexnet_table() -> "pandas.DataFrame":
    """Return AlexNet's errors as a tidy table: corruption, severity, error; a clean row first.

    Errors are fractions in [0, 1]; the 15 corruptions of the benchmark at severities 1 to 5.
    Source: Hendrycks and Dietterich, ICLR 2019, and issue 10 of the authors' repository.
    """
    import pandas

    rows = [("clean", 0, CLEAN_ERROR)]
    for corruption, errors in ERRORS.items():
        rows += [(corruption, severity, error) for severity, error in enumerate(errors, 1)]
    return pandas.DataFrame(rows, columns=["corruption", "severity", "error"])
