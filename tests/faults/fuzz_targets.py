"""Everything public that can be called: functions and classes by `__all__`, and methods of these.

A module without `__all__` (`robustkit.stats`, say) is public by its own names without underscore.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

import robustkit


@dataclass(frozen=True)
class Target:
    """One thing to call: its name from the package on, how to get it, and its parameters.

    A method is called on an object that the good values make, of the class `owner`.
    """

    name: str
    call: Callable[..., Any]
    parameters: tuple[inspect.Parameter, ...]
    owner: type | None = None
    method: str = ""


def modules() -> Iterator[ModuleType]:
    """Yield the public modules: those of `robustkit.__all__`, and every package with `__all__`."""
    packages = {info.name for info in pkgutil.iter_modules(robustkit.__path__) if info.ispkg}
    for name in sorted({*robustkit.__all__, *packages}):
        yield import_module(f"robustkit.{name}")


def public(module: ModuleType) -> dict[str, Any]:
    """Return what a module makes public, by name."""
    if hasattr(module, "__all__"):
        return {name: getattr(module, name) for name in module.__all__}
    own = {name: item for name, item in vars(module).items() if not name.startswith("_")}
    return {n: i for n, i in own.items() if getattr(i, "__module__", "") == module.__name__}


def names() -> list[str]:
    """Return the names of all that can be called, such as "attacks.deepfool"."""
    return [target.name for target in targets()]


def targets() -> Iterator[Target]:
    """Yield everything that can be called, classes followed by their methods."""
    for module in modules():
        prefix = module.__name__.removeprefix("robustkit.")
        for name, item in public(module).items():
            if inspect.isclass(item):
                yield from _of_class(f"{prefix}.{name}", item)
            elif inspect.isfunction(item):
                yield Target(f"{prefix}.{name}", item, _parameters(item))


def _of_class(name: str, item: type) -> Iterator[Target]:
    if (
        getattr(item, "_is_protocol", False)
        or issubclass(item, BaseException)
        or inspect.isabstract(item)
    ):
        return
    yield Target(name, item, _parameters(item))
    for method in _methods(item):
        bound = getattr(item, method)
        found = tuple(inspect.signature(bound).parameters.values())
        if not isinstance(inspect.getattr_static(item, method), staticmethod):
            found = found[1:]
        yield Target(f"{name}.{method}", bound, found, item, method)


def _methods(item: type) -> list[str]:
    """Name the methods of robustkit that a user of the class calls, its own and inherited ones."""
    wanted = []
    for name, found in inspect.getmembers(item, inspect.isfunction):
        own = (found.__module__ or "").startswith("robustkit")
        called = not name.startswith("_") or (
            name == "__call__" and not issubclass(item, nn.Module)
        )
        if own and called:
            wanted.append(name)
    return wanted


def _parameters(item: Any) -> tuple[inspect.Parameter, ...]:
    if is_dataclass(item):
        return tuple(inspect.signature(item.__init__).parameters.values())[1:]
    return tuple(inspect.signature(item).parameters.values())
