"""Statements: from Python's syntax tree to blocks."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Several, Static
from vestige.lang.compiler.expressions import Expressions
from vestige.lang.compiler.graph import Block, Graph, Instruction, Local
from vestige.lang.compiler.kinds import Integer
from vestige.lang.compiler.program import Function, Program
from vestige.lang.errors import Refusal, Rule

CURES = {
    ast.Assert: "use check(condition): a PANIC with this line",
    ast.Raise: "use panic(code), or return an error the caller looks at",
    ast.Try: "return an error the caller looks at",
    ast.TryStar: "return an error the caller looks at",
    ast.With: "call acquire and release by name",
    ast.Global: "keep state in a Struct that is passed in",
    ast.Nonlocal: "keep state in a Struct that is passed in",
    ast.FunctionDef: "define it at module level",
    ast.ClassDef: "define it at module level",
    ast.Import: "import at module level",
    ast.ImportFrom: "import at module level",
    ast.Delete: "leave it out",
}


@dataclass(frozen=True, slots=True)
class Loop:
    """Where `continue` and `break` go."""

    again: Block
    done: Block


class Statements:
    """Lowers the statements of one function."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.expressions = Expressions(builder)
        self.loops: list[Loop] = []
        self._lower: dict[type[ast.stmt], Callable[..., None]] = {
            ast.Expr: self._expression,
            ast.Pass: lambda node: None,
            ast.Return: self._return,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.If: self._if,
            ast.While: self._while,
            ast.For: self._for,
            ast.Break: lambda node: builder.jump(node, self.loops[-1].done),
            ast.Continue: lambda node: builder.jump(node, self.loops[-1].again),
            ast.Match: self._match,
        }

    def lower(self, body: Sequence[ast.stmt]) -> None:
        """A suite of statements."""
        for node in body:
            lower = self._lower.get(type(node))
            if lower is None:
                kind = type(node).__name__
                raise self.builder.refusal(
                    node, Rule.STATEMENT, f"{kind} statements have no compiled form",
                    CURES.get(type(node), "write it with if, while, for, match and calls"),
                )  # fmt: skip
            lower(node)

    def _expression(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return  # a docstring
        self.expressions.lower(node.value)

    def _return(self, node: ast.Return) -> None:
        function, builder = self.builder.function, self.builder
        if function.never_returns:
            raise builder.refusal(
                node, Rule.RETURN, f"{function.name} is annotated NoReturn", "remove this return"
            )
        values = self._returned(node) if node.value is not None else ()
        if isinstance(node.value, ast.Constant) and node.value.value is None:
            values = ()
        if len(values) != len(function.results):
            count = len(function.results)
            raise builder.refusal(
                node, Rule.RETURN, f"{function.name} returns {count} values, {len(values)} here",
                "return what the annotation says",
            )  # fmt: skip
        fitted = []
        for value, kind in zip(values, function.results, strict=True):
            what = f"the value {function.name} returns"
            if isinstance(kind, Integer) and value.reference is None:
                fitted.append(builder.fit(node.value or node, value, kind, what))
            elif value.reference == kind:
                fitted.append(value)
            else:
                raise builder.refusal(
                    node, Rule.STRUCT, f"{what} is no {kind.name}", f"return a {kind.name}"
                )
        builder.add(graph.Return(node, tuple(fitted)))

    def _returned(self, node: ast.Return) -> tuple[Instruction, ...]:
        value = node.value
        if value is None or (isinstance(value, ast.Constant) and value.value is None):
            return ()
        if self.builder.function.returns_tuple:
            return self._items(value, len(self.builder.function.results))
        return (self.expressions.value(value),)

    # ---- assignments ---------------------------------------------------------------------------
    def _items(self, node: ast.expr, count: int) -> tuple[Instruction, ...]:
        """The items of a tuple, all evaluated."""
        operand = self.expressions.lower(node)
        if isinstance(operand, Static) and isinstance(operand.value, tuple):
            items = tuple(self.builder.constant(node, item) for item in operand.value)
        elif isinstance(operand, Several):
            items = operand.items
        else:
            items = ()
        if len(items) != count:
            raise self.builder.refusal(
                node, Rule.TUPLE, f"a tuple of {count} is needed here", "give each its value"
            )
        return items

    def _assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Tuple | ast.List):
            if len(node.targets) > 1:
                raise self.builder.refusal(
                    node, Rule.STATEMENT, "a tuple is assigned to two places", "assign twice"
                )
            targets = node.targets[0].elts
            values = self._items(node.value, len(targets))
            for target, value in zip(targets, values, strict=True):
                self._store(target, value)
            return
        value = self.expressions.value(node.value)
        for target in node.targets:
            self._store(target, value)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            raise self.builder.refusal(
                node, Rule.ANNOTATION, "only locals are annotated here", "annotate it in the class"
            )
        value = self.expressions.value(node.value) if node.value is not None else None
        self.builder.declare(node, node.target.id, node.annotation)
        if value is not None:
            self.builder.write(node, node.target.id, value)

    def _augmented(self, node: ast.AugAssign) -> None:
        self.expressions.check_operator(node, node.op)
        operate, integer = self.expressions.operate, self.expressions.integer
        if isinstance(node.target, ast.Name):
            old = self.expressions.number(node.target, self.builder.name(node.target))
            value = operate(node, node.op, old, integer(node.value))
            self.builder.write(node, node.target.id, value)
            return
        address, kind = self.expressions.place(node.target)
        old = self.expressions.require_integer(
            node.target, self.expressions.load(node.target, address, kind)
        )
        value = operate(node, node.op, old, integer(node.value))
        if isinstance(kind, Integer):
            self.builder.add(graph.Store(node, address, kind, value))

    def _store(self, target: ast.expr, value: Instruction) -> None:
        if isinstance(target, ast.Name):
            self.builder.write(target, target.id, value)
            return
        if not isinstance(target, ast.Attribute | ast.Subscript):
            raise self.builder.refusal(
                target, Rule.STATEMENT, "this can't be assigned to",
                "assign to names, fields and elements",
            )  # fmt: skip
        address, kind = self.expressions.place(target)
        if isinstance(kind, Integer):
            value = self.expressions.require_integer(target, value)
            self.builder.add(graph.Store(target, address, kind, value))
        elif value.reference == kind:
            self.builder.add(graph.CopyStruct(target, address, value, kind.size))
        else:
            raise self.builder.refusal(
                target, Rule.STRUCT, f"this field is a {kind.name}, the value is not",
                f"assign a {kind.name}",
            )  # fmt: skip

    # ---- control flow --------------------------------------------------------------------------
    def _if(self, node: ast.If) -> None:
        then, otherwise, done = Block(), Block(), Block()
        self.expressions.conditions.jump(node.test, then, otherwise)
        self.builder.place(then)
        self.lower(node.body)
        self.builder.jump(node, done)
        self.builder.place(otherwise)
        self.lower(node.orelse)
        self.builder.jump(node, done)
        self.builder.place(done)

    def _refuse_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            raise self.builder.refusal(
                node.orelse[0], Rule.STATEMENT, "a loop's else has no compiled form",
                "set a local before break, and test it after the loop",
            )  # fmt: skip

    def _while(self, node: ast.While) -> None:
        self._refuse_else(node)
        head, body, done = Block(loop_head=True), Block(), Block()
        self.builder.jump(node, head)
        self.builder.place(head)
        self.expressions.conditions.jump(node.test, body, done)
        self.builder.place(body)
        self._body(node, Loop(head, done))
        self.builder.jump(node, head)
        self.builder.place(done)

    def _body(self, node: ast.While | ast.For, loop: Loop) -> None:
        self.loops.append(loop)
        self.lower(node.body)
        self.loops.pop()

    def _for(self, node: ast.For) -> None:
        self._refuse_else(node)
        if not isinstance(node.target, ast.Name):
            raise self.builder.refusal(
                node.target, Rule.LOOP, "a loop counts one name", "use one name"
            )
        start, stop, step = self._range(node)
        builder, add = self.builder, self.builder.add
        counter, limit = builder.new_local(), builder.new_local()
        add(graph.StartCounter(node, counter, start, stop, step))
        add(graph.WriteLocal(node.iter, limit, stop))
        head, body, again, done = Block(loop_head=True), Block(), Block(), Block()
        builder.jump(node, head)
        builder.place(head)
        test = graph.Compare(
            node.iter, "<" if step > 0 else ">",
            add(graph.ReadLocal(node, counter)), add(graph.ReadLocal(node, limit)),
        )  # fmt: skip
        add(graph.Branch(node, add(test), body, done))
        builder.place(body)
        builder.write(node.target, node.target.id, add(graph.ReadLocal(node, counter)))
        self._body(node, Loop(again, done))
        builder.jump(node, again)
        builder.place(again)
        self._step(node, counter, step)
        builder.jump(node, head)
        builder.place(done)

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

    # ---- match ---------------------------------------------------------------------------------
    def _match(self, node: ast.Match) -> None:
        builder, done = self.builder, Block()
        value = self.expressions.integer(node.subject)
        if isinstance(value, graph.ReadLocal):
            local = value.local  # each test narrows what the local can be
        else:
            local = builder.new_local()
            builder.add(graph.WriteLocal(node.subject, local, value))
        for case in node.cases:
            body, following = Block(), Block()
            self._pattern(case.pattern, local, body, following)
            builder.place(body)
            if case.guard is not None:
                guarded = Block()
                self.expressions.conditions.jump(case.guard, guarded, following)
                builder.place(guarded)
            self.lower(case.body)
            builder.jump(case.pattern, done)
            builder.place(following)
        builder.jump(node, done)
        builder.place(done)

    def _pattern(self, pattern: ast.pattern, local: Local, body: Block, following: Block) -> None:
        """Jump to `body` where the pattern matches, else to `following`."""
        builder = self.builder
        match pattern:
            case ast.MatchAs(None, None):
                builder.jump(pattern, body)
            case ast.MatchOr(patterns):
                for alternative in patterns[:-1]:
                    more = Block()
                    self._pattern(alternative, local, body, more)
                    builder.place(more)
                self._pattern(patterns[-1], local, body, following)
            case ast.MatchValue(expression):
                number = self.expressions.lower(expression)
                if not isinstance(number, Static) or not isinstance(number.value, int):
                    raise self._pattern_refusal(pattern)
                constant = self.expressions.at_run_time(expression, number)
                read = builder.add(graph.ReadLocal(pattern, local))
                test = builder.add(graph.Compare(pattern, "==", read, constant))
                builder.add(graph.Branch(pattern, test, body, following))
            case _:
                raise self._pattern_refusal(pattern)

    def _pattern_refusal(self, pattern: ast.pattern) -> Refusal:
        return self.builder.refusal(
            pattern, Rule.PATTERN, "a case is a constant, A | B, or _", "use if for anything else"
        )


def build(program: Program, function: Function) -> Graph:
    """The graph of one function."""
    builder = Builder(program, function)
    statements = Statements(builder)
    statements.lower(function.tree.body)
    if not builder.ended:
        builder.add(graph.End(function.tree.body[-1]))
    return Graph(builder.blocks, builder.locals, builder.calls)
