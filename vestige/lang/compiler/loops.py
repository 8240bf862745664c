"""Loops: `while`, and `for` over a range."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Static
from vestige.lang.compiler.expressions import Expressions
from vestige.lang.compiler.graph import Block, Instruction, Local
from vestige.lang.errors import Rule


@dataclass(frozen=True, slots=True)
class Loop:
    """Where `continue` and `break` go."""

    again: Block
    done: Block


class Loops:
    """Lowers the loops of one function; `lower` lowers a suite of statements."""

    def __init__(
        self,
        builder: Builder,
        expressions: Expressions,
        lower: Callable[[Sequence[ast.stmt]], None],
    ) -> None:
        self.builder, self.expressions, self._lower = builder, expressions, lower
        self._around: list[Loop] = []  # the innermost last

    def leave(self, node: ast.Break) -> None:
        """`break`."""
        self.builder.jump(node, self._around[-1].done)

    def go_on(self, node: ast.Continue) -> None:
        """`continue`."""
        self.builder.jump(node, self._around[-1].again)

    def lower_while(self, node: ast.While) -> None:
        """`while`, and its `else`."""
        head, body, otherwise, done = Block(), Block(), Block(), Block()
        self.builder.jump(node, head)
        self.builder.place(head)
        self.expressions.conditions.jump(node.test, body, otherwise)
        if self.builder.enter(body):
            self._body(node, Loop(head, done))
            self.builder.jump(node, head)
        self._end(node, otherwise, done)

    def _body(self, node: ast.While | ast.For, loop: Loop) -> None:
        self._around.append(loop)
        self._lower(node.body)
        self._around.pop()

    def _end(self, node: ast.While | ast.For, otherwise: Block, done: Block) -> None:
        """A loop that is not left by `break` comes through its `else`."""
        if self.builder.enter(otherwise):
            self._lower(node.orelse)
            self.builder.jump(node, done)
        self.builder.enter(done)

    # ---- for -----------------------------------------------------------------------------------
    def lower_for(self, node: ast.For) -> None:
        """`for`, and its `else`."""
        if not isinstance(node.target, ast.Name):
            raise self.builder.refusal(
                node.target, Rule.LOOP, "a loop counts one name", "use one name"
            )
        start, stop, step = self._range(node)
        builder, add = self.builder, self.builder.add
        counter, limit = builder.new_local(), builder.new_local()
        add(graph.StartCounter(node, counter, start, stop, step))
        add(graph.WriteLocal(node.iter, limit, stop))
        head, body, again, otherwise, done = (Block() for _ in range(5))
        builder.jump(node, head)
        builder.place(head)
        test = graph.Compare(
            node.iter, "<" if step > 0 else ">",
            add(graph.ReadLocal(node, counter)), add(graph.ReadLocal(node, limit)),
        )  # fmt: skip
        builder.branch(node, add(test), body, otherwise)
        builder.place(body)
        builder.write(node.target, node.target.id, add(graph.ReadLocal(node, counter)))
        self._body(node, Loop(again, done))
        builder.jump(node, again)
        if builder.enter(again):
            self._step(node, counter, step)
            builder.jump(node, head)
        self._end(node, otherwise, done)

    def _step(self, node: ast.For, counter: Local, step: int) -> None:
        add = self.builder.add
        following = graph.Binary(
            node, "+", add(graph.ReadLocal(node, counter)), self.builder.constant(node, step)
        )
        add(graph.WriteLocal(node, counter, add(following)))

    def _range(self, node: ast.For) -> tuple[Instruction, Instruction, int]:
        call = node.iter
        callee = self.expressions.lower(call.func) if isinstance(call, ast.Call) else None
        if not isinstance(call, ast.Call) or callee != Static(range):
            raise self.builder.refusal(
                node.iter, Rule.LOOP, "for loops run over range(…) only",
                "for i in range(len(table)): … table[i]",
            )  # fmt: skip
        if call.keywords or not 1 <= len(call.args) <= 3:
            raise self.builder.refusal(
                call, Rule.LOOP, "range takes one to three integers", "fix it"
            )
        step = 1
        bounds = [self.expressions.integer(argument) for argument in call.args[:2]]
        if len(call.args) == 3:
            operand = self.expressions.lower(call.args[2])
            if not isinstance(operand, Static) or not isinstance(operand.value, int):
                step = 0
            else:
                step = int(operand.value)
            if step == 0:
                raise self.builder.refusal(
                    call.args[2], Rule.LOOP, "the step is not a constant other than 0",
                    "use a constant step, or while",
                )  # fmt: skip
        if len(bounds) == 1:
            bounds.insert(0, self.builder.constant(call, 0))
        return bounds[0], bounds[1], step
