"""The norms of perturbations, by the names that callers use."""

import math
from typing import Literal

from robustkit.arguments import Number
from robustkit.errors import unknown

Norm = Literal[1, 2, "inf"]

_NORMS: dict[Number | str, Norm] = {1: 1, 2: 2, "inf": "inf", math.inf: "inf"}


def parse_norm(norm: Number | str, allowed: tuple[Norm, ...]) -> Norm:
    """Return the norm among `allowed` that `norm` names; infinity may be "inf" or a float.

    Raises `InputError`.
    """
    parsed = _NORMS.get(norm)
    if parsed is None or parsed not in allowed:
        raise unknown("norm", str(norm), [str(name) for name in allowed])
    return parsed
