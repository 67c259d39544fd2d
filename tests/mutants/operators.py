"""Make the mutants of a module: copies of its syntax tree that differ in one operator or constant.

    for mutant in mutants(source):
        exec(compile(mutant.tree, path, "exec"), namespace)

Left out, because no test is meant to notice them: annotations, decorators, docstrings and other
strings, ``__all__``, blocks of ``if TYPE_CHECKING``, and the text of an exception.  Pure.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

__all__ = ["Mutant", "mutants"]

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: its line and function, the code before and after, and the tree of the module.

    ``lines`` are those from the beginning of the statement to the end of what is changed: of a
    statement over several lines, not every line counts as executed.
    """

    line: int
    lines: range
    function: str
    before: str
    after: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of the module, in the order of its lines."""
    start = _Place("", 1)
    for index, (node, place) in enumerate(_nodes(ast.parse(source), start)):
        lines = range(place.statement, (node.end_lineno or node.lineno) + 1)
        for number in range(len(_changes(node))):
            tree = ast.parse(source)  # a quarter of the cost of a deep copy
            victim, _ = next(islice(_nodes(tree, start), index, None))
            _changes(victim)[number]()
            yield Mutant(node.lineno, lines, place.function, _text(node), _text(victim), tree)


class _Place(NamedTuple):
    """The qualified name of the function that a node is in, and the line of its statement."""

    function: str
    statement: int


def _text(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]


def _nodes(tree: ast.AST, place: _Place) -> Iterator[tuple[ast.expr | ast.stmt, _Place]]:
    """Yield the nodes that may be changed, each with its place."""
    if isinstance(tree, ast.stmt):
        place = place._replace(statement=tree.lineno)
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        place = place._replace(function=f"{place.function}.{tree.name}".lstrip("."))
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params", "args"):
            if isinstance(tree, ast.Call | ast.arguments):
                pass  # the arguments of a call and of a lambda are code as any other
            elif isinstance(value, ast.arguments):
                defaults = [*value.defaults, *filter(None, value.kw_defaults)]
                yield from _within(defaults, place)
                continue
            else:
                continue
        yield from _within(value if isinstance(value, list) else [value], place)


def _within(values: list[Any], place: _Place) -> Iterator[tuple[ast.expr | ast.stmt, _Place]]:
    for child in values:
        if not isinstance(child, ast.AST) or _left_out(child):
            continue
        if isinstance(child, ast.expr | ast.stmt):
            own = place._replace(statement=child.lineno) if isinstance(child, ast.stmt) else place
            yield child, own
        yield from _nodes(child, place)


def _left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    if isinstance(node, ast.Raise):
        return True
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _changes(node: ast.expr | ast.stmt) -> list[Callable[[], None]]:  # noqa: PLR0912  (a case each)
    """Return the changes that can be made to this node, each as a function that makes it."""
    changes: list[Callable[[], None]] = []
    match node:
        case ast.Compare(ops=ops):
            for place, operator in enumerate(ops):
                for other in _COMPARISONS[type(operator)]:
                    changes.append(partial(_replace, ops, place, other()))  # noqa: PERF401  (reads worse nested)
        case ast.BoolOp(op=operator):
            other = ast.Or if isinstance(operator, ast.And) else ast.And
            changes.append(lambda: setattr(node, "op", other()))
        case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in _ARITHMETIC:
            changes.append(lambda: setattr(node, "op", _ARITHMETIC[type(operator)]()))
        case ast.Constant(value=bool(value)):
            changes.append(lambda: setattr(node, "value", not value))
        case ast.Constant(value=int(value)):
            changes.append(lambda: setattr(node, "value", value + 1))
            changes.append(lambda: setattr(node, "value", value - 1))
        case ast.Constant(value=float(value)):
            changes.append(lambda: setattr(node, "value", value * 2 + 1))
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            changes.append(
                lambda: setattr(node, "value", ast.copy_location(ast.Constant(None), value))
            )
        case ast.Break():
            changes.append(lambda: setattr(node, "__class__", ast.Continue))
        case ast.Continue():
            changes.append(lambda: setattr(node, "__class__", ast.Break))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            changes.append(lambda: setattr(node, "operand", _negated(operand)))
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) if not isinstance(
            test,
            ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant,  # these change themselves
        ):
            changes.append(lambda: setattr(node, "test", _negated(test)))
    return changes


def _replace(items: list[Any], place: int, item: Any) -> None:
    items[place] = item


def _negated(test: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _is_none(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
