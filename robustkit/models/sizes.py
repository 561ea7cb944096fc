"""The check of what shapes every network: its classes and its channels."""

from robustkit.errors import InputError


def check_sizes(classes: int, channels: int) -> None:
    """Refuse fewer than 1 class or channel; raises `InputError`."""
    if classes < 1 or channels < 1:
        raise InputError(
            f"a network needs at least 1 class and 1 channel, got {classes} and {channels}."
        )
