"""Building a function's graph: the block being filled, the locals, the names in sight."""

import ast
import builtins
from dataclasses import dataclass
from enum import Flag
from types import FunctionType, ModuleType
from typing import TypeVar

from vestige.lang.compiler import graph
from vestige.lang.compiler.graph import Block, Instruction, Local, Node
from vestige.lang.compiler.kinds import BOOL, BY_NAME, Integer, Reference, evaluated, kind_of
from vestige.lang.compiler.program import Function, Program
from vestige.lang.enumeration import IntFlag
from vestige.lang.errors import Refusal, Rule
from vestige.lang.records import is_constant

AnyInstruction = TypeVar("AnyInstruction", bound=Instruction)
ENDS = (graph.Jump, graph.Branch, graph.Return, graph.Panic, graph.End, graph.Unreachable)


@dataclass(frozen=True, slots=True)
class Static:
    """A compile-time value: a constant, a table, a function, a class, a module."""

    value: object


@dataclass(frozen=True, slots=True)
class Method:
    """A method and the struct it is called on."""

    receiver: Instruction
    function: FunctionType


@dataclass(frozen=True, slots=True)
class Several:
    """The items of a tuple: of a display, or what a call returned."""

    items: tuple[Instruction, ...]


Operand = Instruction | Static | Method | Several


class Builder:
    """The graph of one function while it is built."""

    def __init__(self, program: Program, function: Function) -> None:
        self.program, self.function = program, function
        self.blocks: list[Block] = []
        self.locals: list[Local] = []
        self.calls: list[graph.Call] = []
        self.names: dict[str, Local] = {}
        # Names of the unrolled loops around, and of parameters that are given, and what each is.
        self.rows = dict(function.constants)
        self.gone: dict[str, int] = {}  # names an unrolled loop had, and the line of it
        self.assigned = frozenset(function.python.__code__.co_varnames)
        self.block = Block(entered=True)
        self.place(self.block)
        for parameter in function.parameters:
            kind = parameter.kind
            reference = kind if isinstance(kind, Reference) else None
            self.names[parameter.name] = self.new_local(parameter.name, reference)

    def refusal(self, node: Node, rule: Rule, reason: str, cure: str) -> Refusal:
        """Why the function is refused, pointing at `node`."""
        return self.function.refusal(node, rule, reason, cure, self.rows)

    # ---- blocks --------------------------------------------------------------------------------
    def add(self, instruction: AnyInstruction) -> AnyInstruction:
        """Append to the current block."""
        self.block.instructions.append(instruction)
        return instruction

    @property
    def ended(self) -> bool:
        """Whether no way leads here: what would follow is not lowered."""
        instructions = self.block.instructions
        return bool(instructions) and isinstance(instructions[-1], ENDS)

    def place(self, block: Block) -> None:
        """Go on in `block`, after all that is placed already."""
        block.number, block.rows = len(self.blocks), dict(self.rows)
        self.blocks.append(block)
        self.block = block

    def enter(self, block: Block) -> bool:
        """Go on in `block` if a jump leads there; whether one does."""
        if block.entered:
            self.place(block)
        return block.entered

    def jump(self, node: Node, target: Block) -> None:
        """Jump to `target`, unless the current block has ended."""
        if not self.ended:
            target.entered = True
            self.add(graph.Jump(node, target))

    def branch(
        self, node: Node, condition: Static | Instruction, then: Block, otherwise: Block
    ) -> None:
        """Jump to `then` if `condition` is true, else to `otherwise`. A constant decides now."""
        if isinstance(condition, Static):
            self.jump(node, then if condition.value else otherwise)
        else:
            then.entered = otherwise.entered = True
            self.add(graph.Branch(node, condition, then, otherwise))

    # ---- locals --------------------------------------------------------------------------------
    def new_local(self, name: str = "", reference: Reference | None = None) -> Local:
        """A new local."""
        local = Local(name, reference, number=len(self.locals))
        self.locals.append(local)
        return local

    def write(self, node: Node, name: str, value: Instruction) -> None:
        """Assign a named local; it keeps the kind of its first value."""
        self.check_assignable(node, name)
        local = self.names.get(name)
        if local is None:
            local = self.names[name] = self.new_local(name, value.reference)
        if local.reference != value.reference:
            old, new = (_kind_name(item) for item in (local.reference, value.reference))
            raise self.refusal(
                node, Rule.KIND, f"{name} holds {old} elsewhere in this function, and {new} here",
                "use another name",
            )  # fmt: skip
        if local.declared is not None:
            kind = local.declared
            value = self.fit(node, value, kind, name, f"wrap it: {name} = {kind.name}(…)")
        self.add(graph.WriteLocal(node, local, value))

    def check_assignable(self, node: Node, name: str) -> None:
        """Refuse to assign the name of an unrolled loop, or a parameter that is given."""
        if name in self.function.constants:
            raise self.refusal(
                node, Rule.KIND, f"{name} is a constant in each call of {self.function.name}",
                "assign to another name",
            )  # fmt: skip
        if name in self.rows:
            raise self.refusal(
                node, Rule.LOOP, f"{name} is a constant in each turn of its loop",
                "assign to another name",
            )  # fmt: skip

    def declare(
        self, node: Node, name: str, annotation: ast.expr, value: Instruction | None
    ) -> None:
        """`name: annotation = value`, anywhere in the function; the value may be missing.

        A Protocol says to a type checker what the struct can do; here the struct itself is known.
        """
        self.check_assignable(node, name)
        code = compile(ast.Expression(annotation), self.function.source.name, "eval")
        annotated = evaluated(code, self.function.python.__globals__)
        kind = kind_of(annotated)
        if kind is None and getattr(annotated, "_is_protocol", False):
            if value is not None and value.reference is None:
                raise self.refusal(
                    annotation, Rule.ANNOTATION, f"{name} is an integer, and a Protocol a struct's",
                    "annotate it with u8 … i64",
                )  # fmt: skip
            return
        if kind is None and annotated is not int:
            raise self.refusal(
                annotation, Rule.ANNOTATION, f"{name} is annotated with no type of typed Python",
                "annotate it with u8 … i64, int, bool, an IntEnum, a Struct, an array T[n] or a "
                "Protocol that the struct satisfies",
            )  # fmt: skip
        reference = kind if isinstance(kind, Reference) else None
        declared = kind if isinstance(kind, Integer) else None
        local = self.names.get(name)
        if local is None:
            local = self.names[name] = self.new_local(name, reference)
            local.declared = declared
        elif (local.reference, local.declared) != (reference, declared):
            raise self.refusal(
                node, Rule.KIND, f"{name} is used before this annotation, or annotated otherwise",
                "annotate it once, where it is first assigned",
            )  # fmt: skip

    def fit(
        self, node: Node, value: Instruction, kind: Integer, what: str, cure: str = ""
    ) -> Instruction:
        """`value`, to be proved one of `kind`."""
        if kind == BOOL:
            cure = "compare it, or write bool(…)"
        elif kind.name not in BY_NAME:
            cure = f"compare it before, so that it is in {kind.interval}"
        return self.add(graph.Fit(node, kind, value, what, cure or f"wrap it: {kind.name}(…)"))

    # ---- names and constants -------------------------------------------------------------------
    def name(self, node: ast.Name) -> Operand:
        """What a name stands for here: a row, else a local, else a global, else a builtin."""
        if node.id in self.rows:
            return Static(self.rows[node.id])
        if node.id in self.names:
            return self.add(graph.ReadLocal(node, self.names[node.id]))
        if node.id in self.gone:
            raise self.refusal(
                node, Rule.UNASSIGNED,
                f"{node.id} is known only in a turn of the loop of line {self.gone[node.id]}",
                "assign a local before the loop, and again inside",
            )  # fmt: skip
        if node.id in self.assigned:
            raise self.refusal(
                node, Rule.UNASSIGNED, f"{node.id} is used before it is assigned",
                f"assign {node.id} first",
            )  # fmt: skip
        scope = self.function.python.__globals__
        if node.id in scope:
            return self.static(node, scope[node.id])
        if hasattr(builtins, node.id):
            return Static(getattr(builtins, node.id))
        raise self.refusal(
            node, Rule.NAME, f"nothing is named {node.id} here", "define it, or import it"
        )

    def static(self, node: Node, value: object) -> Static:
        """A compile-time value, if typed Python has a use for it."""
        if isinstance(value, float):
            raise self.refusal(
                node, Rule.FLOAT, "there are no floats at run time", "count in smaller units"
            )
        if isinstance(value, ModuleType) or is_constant(value):
            return Static(value)
        raise self.no_form(node, value)

    def no_form(self, node: Node, value: object) -> Refusal:
        """Why `value` can't be used as it is."""
        return self.refusal(
            node, Rule.VALUE, f"a {type(value).__name__} has no form at run time",
            "constants are int, IntEnum, IntFlag, bytes, records, and tuples of these",
        )  # fmt: skip

    def constant(self, node: Node, value: int) -> Instruction:
        """An integer constant as an instruction."""
        return self.add(graph.Constant(node, int(value), isinstance(value, Flag | IntFlag)))


def _kind_name(reference: Reference | None) -> str:
    return f"a {reference.name}" if reference else "an integer"
