"""One release to one function from the facts of a request to what stands for its decision."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from xxhash import xxh64_intdigest

from graymw.core.bucketing import encoded
from graymw.core.compiling.indexing import Probes, segments
from graymw.core.compiling.outcomes import Action, Direct, Drawn, Outcomes
from graymw.core.compiling.writing import (
    FACTS,
    FunctionWriter,
    Known,
    attribute,
    called,
    compared,
    constant,
    name_of,
    store,
)
from graymw.core.facts import RequestFacts
from graymw.core.logic import ALWAYS, Logic, Operand
from graymw.core.model import SHARE_SCALE, Release, StickyKey
from graymw.core.sticking import GRAY_ID, valid_gray_id

Result = TypeVar("Result")

_NOTHING: Final[Known] = frozenset()
_KEY, _DATA, _BUCKET, _SPLIT, _HIT, _OTHER = "key", "data", "bucket", "split", "hit", "other"


class ReleaseWriter(Generic[Result]):
    """Writes the function of one release.

    Its shape: a block that is left either by returning a result or, with a split at hand, to the
    bucket that follows it. The bucket is computed in one place, however many rules split.
    """

    def __init__(
        self,
        release: Release,
        outcomes: Outcomes,
        results: Sequence[Result],
        clock: Callable[[], float],
        entropy: Callable[[], str],
    ) -> None:
        self._release = release
        self._outcomes = outcomes
        self._results = results
        self._entropy = entropy
        self._writer = FunctionWriter(clock)
        self._splits = {action for action in outcomes.actions if isinstance(action, Drawn)}
        self._known_at_split: Known | None = None

    def write(
        self, logics: Sequence[Logic], careful: Callable[[RequestFacts], Result]
    ) -> Callable[[RequestFacts], Result]:
        """Function that decides the release; ``careful`` decides where it failed."""
        body = self._rules(logics)
        if self._known_at_split is not None:
            body = [ast.While(constant(True), body, []), *self._key(), *self._drawn()]
        rescue = ast.Return(called(self._writer.bind(careful, "careful"), name_of(FACTS)))
        handler = ast.ExceptHandler(name_of("Exception"), None, [rescue])
        return self._writer.function("decide", [ast.Try(body, [handler], [], [])])

    def _rules(self, logics: Sequence[Logic]) -> list[ast.stmt]:
        body: list[ast.stmt] = []
        known = _NOTHING
        actions = self._outcomes.actions
        for first, last, found in segments(logics):
            if found is not None:
                statements, known = self._probe(found, actions[first:last], known)
                body += statements
                continue
            for logic, action in zip(logics[first:last], actions[first:last], strict=True):
                if logic == ALWAYS:
                    return body + self._act(action, known)
                test, when_true, when_false = self._writer.condition(logic, known)
                body.append(ast.If(test, self._act(action, when_true), []))
                known = when_false
        return [*body, self._returned(self._outcomes.default)]

    def _act(self, action: Action, known: Known) -> list[ast.stmt]:
        if isinstance(action, Direct):
            return [self._returned(action.outcome)]
        if len(self._splits) == 1:
            return self._leave(known)
        return [_assigned(_SPLIT, self._writer.bind(self._steps(action), "steps")), *self._leave(known)]

    def _leave(self, known: Known) -> list[ast.stmt]:
        self._known_at_split = known if self._known_at_split is None else self._known_at_split & known
        return [ast.Break()]

    def _probe(self, found: Probes, actions: Sequence[Action], known: Known) -> tuple[list[ast.stmt], Known]:
        """The lowest position that any table has; beyond all rules where none has."""
        nowhere = len(actions)
        body: list[ast.stmt] = []
        for signature, table in found.tables.items():
            values: list[ast.expr] = []
            for operand in signature:
                value, known = self._writer.load(operand, known)
                values.append(value)
            key = values[0] if len(values) == 1 else ast.Tuple(values, ast.Load())
            get = attribute(self._writer.bind(table, "table"), "get")
            body += _lowest(called(get, key, constant(nowhere)), first=not body)
        for slot, scan in found.scans.items():
            whole, known = self._writer.load(slot, known)
            get = attribute(self._writer.bind(scan, "scan"), "get")
            step = _lowest(called(get, name_of("item"), constant(nowhere)), first=False)
            body += [] if body else [_assigned(_HIT, constant(nowhere))]
            body.append(ast.For(store("item"), called(attribute(whole, "items")), step, []))
        hit = compared(name_of(_HIT), ast.NotEq(), constant(nowhere))
        return [*body, ast.If(hit, self._act_on_hit(actions, known), [])], known

    def _act_on_hit(self, actions: Sequence[Action], known: Known) -> list[ast.stmt]:
        results = self._results

        def chosen(table: tuple[object, ...]) -> ast.expr:
            return ast.Subscript(self._writer.bind(table, "actions"), name_of(_HIT), ast.Load())

        if all(isinstance(action, Direct) for action in actions):
            return [ast.Return(chosen(tuple(results[a.outcome] for a in actions if isinstance(a, Direct))))]
        steps = tuple(self._steps(action) if isinstance(action, Drawn) else None for action in actions)
        outcomes = tuple(results[action.outcome] if isinstance(action, Direct) else None for action in actions)
        no_steps = compared(name_of(_SPLIT), ast.Is(), constant(None))
        return [
            _assigned(_SPLIT, chosen(steps)),
            ast.If(no_steps, [ast.Return(chosen(outcomes))], []),
            *self._leave(known),
        ]

    def _key(self) -> list[ast.stmt]:
        """``key`` is set to the first text that a sticky fact has, else to a fresh one."""
        known = self._known_at_split or _NOTHING
        body: list[ast.stmt] = []
        for sticky in self._release.sticky:
            # A later fact is looked at only where all earlier ones have been, so what they read is known.
            statements, known = self._sticky(sticky, known)
            body += [ast.If(_no_key(), statements, [])] if body else statements
        fresh = self._fresh()
        return [*body, ast.If(_no_key(), fresh, [])] if body else fresh

    def _sticky(self, sticky: StickyKey, known: Known) -> tuple[list[ast.stmt], Known]:
        value, known = self._writer.load(Operand(sticky.fact), known)
        statements: list[ast.stmt] = [_assigned(_KEY, value)]
        if sticky.fact == GRAY_ID:
            valid = called(self._writer.bind(valid_gray_id, "valid"), name_of(_KEY))
            bad = ast.BoolOp(ast.And(), [name_of(_KEY), ast.UnaryOp(ast.Not(), valid)])
            statements.append(ast.If(bad, [_assigned(_KEY, constant(None))], []))
        return statements, known

    def _fresh(self) -> list[ast.stmt]:
        entropy = called(self._writer.bind(self._entropy, "entropy"))
        if not any(sticky.issue for sticky in self._release.sticky):
            return [_assigned(_KEY, entropy)]
        issued = attribute(name_of(FACTS), "issued")
        target = ast.Attribute(name_of(FACTS), "issued", ast.Store())
        return [_assigned(_KEY, issued), ast.If(_no_key(), [ast.Assign([store(_KEY), target], entropy)], [])]

    def _drawn(self) -> list[ast.stmt]:
        """The bucket of ``key``, then the outcome in whose range it lies."""
        text = ast.BinOp(constant(f"{self._release.seed}:"), ast.Add(), name_of(_KEY))
        # Plain ``encode`` is the fastest; only undecodable bytes of a request make it fail.
        tried = ast.Try(
            [_assigned(_DATA, called(attribute(text, "encode")))],
            [
                ast.ExceptHandler(
                    name_of("UnicodeEncodeError"),
                    None,
                    [_assigned(_DATA, called(self._writer.bind(encoded, "encoded"), text))],
                )
            ],
            [],
            [],
        )
        digest = called(self._writer.bind(xxh64_intdigest, "xxh64"), name_of(_DATA))
        bucket = _assigned(_BUCKET, ast.BinOp(digest, ast.Mod(), constant(SHARE_SCALE)))
        return [tried, bucket, *self._choice()]

    def _choice(self) -> list[ast.stmt]:
        if len(self._splits) == 1:
            (action,) = self._splits
            *steps, (_, last) = action.steps
            below = [_below(constant(bound), self._result(outcome)) for bound, outcome in steps]
            return [*below, self._returned(last)]
        pair = ast.Tuple([store("bound"), store("outcome")], ast.Store())
        return [ast.For(pair, name_of(_SPLIT), [_below(name_of("bound"), name_of("outcome"))], [])]

    def _steps(self, action: Drawn) -> tuple[tuple[int, Result], ...]:
        return tuple((bound, self._results[outcome]) for bound, outcome in action.steps)

    def _result(self, outcome: int) -> ast.expr:
        result = self._results[outcome]
        return constant(result) if isinstance(result, int) else self._writer.bind(result, "result")

    def _returned(self, outcome: int) -> ast.stmt:
        return ast.Return(self._result(outcome))


def _lowest(value: ast.expr, *, first: bool) -> list[ast.stmt]:
    if first:
        return [_assigned(_HIT, value)]
    lower = compared(ast.NamedExpr(store(_OTHER), value), ast.Lt(), name_of(_HIT))
    return [ast.If(lower, [_assigned(_HIT, name_of(_OTHER))], [])]


def _no_key() -> ast.expr:
    return ast.UnaryOp(ast.Not(), name_of(_KEY))


def _below(bound: ast.expr, outcome: ast.expr) -> ast.stmt:
    return ast.If(compared(name_of(_BUCKET), ast.Lt(), bound), [ast.Return(outcome)], [])


def _assigned(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([store(name)], value)
