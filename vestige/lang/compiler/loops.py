"""Loops: `while`; `for` over a range; `for` over constants, which is unrolled."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Static
from vestige.lang.compiler.expressions import Expressions
from vestige.lang.compiler.graph import Block, Instruction, Local
from vestige.lang.errors import Rule

MAX_COPIES = 1024  # of one statement, by all the unrolled loops around it


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
        self._copies = 1  # of what is lowered now

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
        call = node.iter
        callee = self.expressions.lower(call.func) if isinstance(call, ast.Call) else None
        if isinstance(call, ast.Call) and callee == Static(range):
            self._count(node, call)
        elif isinstance(call, ast.Call) and callee == Static(enumerate):
            self._enumerate(node, call)
        else:
            (name,) = self._names(node, 1)
            self._unroll(node, [{name: row} for row in self._rows(node.iter)])

    def _names(self, node: ast.For, count: int) -> list[str]:
        """The names a loop sets: one; two where it enumerates."""
        target = node.target
        items = target.elts if isinstance(target, ast.Tuple) and count > 1 else [target]
        names = [item.id for item in items if isinstance(item, ast.Name)]
        if len(names) != count:
            what = "one name" if count == 1 else "a number and a name"
            raise self.builder.refusal(
                target, Rule.LOOP, f"this loop sets {what}",
                f"use {what}, and take a record's fields inside",
            )  # fmt: skip
        return names

    def _count(self, node: ast.For, call: ast.Call) -> None:
        """`for … in range(…)`."""
        (name,) = self._names(node, 1)
        start, stop, step = self._range(call)
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
        builder.write(node.target, name, add(graph.ReadLocal(node, counter)))
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

    def _range(self, call: ast.Call) -> tuple[Instruction, Instruction, int]:
        if call.keywords or not 1 <= len(call.args) <= 3:
            raise self.builder.refusal(
                call, Rule.LOOP, "range takes one to three integers",
                "range(stop), range(start, stop) or range(start, stop, step)",
            )  # fmt: skip
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

    # ---- for over constants ----------------------------------------------------------------------
    def _rows(self, node: ast.expr) -> tuple[object, ...] | bytes:
        """The constants a loop runs over."""
        operand = None if isinstance(node, ast.Call) else self.expressions.lower(node)
        if not isinstance(operand, Static) or not isinstance(operand.value, tuple | bytes):
            raise self.builder.refusal(
                node, Rule.LOOP, "for loops run over range(…) and constant tuples only",
                "for i in range(len(array)): … array[i]",
            )  # fmt: skip
        return operand.value

    def _enumerate(self, node: ast.For, call: ast.Call) -> None:
        """`for number, row in enumerate(ROWS)`."""
        if call.keywords or len(call.args) != 1:
            raise self.builder.refusal(
                call, Rule.LOOP, "enumerate takes one constant tuple", "count from 0"
            )
        number, name = self._names(node, 2)
        rows = self._rows(call.args[0])
        self._unroll(node, [{number: position, name: row} for position, row in enumerate(rows)])

    def _unroll(self, node: ast.For, turns: Sequence[dict[str, object]]) -> None:
        """The body once for each turn, in which the loop's names are constants.

        A local first assigned in a turn belongs to that turn, so that it can refer to a struct of
        another type in each.
        """
        builder, outside, done = self.builder, self._copies, Block()
        self._check_names(node, turns)
        self._copies *= max(1, len(turns))
        for turn in turns:
            before, copy, following = dict(builder.names), Block(), Block()
            builder.rows |= turn
            builder.jump(node, copy)
            builder.place(copy)
            self._body(node, Loop(following, done))
            builder.jump(node, following)
            builder.gone |= dict.fromkeys(builder.names.keys() - before, node.lineno)
            builder.names = before
            if not builder.enter(following):
                break
        for name in turns[0] if turns else ():
            del builder.rows[name]
            builder.gone[name] = node.lineno
        self._copies = outside
        otherwise = Block()
        builder.jump(node, otherwise)
        self._end(node, otherwise, done)

    def _check_names(self, node: ast.For, turns: Sequence[dict[str, object]]) -> None:
        """Refuse names that are something else in this function, and more copies than are sane."""
        for name in turns[0] if turns else ():
            self.builder.check_assignable(node.target, name)
            if name in self.builder.names:
                raise self.builder.refusal(
                    node.target, Rule.KIND, f"{name} is a local elsewhere in this function",
                    "use another name",
                )  # fmt: skip
        copies = self._copies * len(turns)
        if copies > MAX_COPIES:
            raise self.builder.refusal(
                node.iter, Rule.LOOP, f"the body would be there {copies} times, once for each turn",
                f"for i in range(len(TABLE)), or at most {MAX_COPIES} turns",
            )  # fmt: skip
