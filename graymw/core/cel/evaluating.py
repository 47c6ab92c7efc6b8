"""CEL expressions run by the library: only the values an expression names cross into it.

The only importer of ``cel`` (common-expression-language), which loads with the first expression that needs it.
A name such as ``request.headers['x']`` becomes a variable of its own, bound where the request has that header:
a missing one is an unbound variable, which is an error that ``||`` and ``&&`` absorb as CEL says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from graymw.core.cel.resolving import RESERVED_PREFIX
from graymw.core.cel.syntax import Attribute, Node, Presence, WholeMap, walk
from graymw.core.facts import RequestFacts, decimal
from graymw.core.lookup import fact_reader, map_reader
from graymw.core.model import Fact

_ABSENT: Final = object()


class EvaluationError(Exception):
    """An expression failed for one request, or yielded something else than true or false.

    Attributes:
        told: The message without any value of the request: what a log may hold.
    """

    def __init__(self, message: str, told: str = "") -> None:
        super().__init__(message)
        self.told = told or message


class LibraryError(ValueError):
    """The library refuses an expression; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class Program:
    """An expression ready to run.

    Attributes:
        facts: What it reads one by one.
        maps: Kinds it reads as a whole: ``header``, ``cookie``, ``query``.
    """

    facts: frozenset[Fact]
    maps: frozenset[str]
    evaluate: Callable[[RequestFacts], bool]
    """Truth for one request.

    Raises:
        EvaluationError: A value is missing, of another type, or the result is no boolean.
    """


def compile_program(source: str, node: Node) -> Program:
    """Program for a resolved tree of ``source``.

    Raises:
        LibraryError: The library cannot compile it.
    """
    names: dict[tuple[Any, ...], str] = {}
    bindings: list[tuple[str, Callable[[RequestFacts], Any]]] = []
    pieces: list[str] = []
    position = 0
    facts: set[Fact] = set()
    maps: set[str] = set()
    for leaf in sorted(_leaves(node), key=lambda leaf: leaf.span.start):
        key = _identity(leaf)
        if key not in names:
            names[key] = f"{RESERVED_PREFIX}{len(names)}"
            bindings.append((names[key], _reader(leaf)))
        pieces += (source[position : leaf.span.start], f" {names[key]} ")
        position = leaf.span.end
        if isinstance(leaf, WholeMap):
            maps.add(leaf.kind)
        else:
            facts.add(leaf.fact)
    pieces.append(source[position:])
    return Program(frozenset(facts), frozenset(maps), _runner(_compile("".join(pieces)), tuple(bindings)))


def _leaves(node: Node) -> Iterator[Attribute | Presence | WholeMap]:
    return (inner for inner in walk(node) if isinstance(inner, (Attribute, Presence, WholeMap)))


def _identity(leaf: Attribute | Presence | WholeMap) -> tuple[Any, ...]:
    if isinstance(leaf, WholeMap):
        return (WholeMap, leaf.kind)
    return (type(leaf), leaf.fact, isinstance(leaf, Attribute) and leaf.number)


def _compile(source: str) -> Any:
    import cel  # noqa: PLC0415 - 240 ms that most processes never need

    try:
        return cel.compile(source)
    except Exception as exc:  # noqa: BLE001 - whatever it raises, the expression is refused
        detail = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise LibraryError(f"CEL cannot compile the expression ({detail})") from None
    except BaseException as exc:
        if not is_panic(exc):
            raise
        raise LibraryError("CEL cannot compile the expression (internal fault of the library)") from None


def is_panic(error: BaseException) -> bool:
    """Whether ``error`` is a fault inside a Rust extension, which is no ``Exception``."""
    return type(error).__module__ == "pyo3_runtime"


def _runner(
    program: Any, bindings: tuple[tuple[str, Callable[[RequestFacts], Any]], ...]
) -> Callable[[RequestFacts], bool]:
    execute = program.execute

    def evaluate(facts: RequestFacts) -> bool:
        variables = {name: value for name, read in bindings if (value := read(facts)) is not _ABSENT}
        try:
            result = execute(variables)
        except Exception as exc:
            raise EvaluationError(str(exc), f"{type(exc).__name__} in the CEL library") from exc
        except BaseException as exc:
            if not is_panic(exc):
                raise
            raise EvaluationError("internal fault of the CEL library") from exc
        if result is True or result is False:
            return result
        raise EvaluationError(f"the expression yields {type(result).__name__}, not true or false")

    return evaluate


def _reader(leaf: Attribute | Presence | WholeMap) -> Callable[[RequestFacts], Any]:
    """Function from a request to the bound value, ``_ABSENT`` where there is none."""
    if isinstance(leaf, WholeMap):
        whole = map_reader(leaf.kind)
        return lambda facts: {_valid(name): _valid(value) for name, value in whole(facts).items()}
    read = fact_reader(leaf.fact)
    if isinstance(leaf, Presence):
        return lambda facts: read(facts) is not None

    def text(facts: RequestFacts) -> Any:
        value = read(facts)
        return _ABSENT if value is None else _valid(value)

    def number_or_text(facts: RequestFacts) -> Any:
        value = read(facts)
        if value is None:
            return _ABSENT
        number = decimal(value)
        return _valid(value) if number is None else number

    return number_or_text if leaf.number else text


def _valid(text: str) -> str:
    """The text with undecodable bytes replaced: the library takes only what UTF-8 can hold."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
