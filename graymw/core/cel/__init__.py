"""``when`` expressions: the Common Expression Language over the facts of a request.

Attribute names are Envoy's. The simple expressions become native code (``lowering``), all others run in a library
(``evaluating``), with the same results; what ``problems`` refuses never matches.
"""

from __future__ import annotations

from functools import lru_cache

from graymw.core import patterns
from graymw.core.cel.evaluating import LibraryError, compile_program
from graymw.core.cel.lowering import lowerable
from graymw.core.cel.parsing import parse
from graymw.core.cel.resolving import Resolved, resolve
from graymw.core.cel.syntax import Call, Literal, Node, walk
from graymw.core.cel.tokens import ExpressionError
from graymw.core.cel.types import type_problems

__all__ = ["accepted", "problems", "read"]


@lru_cache(maxsize=1_024)
def read(source: str) -> Resolved:
    """Tree of ``source`` with facts in place of names, and all its problems.

    Raises:
        ExpressionError: It is no CEL, or beyond the limits of length and depth.
    """
    resolved = resolve(parse(source))
    return Resolved(resolved.node, (*resolved.problems, *type_problems(resolved.node)))


def accepted(source: str) -> Resolved:
    """As ``read``, for an expression without problems.

    Raises:
        ExpressionError: It has any.
    """
    resolved = read(source)
    if resolved.problems:
        raise ExpressionError(resolved.problems[0])
    return resolved


def problems(source: str) -> list[str]:
    """All faults of an expression, one sentence with its mend each; empty for a good one."""
    try:
        resolved = read(source)
        if not resolved.problems:
            if not lowerable(resolved.node):
                compile_program(source, resolved.node)
            return [problem for pattern in _patterns(resolved.node) if (problem := patterns.problem(pattern))]
    except (ExpressionError, LibraryError) as exc:
        return [str(exc)]
    return list(resolved.problems)


def _patterns(node: Node) -> list[str]:
    """Constant patterns given to ``matches``."""
    return [
        argument.value
        for inner in walk(node)
        if isinstance(inner, Call) and inner.function == "matches"
        for argument in inner.arguments
        if isinstance(argument, Literal) and isinstance(argument.value, str)
    ]
