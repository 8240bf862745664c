"""Statements: from Python's syntax tree to blocks."""

import ast
from collections.abc import Callable, Sequence

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Several, Static
from vestige.lang.compiler.expressions import Expressions
from vestige.lang.compiler.graph import Block, Graph, Instruction, Local
from vestige.lang.compiler.kinds import Integer
from vestige.lang.compiler.loops import Loops
from vestige.lang.compiler.program import Function, Program
from vestige.lang.errors import Refusal, Rule
from vestige.lang.records import is_constant

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


class Statements:
    """Lowers the statements of one function."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.expressions = Expressions(builder)
        self.loops = Loops(builder, self.expressions, self.lower)
        self._lower: dict[type[ast.stmt], Callable[..., None]] = {
            ast.Expr: self._expression,
            ast.Pass: lambda node: None,
            ast.Return: self._return,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.If: self._if,
            ast.While: self.loops.lower_while,
            ast.For: self.loops.lower_for,
            ast.Break: self.loops.leave,
            ast.Continue: self.loops.go_on,
            ast.Match: self._match,
        }

    def lower(self, body: Sequence[ast.stmt]) -> None:
        """A suite of statements, as far as a way leads."""
        for node in body:
            if self.builder.ended:
                return
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
                    node.value or node, Rule.STRUCT, f"{what} is no {kind.name}",
                    f"return a {kind.name}",
                )  # fmt: skip
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
        items: tuple[Instruction, ...]
        if isinstance(operand, Static) and isinstance(operand.value, tuple):
            at_run_time = self.expressions.at_run_time
            items = tuple(at_run_time(node, Static(item)) for item in operand.value)
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
        self.builder.declare(node, node.target.id, node.annotation, value)
        if value is not None:
            self.builder.write(node, node.target.id, value)

    def _augmented(self, node: ast.AugAssign) -> None:
        self.expressions.check_operator(node, node.op)
        operate, integer = self.expressions.operate, self.expressions.integer
        if isinstance(node.target, ast.Name):
            self.builder.check_assignable(node.target, node.target.id)
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
        for block, body in ((then, node.body), (otherwise, node.orelse)):
            if self.builder.enter(block):
                self.lower(body)
                self.builder.jump(node, done)
        self.builder.enter(done)

    # ---- match ---------------------------------------------------------------------------------
    def _match(self, node: ast.Match) -> None:
        builder, done = self.builder, Block()
        subject = self._subject(node.subject)
        for case in node.cases:
            body, following = Block(), Block()
            self._pattern(case.pattern, subject, body, following)
            if builder.enter(body):
                if case.guard is not None:
                    body = Block()
                    self.expressions.conditions.jump(case.guard, body, following)
                if case.guard is None or builder.enter(body):
                    self.lower(case.body)
                    builder.jump(case.pattern, done)
            if not builder.enter(following):
                break
        builder.jump(node, done)
        builder.enter(done)

    def _subject(self, node: ast.expr) -> Static | Local:
        """What is matched: a constant, or a local that each test narrows."""
        operand = self.expressions.lower(node)
        if isinstance(operand, Static) and is_constant(operand.value):
            return operand
        value = self.expressions.number(node, operand)
        if isinstance(value, graph.ReadLocal):
            return value.local
        local = self.builder.new_local()
        self.builder.add(graph.WriteLocal(node, local, value))
        return local

    def _pattern(
        self, pattern: ast.pattern, subject: Static | Local, body: Block, following: Block
    ) -> None:
        """Jump to `body` where the pattern matches, else to `following`."""
        builder = self.builder
        match pattern, subject:
            case ast.MatchAs(None, None), _:
                builder.jump(pattern, body)
            case ast.MatchOr(patterns), _:
                for alternative in patterns[:-1]:
                    more = Block()
                    self._pattern(alternative, subject, body, more)
                    if not builder.enter(more):
                        return
                self._pattern(patterns[-1], subject, body, following)
            case ast.MatchSingleton(value), Static():
                builder.branch(pattern, Static(subject.value is value), body, following)
            case ast.MatchValue(expression), _:
                test = self._equals(pattern, subject, expression)
                builder.branch(pattern, test, body, following)
            case _:
                raise self._pattern_refusal(pattern)

    def _equals(
        self, pattern: ast.pattern, subject: Static | Local, expression: ast.expr
    ) -> Static | Instruction:
        """Whether the subject is the constant of a pattern."""
        constant = self.expressions.lower(expression)
        if not isinstance(constant, Static) or not is_constant(constant.value):
            raise self._pattern_refusal(pattern)
        if isinstance(subject, Static):
            return Static(subject.value == constant.value)
        if not isinstance(constant.value, int):
            raise self._pattern_refusal(pattern)
        number = self.expressions.at_run_time(expression, constant)
        read = self.builder.add(graph.ReadLocal(pattern, subject))
        return self.builder.add(graph.Compare(pattern, "==", read, number))

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
