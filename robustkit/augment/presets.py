"""The primitives of PRIME with their published settings."""

from robustkit.augment.color import Color
from robustkit.augment.diffeomorphism import Diffeomorphism
from robustkit.augment.operation import Operation
from robustkit.augment.spectral import Spectral
from robustkit.errors import InputError, unknown

PRESETS = ("cifar", "imagenet")
PRIMITIVES = ("diffeomorphism", "color", "spectral")


def primitives(
    preset: str = "cifar",
    *,
    names: tuple[str, ...] = PRIMITIVES,
    shared: bool = False,
    legacy: bool = False,
    certified: bool = False,
) -> list[Operation]:
    """Return the primitives of PRIME for images of 32 x 32 ("cifar") or 224 x 224 ("imagenet").

    - `names`: which of "diffeomorphism", "color" and "spectral", in what order.
    - `shared`: one strength and one warp for all images of a call.
    - `legacy`: as the published code draws and applies them: `shared`, and the filter off-centre.
    - `certified`: no warp folds over; see `Diffeomorphism`.

    Raises `InputError` for an unknown preset or name, or no name.

    Source: the configuration files of the published code of Modas et al., PRIME: A few primitives
    can boost robustness to common corruptions, ECCV 2022.
    """
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    if not names:
        raise InputError(f"there is nothing to mix; name primitives among {', '.join(PRIMITIVES)}.")
    small, shared = preset == "cifar", shared or legacy
    known: dict[str, Operation] = {
        "diffeomorphism": Diffeomorphism(100 if small else 500, certified, shared),
        "color": Color(100, 0.01, None, shared) if small else Color(500, 0.05, 20, shared),
        "spectral": Spectral(4.0, 3, shared, centered=not legacy),
    }
    for name in names:
        if name not in known:
            raise unknown("primitive", name, known)
    return [known[name] for name in names]
