"""Typed parameters of a chapter: read from its parameters cell, checked before anything runs.

The cell holds lines such as `profile: str = "smoke"  # smoke | laptop | paper`. The annotation is
the type; a comment of words separated by bars lists the values a text parameter may take.
"""

import ast
import io
import math
import re
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from robustkit import project
from robustkit.errors import InputError, unknown

_KINDS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_TYPES = (*_KINDS, "list[int]", "list[float]", "list[str]")
_CHOICES = re.compile(r"[\w.:-]+(\s*\|\s*[\w.:-]+)+")


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, type as written, default, comment and allowed values, if listed."""

    name: str
    annotation: str
    default: Any
    comment: str
    choices: tuple[str, ...] = ()


def parse(source: str, where: str) -> list[Parameter]:
    """Return the parameters of a parameters cell, in order; `where` names it in errors.

    Raises `InputError` for a line that is not `name: type = literal  # comment`.
    """
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise InputError(f"{where}: the parameters cell is not Python: {error}.") from error
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for statement in statements:
        line = ast.get_source_segment(source, statement)
        if (
            not isinstance(statement, ast.AnnAssign)
            or not isinstance(statement.target, ast.Name)
            or statement.value is None
            or ast.unparse(statement.annotation) not in _TYPES
        ):
            raise InputError(
                f"{where}: {line!r} is not a parameter. Write name: type = value  # comment, with "
                f"a type among {', '.join(_TYPES)}."
            )
        try:
            default = ast.literal_eval(statement.value)
        except ValueError as error:
            raise InputError(f"{where}: the default in {line!r} must be a literal.") from error
        comment = comments.get(statement.end_lineno or statement.lineno, "")
        choices = re.split(r"\s*\|\s*", comment) if _CHOICES.fullmatch(comment) else []
        parameter = Parameter(
            statement.target.id,
            ast.unparse(statement.annotation),
            default,
            comment,
            tuple(choices or (project.PROFILES if statement.target.id == "profile" else ())),
        )
        found.append(parameter)
        _check(parameter, default)
    return found


def from_text(parameters: Sequence[Parameter], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of parameters written on a command line, read as YAML where not text.

    Raises `UnknownNameError` for an unknown name and `InputError` for a text of the wrong type.
    """
    return {
        name: _check(spec, _from_text(spec, texts[name]))
        for name, spec in _known(parameters, texts).items()
    }


def resolve(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every parameter, the given ones checked, the others at their default.

    An int stands for a float, a bool for nothing else. Raises `UnknownNameError` for an unknown
    name or value of a list of choices, and `InputError` for a wrong type.
    """
    _known(parameters, given)
    return {spec.name: _check(spec, given.get(spec.name, spec.default)) for spec in parameters}


def split_values(text: str) -> list[str]:
    """Split the values of one axis of a grid at its commas, but not inside brackets or quotes."""
    values, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        depth += (sign in "[{") - (sign in "]}") if not quote else 0
        if sign == "," and depth == 0 and not quote:
            values.append("")
        else:
            values[-1] += sign
    return [value.strip() for value in values]


def _known(parameters: Sequence[Parameter], given: Mapping[str, Any]) -> dict[str, Parameter]:
    specs = {spec.name: spec for spec in parameters}
    for name in given:
        if name not in specs:
            raise unknown("parameter", name, specs)
    return {name: specs[name] for name in given}


def _from_text(spec: Parameter, text: str) -> Any:
    if spec.annotation == "str":
        return text
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _wrong(spec, text) from error
    if spec.annotation == "list[str]":
        return value
    if isinstance(value, list):
        return [_from_exponent(item) for item in value]
    return _from_exponent(value)


def _from_exponent(value: Any) -> Any:
    # YAML 1.1 reads 1e-3 as a text, because it asks for a point before the exponent.
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _check(spec: Parameter, value: Any) -> Any:
    inner = spec.annotation.removeprefix("list[").removesuffix("]")
    if inner != spec.annotation:
        if not isinstance(value, list | tuple):
            raise _wrong(spec, value)
        return [_check_one(spec, inner, item) for item in value]
    return _check_one(spec, inner, value)


def _check_one(spec: Parameter, kind: str, given: Any) -> Any:
    value: Any = float(given) if kind == "float" and type(given) is int else given
    found = type(value)
    if found is not _KINDS[kind] or (kind == "float" and math.isnan(value)):
        raise _wrong(spec, given)
    if kind == "str" and spec.choices and value not in spec.choices:
        label = "profile" if spec.name == "profile" else f"value of parameter {spec.name!r}"
        raise unknown(label, value, spec.choices)
    return value


def _wrong(spec: Parameter, value: Any) -> InputError:
    comment = f" ({spec.comment})" if spec.comment else ""
    return InputError(
        f"parameter {spec.name!r} is {spec.annotation}{comment}, got {value!r}; "
        f"the default is {spec.default!r}."
    )
