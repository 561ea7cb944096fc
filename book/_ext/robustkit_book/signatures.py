"""Signatures as they are written in the source.

What autodoc finds by evaluation spells out every alias: an `ArrayLike` becomes nine lines of
private NumPy types. The source says what the author meant.
"""

import ast
import inspect
import textwrap
from typing import Any

from sphinx.application import Sphinx


def from_source(
    app: Sphinx,
    what: str,
    name: str,
    item: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Return the written signature (event `autodoc-process-signature`), None to keep the found."""
    if what not in {"function", "method", "class"} or not signature:
        return None
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(item)))
    except (OSError, TypeError, SyntaxError):
        return None
    written = tree.body[0]
    if isinstance(written, ast.ClassDef):
        return of_class(written)
    if isinstance(written, ast.FunctionDef):
        return of_function(written, bound=what == "method" and not _is_static(written))
    return None


def of_function(written: ast.FunctionDef, *, bound: bool) -> tuple[str, str | None]:
    """Return the arguments and the return annotation of a function, without a bound first one."""
    arguments = written.args
    if bound:
        first = arguments.posonlyargs or arguments.args
        del first[:1]
    returns = ast.unparse(written.returns) if written.returns else None
    return f"({_readable(ast.unparse(arguments))})", _readable(returns) if returns else None


def of_class(written: ast.ClassDef) -> tuple[str, None] | None:
    """Return the arguments of a class: of its own `__init__`, or the fields of a dataclass."""
    for statement in written.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return of_function(statement, bound=True)[0], None
    if not any("dataclass" in ast.unparse(decorator) for decorator in written.decorator_list):
        return None
    fields = [
        ast.unparse(statement) for statement in written.body if isinstance(statement, ast.AnnAssign)
    ]
    return f"({_readable(', '.join(fields))})", None


def _is_static(written: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator) == "staticmethod" for decorator in written.decorator_list)


def _readable(text: str) -> str:
    # jaxtyping starts the name of a single dimension with a space, which only it needs.
    return text.replace("' ", "'")
