"""The tree agrees with CEL's grammar, precedence and spans included."""

from __future__ import annotations

import cel as library
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graymw.core.cel.parsing import parse
from graymw.core.cel.syntax import Binary, Call, Conditional, Index, Literal, Logical, Name, Node, Select, Unary
from graymw.core.cel.tokens import ExpressionError, tokenize


def shown(node: Node) -> str:
    """Fully parenthesised."""
    match node:
        case Literal():
            return repr(node.value)
        case Name():
            return node.name
        case Select():
            return f"{shown(node.operand)}.{node.field}"
        case Index():
            return f"{shown(node.operand)}[{shown(node.index)}]"
        case Unary():
            return f"({node.operator}{shown(node.operand)})"
        case Binary():
            return f"({shown(node.left)} {node.operator} {shown(node.right)})"
        case Logical():
            return "(" + f" {node.operator} ".join(map(shown, node.operands)) + ")"
        case Conditional():
            return f"({shown(node.test)} ? {shown(node.then)} : {shown(node.otherwise)})"
        case Call():
            arguments = ", ".join(map(shown, node.arguments))
            return f"{'' if node.target is None else shown(node.target) + '.'}{node.function}({arguments})"
        case _:
            return type(node).__name__


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a || b && c || d", "(a || (b && c) || d)"),
        ("a && b || c && d", "((a && b) || (c && d))"),
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a < b == c", "((a < b) == c)"),
        ("a + b in c", "((a + b) in c)"),
        ("!a.b && -c[d] == e", "((!a.b) && ((-c[d]) == e))"),
        ("!!a", "(!(!a))"),
        ("a ? b : c ? d : e", "(a ? b : (c ? d : e))"),
        ("a || b ? c : d", "((a || b) ? c : d)"),
        ("f(a, b.c(d))", "f(a, b.c(d))"),
        ("(a || b) && c", "((a || b) && c)"),
        ("a % b / c", "((a % b) / c)"),
    ],
)
def test_precedence(source: str, expected: str) -> None:
    assert shown(parse(source)) == expected


@given(st.recursive(
    st.sampled_from(["true", "false", "(1 == 1)", "(2 < 1)"]),
    lambda inner: st.one_of(
        st.builds("{} && {}".format, inner, inner), st.builds("{} || {}".format, inner, inner),
        st.builds("!{}".format, inner.filter(lambda text: " " not in text)), st.builds("({})".format, inner),
        st.builds("{} == {}".format, inner, inner), st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=8,
))  # fmt: skip
def test_the_fully_parenthesised_tree_means_what_the_source_means(source: str) -> None:
    explicit = shown(parse(source)).replace("True", "true").replace("False", "false")

    assert library.evaluate(explicit) == library.evaluate(source)


@pytest.mark.parametrize(
    "source",
    [
        r"'a\n\t\\\'\"'",
        r"'\x41\u00e9\U0001F600\101'",
        "r'\\d'",
        "'''a'b\nc'''",
        '"""a"b"""',
        'R"x\'y"',
        r"'\?\`\a\b\f\r\v'",
    ],
)
def test_strings_have_the_value_that_the_library_gives_them(source: str) -> None:
    (token, _) = tokenize(source)

    assert token.value == library.evaluate(source)


def test_spans_cover_the_parentheses_that_belong_to_a_node() -> None:
    source = "('x') in (request).headers && a"
    node = parse(source)
    assert isinstance(node, Logical)
    membership = node.operands[0]

    assert source[membership.span.start : membership.span.end] == "('x') in (request).headers"
    assert isinstance(membership, Binary)
    assert source[membership.right.span.start : membership.right.span.end] == "(request).headers"


def test_a_message_or_an_absolute_name_is_no_expression_here() -> None:
    for source in ("Foo{a: 1}", ".uid == 1"):
        with pytest.raises(ExpressionError):
            parse(source)
