"""Good values for the parameters of public functions: by the target, by the name, or by the type.

Every call with good values must succeed, so that a fault in it is due to the one value exchanged.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import fuzz_targets
import fuzz_toys as toys
import torch
from fuzz_arguments import OF_TARGETS
from fuzz_names import NAMED, SHORT
from torch import nn

from robustkit import attacks
from robustkit.data import Dataset
from robustkit.training.processes import Processes


class Impossible(Exception):
    """There is no good value for a parameter."""


def instance(name: str) -> Any:
    """Return an object of a public class, made of good values."""
    if name == "records.Record":
        return toys.record()
    [target] = [target for target in fuzz_targets.targets() if target.name == name]
    return target.call(**arguments(target))


def arguments(target: fuzz_targets.Target) -> dict[str, Any]:
    """Return the arguments of a good call: all that are required, and those that keep it short."""
    found = {}
    for parameter in target.parameters:
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        required = parameter.default is inspect.Parameter.empty and not variadic
        if required or parameter.name in SHORT or f"{target.name}.{parameter.name}" in OF_TARGETS:
            found[parameter.name] = good(target, parameter)
    return found


def call(target: fuzz_targets.Target, given: dict[str, Any]) -> Any:
    """Call a target; what it yields is taken to the end."""
    bound = target.call
    if target.owner is not None:
        bound = getattr(instance(target.name.rpartition(".")[0]), target.method)
    kinds = {parameter.name: parameter.kind for parameter in target.parameters}
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = {}
    for name, value in given.items():
        if kinds[name] is inspect.Parameter.VAR_POSITIONAL:
            positional = tuple(value)
        elif kinds[name] is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    found = bound(*positional, **named)
    return list(found) if inspect.isgenerator(found) else found


def good(target: fuzz_targets.Target, parameter: inspect.Parameter) -> Any:
    """Return a good value of a parameter."""
    whole = f"{target.name}.{parameter.name}"
    for known, key in ((OF_TARGETS, whole), (SHORT, parameter.name), (NAMED, parameter.name)):
        if key in known:
            return known[key]()
    if parameter.default is not inspect.Parameter.empty and parameter.default is not None:
        return parameter.default
    return of_type(parameter.annotation, whole)


def of_type(annotation: Any, where: str) -> Any:
    """Return a good value of a type; of several, of the first that is known."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for one in inner:
            if one in PLAIN:
                return PLAIN[one]()
    if origin is typing.Literal:
        return inner[0]
    if origin is None and annotation in PLAIN:
        return PLAIN[annotation]()
    raise Impossible(f"{where}: {annotation}")


PLAIN: Mapping[Any, Callable[[], Any]] = {
    int: lambda: 1,
    float: lambda: 0.5,
    str: lambda: "name",
    bool: lambda: False,
    nn.Module: toys.network,
    torch.dtype: lambda: torch.float32,
    torch.device: lambda: torch.device("cpu"),
    torch.Generator: lambda: torch.Generator().manual_seed(0),
    Dataset: toys.dataset,
    Processes: Processes,
    attacks.AttackResult: toys.attack,
    Path: toys.new_file,
}
