"""Conditions: comparisons, `and`, `or`, `not`, `a if c else b`, as jumps and as values."""

import ast
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Operand, Static
from vestige.lang.compiler.graph import Block, Instruction
from vestige.lang.errors import Rule

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
        """Jump to `then` if the expression is true, else to `otherwise`, evaluating as Python."""
        match node:
            case ast.UnaryOp(ast.Not(), operand):
                self.jump(operand, otherwise, then)
            case ast.BoolOp(ast.And(), values):
                for value in values[:-1]:
                    more = Block()
                    self.jump(value, more, otherwise)
                    self.builder.place(more)
                self.jump(values[-1], then, otherwise)
            case ast.BoolOp(ast.Or(), values):
                for value in values[:-1]:
                    more = Block()
                    self.jump(value, then, more)
                    self.builder.place(more)
                self.jump(values[-1], then, otherwise)
            case ast.Compare() if len(node.ops) > 1:
                self._chain(node, then, otherwise)
            case _:
                self.builder.add(
                    graph.Branch(node, self.expressions.integer(node), then, otherwise)
                )

    def _chain(self, node: ast.Compare, then: Block, otherwise: Block) -> None:
        """`a < b < c`: c is evaluated only where a < b."""
        left = self.expressions.integer(node.left)
        for kind, comparator in zip(node.ops[:-1], node.comparators[:-1], strict=True):
            self._operator(node, kind)
            more, right = Block(), self.expressions.integer(comparator)
            test = self._comparison(node, kind, left, right)
            self.builder.add(graph.Branch(node, test, more, otherwise))
            self.builder.place(more)
            left = right
        kind, last = node.ops[-1], node.comparators[-1]
        if isinstance(kind, ast.In | ast.NotIn):
            test = self._member(node, kind, left, last)
        else:
            test = self._comparison(node, kind, left, self.expressions.integer(last))
        self.builder.add(graph.Branch(node, test, then, otherwise))

    def logical(self, node: ast.BoolOp) -> Operand:
        """`a and b` as a value: Python's, the first operand that decides."""
        result, done = self.builder.new_local(), Block()
        for position, operand in enumerate(node.values):
            value = self.expressions.integer(operand)
            self.builder.add(graph.WriteLocal(operand, result, value))
            if position < len(node.values) - 1:
                more = Block()
                then, otherwise = (more, done) if isinstance(node.op, ast.And) else (done, more)
                self.builder.add(graph.Branch(operand, value, then, otherwise))
                self.builder.place(more)
        self.builder.jump(node, done)
        self.builder.place(done)
        return self.builder.add(graph.ReadLocal(node, result))

    def compare(self, node: ast.Compare) -> Operand:
        """A comparison, or a chain of them, as a value."""
        if len(node.ops) > 1:
            return self._from_condition(node)
        kind, first = node.ops[0], self.expressions.lower(node.left)
        if isinstance(kind, ast.In | ast.NotIn):
            value = self.expressions.number(node.left, first)
            return self._member(node, kind, value, node.comparators[0])
        _, compute = self._operator(node, kind)
        second = self.expressions.lower(node.comparators[0])
        match first, second:
            case Static(int() as left), Static(int() as right):
                return Static(compute(left, right))
        self._refuse_structs(node, first, second)
        return self._comparison(
            node,
            kind,
            self.expressions.number(node.left, first),
            self.expressions.number(node.comparators[0], second),
        )

    def _refuse_structs(self, node: ast.Compare, *operands: Operand) -> None:
        if any(isinstance(item, Instruction) and item.reference for item in operands):
            raise self.builder.refusal(
                node, Rule.STRUCT, "structs are not compared", "compare their fields"
            )

    def _member(
        self, node: ast.Compare, kind: ast.In | ast.NotIn, value: Instruction, table: ast.expr
    ) -> Instruction:
        operand = self.expressions.lower(table)
        if not isinstance(operand, Static) or not isinstance(operand.value, tuple | bytes):
            raise self.builder.refusal(
                table, Rule.EXPRESSION, "`in` needs a tuple of constants",
                "compare one by one, with `or`",
            )  # fmt: skip
        constants = tuple(int(item) for item in operand.value)
        return self.builder.add(graph.Member(node, value, constants, isinstance(kind, ast.NotIn)))

    def _operator(
        self, node: ast.Compare, kind: ast.cmpop
    ) -> tuple[str, Callable[[int, int], bool]]:
        if type(kind) in COMPARISONS:
            return COMPARISONS[type(kind)]
        name = "in" if isinstance(kind, ast.In | ast.NotIn) else "is"
        raise self.builder.refusal(
            node, Rule.OPERATOR, f"`{name}` has no compiled form here", "compare with == or !="
        )

    def _comparison(
        self, node: ast.Compare, kind: ast.cmpop, left: Instruction, right: Instruction
    ) -> Instruction:
        symbol, _ = self._operator(node, kind)
        return self.builder.add(graph.Compare(node, symbol, left, right))

    def _from_condition(self, node: ast.expr) -> Instruction:
        """A condition as a value: 1 or 0."""
        builder, result = self.builder, self.builder.new_local()
        then, otherwise, done = Block(), Block(), Block()
        self.jump(node, then, otherwise)
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
