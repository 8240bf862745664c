"""Expressions: from Python's syntax tree to instructions, in Python's order of evaluation."""

import ast
import ctypes
import difflib
import operator
from collections.abc import Callable
from types import FunctionType, ModuleType

from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Method, Operand, Several, Static
from vestige.lang.compiler.calls import Calls
from vestige.lang.compiler.conditions import Conditions
from vestige.lang.compiler.graph import Instruction, Node
from vestige.lang.compiler.kinds import Integer, Kind, kind_of_ctype
from vestige.lang.errors import Refusal, Rule
from vestige.lang.records import Record, is_constant

OPERATORS: dict[type[ast.operator], tuple[str, Callable[[int, int], int]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.LShift: ("<<", operator.lshift),
    ast.RShift: (">>", operator.rshift),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
    ast.BitXor: ("^", operator.xor),
}
MAX_CONSTANT_SHIFT = 4096
CURES = {
    ast.Lambda: "write a function",
    ast.NamedExpr: "assign it on a line of its own",
    ast.Slice: "loop over the indices, or use copy()",
    ast.Starred: "name each item",
}


class Expressions:
    """Lowers the expressions of one function."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.calls = Calls(self, builder)
        self.conditions = Conditions(self, builder)
        self._lower: dict[type[ast.AST], Callable[..., Operand]] = {
            ast.Constant: self._constant,
            ast.Name: builder.name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self.conditions.logical,
            ast.Compare: self.conditions.compare,
            ast.IfExp: self.conditions.conditional,
            ast.Call: self.calls.lower,
            ast.Tuple: self._tuple,
        }

    # ---- values --------------------------------------------------------------------------------
    def lower(self, node: ast.expr) -> Operand:
        """The value of any expression."""
        lower = self._lower.get(type(node))
        if lower is None:
            kind = type(node).__name__
            strings = isinstance(node, ast.JoinedStr)
            raise self.builder.refusal(
                node, Rule.STRING if strings else Rule.EXPRESSION,
                f"{kind} expressions have no compiled form",
                CURES.get(type(node), "write it with integers, structs and calls"),
            )  # fmt: skip
        return lower(node)

    def value(self, node: ast.expr) -> Instruction:
        """The value of an expression that has one at run time: an integer or a struct."""
        return self.at_run_time(node, self.lower(node))

    def integer(self, node: ast.expr) -> Instruction:
        """The value of an integer expression."""
        return self.number(node, self.lower(node))

    def number(self, node: ast.expr, operand: Operand) -> Instruction:
        """`operand`, the value of `node`, as an integer at run time."""
        return self.require_integer(node, self.at_run_time(node, operand))

    def at_run_time(self, node: ast.expr, operand: Operand) -> Instruction:
        """`operand` as an instruction with a value."""
        match operand:
            case Static(int() as number):
                return self.builder.constant(node, number)
            case Static(str()):
                raise self.builder.refusal(
                    node, Rule.STRING, "there are no strings at run time",
                    "use a number, or a bytes constant that is indexed",
                )  # fmt: skip
            case Static(None):
                raise self.builder.no_form(node, None)
            case Static(Record() as record):
                raise self.builder.refusal(
                    node, Rule.VALUE, f"a {type(record).__name__} is not a value at run time",
                    f"name one of its fields: {ast.unparse(node)}.…",
                )  # fmt: skip
            case Static(value):
                what = getattr(value, "__name__", type(value).__name__)
                raise self.builder.refusal(
                    node, Rule.VALUE, f"{what} is not a value at run time",
                    "use an integer or a struct; call a function, index a table",
                )  # fmt: skip
            case Method(_, function):
                raise self.builder.refusal(
                    node, Rule.VALUE, f"{function.__name__} is a method, not a value",
                    f"call it: {function.__name__}(…)",
                )  # fmt: skip
            case Several():
                raise self.builder.refusal(
                    node, Rule.TUPLE, "a tuple is not a value at run time",
                    "unpack it: a, b = …",
                )  # fmt: skip
            case graph.Call(function=function) if not function.results:
                raise self._nothing_returned(node, function.name)
            case graph.Intrinsic(name=name, result=None):
                raise self._nothing_returned(node, name)
        return operand

    def _nothing_returned(self, node: ast.expr, name: str) -> Refusal:
        return self.builder.refusal(
            node, Rule.VALUE, f"{name} returns nothing", "call it on a line of its own"
        )

    def require_integer(self, node: ast.expr, value: Instruction) -> Instruction:
        """`value`, refused if it is a struct or an array."""
        if value.reference is not None:
            raise self.builder.refusal(
                node, Rule.STRUCT, f"an integer is needed here, not a {value.reference.name}",
                "name one of its fields or elements",
            )  # fmt: skip
        return value

    def _constant(self, node: ast.Constant) -> Operand:
        return self.builder.static(node, node.value)

    def _tuple(self, node: ast.Tuple) -> Operand:
        operands = [self.lower(item) for item in node.elts]
        statics = tuple(item.value for item in operands if isinstance(item, Static))
        if len(statics) == len(operands) and is_constant(statics):
            return Static(statics)
        return Several(
            tuple(
                self.at_run_time(item, operand)
                for item, operand in zip(node.elts, operands, strict=True)
            )
        )

    # ---- places --------------------------------------------------------------------------------
    def _attribute(self, node: ast.Attribute) -> Operand:
        base = self.lower(node.value)
        if isinstance(base, Static):
            scope = base.value
            if not isinstance(scope, type | ModuleType | Record) or not hasattr(scope, node.attr):
                if not (isinstance(scope, int) and node.attr == "value"):
                    name = getattr(scope, "__name__", type(scope).__name__)
                    near = difflib.get_close_matches(node.attr, dir(scope), 1)
                    raise self.builder.refusal(
                        node, Rule.NAME, f"{name} has no attribute {node.attr}",
                        f"did you mean {near[0]}?" if near else "define it",
                    )  # fmt: skip
            return self.builder.static(node, getattr(scope, node.attr))
        value = self.at_run_time(node.value, base)
        if value.reference is not None and not value.reference.is_array:
            attribute = vars(value.reference.target).get(node.attr)
            if isinstance(attribute, FunctionType):
                return Method(value, attribute)
            if isinstance(attribute, int | str | tuple | bytes | Record):
                return self.builder.static(node, attribute)
            if isinstance(attribute, property | staticmethod | classmethod):
                raise self.builder.refusal(
                    node, Rule.CALL, f"{node.attr} is a {type(attribute).__name__}",
                    "write a method, or a function of the module",
                )  # fmt: skip
        return self.load(node, *self._field(node, value))

    def _field(self, node: ast.Attribute, value: Instruction) -> tuple[Instruction, Kind]:
        reference = value.reference
        if reference is None or reference.is_array:
            what = "an array" if reference else "an integer"
            raise self.builder.refusal(
                node, Rule.FIELD, f"{what} has no field {node.attr}", "use a Struct's field"
            )
        fields = dict(reference.target._fields_)
        if node.attr not in fields:
            near = difflib.get_close_matches(node.attr, fields, 1)
            raise self.builder.refusal(
                node, Rule.FIELD, f"{reference.name} has no field or method {node.attr}",
                f"did you mean {near[0]}?" if near else "annotate it in the class",
            )  # fmt: skip
        kind = kind_of_ctype(fields[node.attr])
        offset = getattr(reference.target, node.attr).offset
        return self.builder.add(graph.FieldAddress(node, value, offset, kind)), kind

    def _subscript(self, node: ast.Subscript) -> Operand:
        base = self.lower(node.value)
        if isinstance(base, Static) and isinstance(base.value, tuple | bytes):
            return self._table(node, base.value)
        return self.load(node, *self._element(node, self.at_run_time(node.value, base)))

    def _element(self, node: ast.Subscript, value: Instruction) -> tuple[Instruction, Kind]:
        reference = value.reference
        if reference is None or not reference.is_array:
            raise self.builder.refusal(
                node.value, Rule.INDEX, "only arrays and constant tables are indexed",
                "index an array field: u8[512]",
            )  # fmt: skip
        kind = kind_of_ctype(reference.target._type_)
        size, length = ctypes.sizeof(reference.target._type_), reference.target._length_
        index = self._index(node.slice, length)
        address = graph.ElementAddress(node, value, index, length, size, kind)
        return self.builder.add(address), kind

    def _index(self, node: ast.expr, length: int) -> Instruction:
        """An index; a negative constant counts from the end, as in Python."""
        operand = self.lower(node)
        if isinstance(operand, Static) and isinstance(operand.value, int):
            if not -length <= operand.value < length:
                raise self.builder.refusal(
                    node, Rule.INDEX, f"index {operand.value} is outside an array of {length}",
                    f"use 0 to {length - 1}",
                )  # fmt: skip
            return self.builder.constant(node, operand.value % length)
        return self.number(node, operand)

    def _table(self, node: ast.Subscript, table: tuple[object, ...] | bytes) -> Operand:
        operand = self.lower(node.slice)
        if not table:
            raise self.builder.refusal(
                node, Rule.INDEX, "this table is empty", "ask its length before: if TABLE: …"
            )
        if isinstance(operand, Static) and isinstance(operand.value, int):
            if not -len(table) <= operand.value < len(table):
                raise self.builder.refusal(
                    node.slice, Rule.INDEX,
                    f"index {operand.value} is outside a table of {len(table)}",
                    f"use 0 to {len(table) - 1}",
                )  # fmt: skip
            return Static(table[operand.value])
        numbers = tuple(item for item in table if isinstance(item, int))
        if len(numbers) != len(table):
            raise self.builder.refusal(
                node, Rule.INDEX, "only a table of integers is indexed by a value of run time",
                f"loop over it: for row in {ast.unparse(node.value)}: …",
            )  # fmt: skip
        return self.builder.add(graph.TableLoad(node, numbers, self.number(node.slice, operand)))

    def place(self, node: ast.Attribute | ast.Subscript) -> tuple[Instruction, Kind]:
        """The address of a field or an element, to store to."""
        value = self.value(node.value)
        if isinstance(node, ast.Attribute):
            return self._field(node, value)
        return self._element(node, value)

    def load(self, node: Node, address: Instruction, kind: Kind) -> Instruction:
        """The value at an address: an integer is loaded, a struct stays a reference."""
        if isinstance(kind, Integer):
            return self.builder.add(graph.Load(node, address, kind))
        return address

    # ---- operators -----------------------------------------------------------------------------
    def _binary(self, node: ast.BinOp) -> Operand:
        left, right = self.lower(node.left), self.lower(node.right)
        if isinstance(node.op, ast.Pow):
            return self._power(node, left, right)
        self.check_operator(node, node.op)
        if isinstance(left, Static) and isinstance(right, Static):
            return self._fold(node, left.value, right.value)
        return self.operate(
            node,
            node.op,
            self.number(node.left, left),
            self.number(node.right, right),
        )

    def check_operator(self, node: Node, kind: ast.operator) -> None:
        """Refuse operators that have no compiled form."""
        if isinstance(kind, ast.Div):
            raise self.builder.refusal(node, Rule.FLOAT, "/ makes a float", "use //")
        if type(kind) not in OPERATORS:
            name = "**" if isinstance(kind, ast.Pow) else "@"
            raise self.builder.refusal(
                node, Rule.OPERATOR, f"{name} has no compiled form", "use << or *"
            )

    def operate(
        self, node: Node, kind: ast.operator, left: Instruction, right: Instruction
    ) -> Instruction:
        """A binary operation of two integers."""
        return self.builder.add(graph.Binary(node, OPERATORS[type(kind)][0], left, right))

    def _fold(self, node: ast.BinOp, left: object, right: object) -> Static:
        """Two constants: CPython itself computes, so that IntFlag means what it means there."""
        symbol, compute = OPERATORS[type(node.op)]
        if not (isinstance(left, int) and isinstance(right, int)):
            raise self.builder.refusal(
                node, Rule.OPERATOR, f"{symbol} of these is no integer", "use integer constants"
            )
        if symbol in ("//", "%") and right == 0:
            raise self.builder.refusal(
                node.right, Rule.ZERO_DIVISION, "this divides by zero", "divide by something else"
            )
        if symbol in ("<<", ">>") and not 0 <= right <= MAX_CONSTANT_SHIFT:
            raise self.builder.refusal(
                node.right, Rule.SHIFT, f"a shift by {right}", "shift by 0 to 63 bits"
            )
        return Static(compute(left, right))

    def _power(self, node: ast.BinOp, base: Operand, exponent: Operand) -> Static:
        match base, exponent:
            case Static(int() as left), Static(int() as right) if 0 <= right <= MAX_CONSTANT_SHIFT:
                return Static(int(left**right))
        raise self.builder.refusal(
            node,
            Rule.OPERATOR,
            "** has no compiled form",
            "use << or *; or constants on both sides",
        )

    def _unary(self, node: ast.UnaryOp) -> Operand:
        if isinstance(node.op, ast.Not):
            return self.conditions.negation(node)
        operand = self.lower(node.operand)
        if isinstance(operand, Static) and isinstance(operand.value, int):
            number = operand.value
            match node.op:
                case ast.USub():
                    return Static(-number)
                case ast.Invert():
                    return Static(int(number) ^ -1 if isinstance(number, bool) else ~number)
            return Static(+number)
        value = self.number(node.operand, operand)
        add = self.builder.add
        match node.op:
            case ast.USub():
                return add(graph.Unary(node, "-", value))
            case ast.Invert():
                return add(graph.Unary(node, "~", value))
        return add(graph.Plain(node, value))
