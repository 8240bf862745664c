"""Conditions: comparisons, `and`, `or`, `not`, `a if c else b`, as jumps and as values."""

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Operand, Static
from vestige.lang.compiler.graph import Block, Instruction
from vestige.lang.compiler.kinds import BY_NAME
from vestige.lang.errors import Refusal, Rule
from vestige.lang.records import Record, is_constant

if TYPE_CHECKING:
    from vestige.lang.compiler.expressions import Expressions

COMPARISONS: dict[type[ast.cmpop], tuple[str, Callable[[int, int], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
    ast.Eq: ("==", operator.eq),
    ast.NotEq: ("!=", operator.ne),
}


class Conditions:
    """Lowers the conditions of one function."""

    def __init__(self, expressions: "Expressions", builder: Builder) -> None:
        self.expressions, self.builder = expressions, builder

    def jump(self, node: ast.expr, then: Block, otherwise: Block) -> None:
        """Jump to `then` if the expression is true, else to `otherwise`, evaluating as Python.

        What constants decide is decided here: no jump leads to the other block.
        """
        match node:
            case ast.UnaryOp(ast.Not(), operand):
                self.jump(operand, otherwise, then)
            case ast.BoolOp(ast.And(), values):
                for value in values[:-1]:
                    more = Block()
                    self.jump(value, more, otherwise)
                    if not self.builder.enter(more):
                        return
                self.jump(values[-1], then, otherwise)
            case ast.BoolOp(ast.Or(), values):
                for value in values[:-1]:
                    more = Block()
                    self.jump(value, then, more)
                    if not self.builder.enter(more):
                        return
                self.jump(values[-1], then, otherwise)
            case ast.Compare() if len(node.ops) > 1:
                self._chain(node, then, otherwise)
            case _:
                self.builder.branch(node, self.truth(node), then, otherwise)

    def truth(self, node: ast.expr) -> Static | Instruction:
        """What is asked whether it is true: a constant, or an integer at run time."""
        operand = self.expressions.lower(node)
        if isinstance(operand, Static):  # a function is true: likely its call was meant
            if is_constant(operand.value) and not callable(operand.value):
                return operand
        return self.expressions.number(node, operand)

    def negation(self, node: ast.UnaryOp) -> Operand:
        """`not a`."""
        value = self.truth(node.operand)
        if isinstance(value, Static):
            return Static(not value.value)
        return self.builder.add(graph.Compare(node, "==", value, self.builder.constant(node, 0)))

    def _chain(self, node: ast.Compare, then: Block, otherwise: Block) -> None:
        """`a < b < c`: c is evaluated only where a < b."""
        left, first = node.left, self.expressions.lower(node.left)
        for kind, right in zip(node.ops[:-1], node.comparators[:-1], strict=True):
            self._operator(node, kind)
            more, second = Block(), self.expressions.lower(right)
            test = self._comparison(node, kind, (left, first), (right, second))
            self.builder.branch(node, test, more, otherwise)
            if not self.builder.enter(more):
                return
            left, first = right, second
        test = self._last(node, left, first)
        self.builder.branch(node, test, then, otherwise)

    def logical(self, node: ast.BoolOp) -> Operand:
        """`a and b` as a value: Python's, the first operand that decides."""
        builder, goes_on = self.builder, isinstance(node.op, ast.And)
        result, done = builder.new_local(), Block()
        for operand in node.values[:-1]:
            value = self.truth(operand)
            if isinstance(value, Static):
                if bool(value.value) == goes_on:
                    continue
                if not done.entered:
                    return value
            number, more = self.expressions.number(operand, value), Block()
            builder.add(graph.WriteLocal(operand, result, number))
            then, otherwise = (more, done) if goes_on else (done, more)
            builder.branch(operand, value, then, otherwise)
            if not builder.enter(more):
                break
        else:
            last = self.expressions.lower(node.values[-1])
            if not done.entered:
                return last
            number = self.expressions.number(node.values[-1], last)
            builder.add(graph.WriteLocal(node.values[-1], result, number))
            builder.jump(node, done)
        builder.place(done)
        return builder.add(graph.ReadLocal(node, result))

    def compare(self, node: ast.Compare) -> Operand:
        """A comparison, or a chain of them, as a value."""
        if len(node.ops) > 1:
            return self._from_condition(node)
        return self._last(node, node.left, self.expressions.lower(node.left))

    def _last(self, node: ast.Compare, left: ast.expr, first: Operand) -> Static | Instruction:
        """The last comparison of a chain, or the only one."""
        kind, right = node.ops[-1], node.comparators[-1]
        if isinstance(kind, ast.In | ast.NotIn):
            return self._member(node, kind, (left, first), right)
        if isinstance(kind, ast.Is | ast.IsNot):
            return self._identity(node, kind, first, self.expressions.lower(right))
        self._operator(node, kind)
        return self._comparison(node, kind, (left, first), (right, self.expressions.lower(right)))

    def _member(
        self,
        node: ast.Compare,
        kind: ast.In | ast.NotIn,
        left: tuple[ast.expr, Operand],
        table: ast.expr,
    ) -> Static | Instruction:
        value, operand = left[1], self.expressions.lower(table)
        if not isinstance(operand, Static) or not isinstance(operand.value, tuple | bytes):
            raise self._table_refusal(table, "constants")
        items, negated = operand.value, isinstance(kind, ast.NotIn)
        if isinstance(items, tuple) and isinstance(value, Static) and is_constant(value.value):
            return Static((value.value in items) != negated)
        number = self.expressions.number(*left)
        if isinstance(items, bytes):  # CPython raises ValueError for what is no byte
            what = "what is looked for in bytes"
            number = self.builder.fit(left[0], number, BY_NAME["u8"], what)
        if not items:
            return Static(negated)
        constants = tuple(int(item) for item in items if isinstance(item, int))
        if len(constants) != len(items):
            raise self._table_refusal(table, "integers")
        return self.builder.add(graph.Member(node, number, constants, negated))

    def _table_refusal(self, table: ast.expr, what: str) -> Refusal:
        return self.builder.refusal(
            table, Rule.EXPRESSION, f"`in` needs a tuple of {what}",
            "compare one by one, with `or`",
        )  # fmt: skip

    def _identity(
        self, node: ast.Compare, kind: ast.Is | ast.IsNot, left: Operand, right: Operand
    ) -> Static:
        """`is` of two constants, one of them None, a record, a function or a class."""
        match left, right:
            case Static(first), Static(second):
                if any(
                    item is None or isinstance(item, Record) or callable(item)
                    for item in (first, second)
                ):
                    return Static((first is second) != isinstance(kind, ast.IsNot))
        raise self._operator_refusal(node, "is")

    def _operator(
        self, node: ast.Compare, kind: ast.cmpop
    ) -> tuple[str, Callable[[int, int], bool]]:
        if type(kind) in COMPARISONS:
            return COMPARISONS[type(kind)]
        name = "in" if isinstance(kind, ast.In | ast.NotIn) else "is"
        raise self._operator_refusal(node, name)

    def _operator_refusal(self, node: ast.Compare, name: str) -> Refusal:
        return self.builder.refusal(
            node, Rule.OPERATOR, f"`{name}` has no compiled form here", "compare with == or !="
        )

    def _comparison(
        self,
        node: ast.Compare,
        kind: ast.cmpop,
        left: tuple[ast.expr, Operand],
        right: tuple[ast.expr, Operand],
    ) -> Static | Instruction:
        """A comparison of two operands, each with what it is the value of."""
        symbol, compute = self._operator(node, kind)
        match left[1], right[1]:
            case Static(int() as first), Static(int() as second):
                return Static(compute(first, second))
            case Static(item), Static(other) if symbol in ("==", "!="):
                if is_constant(item) and is_constant(other):
                    return Static((item == other) == (symbol == "=="))
        if any(isinstance(item, Instruction) and item.reference for _, item in (left, right)):
            raise self.builder.refusal(
                node, Rule.STRUCT, "structs are not compared", "compare their fields"
            )
        number = self.expressions.number
        return self.builder.add(graph.Compare(node, symbol, number(*left), number(*right)))

    def _from_condition(self, node: ast.expr) -> Operand:
        """A condition as a value: 1 or 0."""
        builder, result = self.builder, self.builder.new_local()
        then, otherwise, done = Block(), Block(), Block()
        self.jump(node, then, otherwise)
        if not (then.entered and otherwise.entered):
            builder.place(then if then.entered else otherwise)
            return Static(then.entered)
        for block, number in ((then, 1), (otherwise, 0)):
            builder.place(block)
            builder.add(graph.WriteLocal(node, result, builder.constant(node, number)))
            builder.jump(node, done)
        builder.place(done)
        return builder.add(graph.ReadLocal(node, result))

    def conditional(self, node: ast.IfExp) -> Operand:
        """`a if condition else b`: both integers, or both of one struct type."""
        builder = self.builder
        then, otherwise, done = Block(), Block(), Block()
        self.jump(node.test, then, otherwise)
        if not (then.entered and otherwise.entered):
            builder.place(then if then.entered else otherwise)
            return self.expressions.lower(node.body if then.entered else node.orelse)
        builder.place(then)
        value = self.expressions.value(node.body)
        result = builder.new_local(reference=value.reference)
        builder.add(graph.WriteLocal(node.body, result, value))
        builder.jump(node, done)
        builder.place(otherwise)
        value = self.expressions.value(node.orelse)
        if value.reference != result.reference:
            raise builder.refusal(
                node, Rule.STRUCT, "the two sides are of different types",
                "choose between integers, or between structs of one type",
            )  # fmt: skip
        builder.add(graph.WriteLocal(node.orelse, result, value))
        builder.jump(node, done)
        builder.place(done)
        return builder.add(graph.ReadLocal(node, result))
