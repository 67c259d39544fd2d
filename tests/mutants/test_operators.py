"""Which changes mutation testing makes."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.operators import mutants


def changed(source: str) -> list[str]:
    return [ast.unparse(mutant.tree) for mutant in mutants(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a == b", ["a != b"]),
        ("a is None", ["a is not None"]),
        ("a in b", ["a not in b"]),
        ("a and b or c", ["(a and b) and c", "(a or b) or c"]),
        ("not a", ["not not a"]),
        ("a + b * c", ["a - b * c", "a + b // c"]),
        ("x = 5", ["x = 6", "x = 4"]),
        ("x = True", ["x = False"]),
        ("x += y", ["x -= y"]),
        ("x = a if b else c", ["x = a if not b else c"]),
        ("x = [a for a in b if a > c]", ["[a for a in b if a >= c]", "[a for a in b if a <= c]"]),
        ("def f(x=1):\n    return x", ["x=2", "x=0", "return None"]),
        ("while x:\n    break", ["while not x", "continue"]),
        ("f(1, a=True)", ["f(2, a=True)", "f(0, a=True)", "f(1, a=False)"]),
    ],
)
def test_one_change_at_a_time(source: str, expected: list[str]) -> None:
    got = changed(source)
    assert len(got) == len(expected)
    for text in expected:
        assert any(text in each for each in got), (text, got)
    for tree in got:
        compile(tree, "mutant", "exec")


@pytest.mark.parametrize(
    "source",
    [
        "def f(x: Literal[1]) -> Literal[2]:\n    '''3'''",
        "@decorated(slots=True)\nclass C:\n    pass",
        "if TYPE_CHECKING:\n    x = 1",
        "raise ValueError(1 + 2)",
        "x = f'{1 + 2}'",
        "__all__ = ['a', 1]",
    ],
)
def test_what_no_test_is_meant_to_notice_is_left_as_it_is(source: str) -> None:
    assert changed(source) == []


def test_a_mutant_names_its_place_and_its_change() -> None:
    first, *_ = mutants("class C:\n    def f(self):\n        return self.a < 7\n")
    assert (first.line, first.function) == (3, "C.f")
    assert (first.before, first.after) == ("return self.a < 7", "return None")
