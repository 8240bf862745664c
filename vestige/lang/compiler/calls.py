"""Calls: of compiled functions and methods, of intrinsics, of casts and a few builtins."""

import ast
import ctypes
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from vestige.lang import intrinsics
from vestige.lang.compiler import graph
from vestige.lang.compiler.builder import Builder, Method, Operand, Several, Static
from vestige.lang.compiler.graph import Block, Instruction, Node
from vestige.lang.compiler.kinds import BY_NAME, BY_TYPE, Integer, Kind, Reference, kind_of
from vestige.lang.compiler.program import REQUIRED, Function, Given, Parameter
from vestige.lang.errors import Refusal, Rule
from vestige.lang.records import Record
from vestige.lang.types import Struct

if TYPE_CHECKING:
    from vestige.lang.compiler.expressions import Expressions

# What needs a virtual CPU, a kernel below, firmware around; and who has which.
_VIRTUAL_CPU = frozenset((
    "port_in8", "port_in16", "port_in32", "port_out8", "port_out16", "port_out32",
    "read_msr", "write_msr", "wait_for_interrupt",
))  # fmt: skip
_KERNEL = frozenset(("syscall",))
_FIRMWARE = frozenset((
    "call_firmware", "read_state", "run_guest", "run_aside", "take_over", "let_interrupts_in",
    "shut_interrupts_out", "end_shutting_out", "nmi_entry", "startup_page",
))  # fmt: skip
UNAVAILABLE = {
    "monitor": _KERNEL | _FIRMWARE | {"read_msr"},
    "kernel": _KERNEL | _FIRMWARE,
    "process": _VIRTUAL_CPU | _FIRMWARE,
    "efi": _KERNEL,
}
WHERE = {
    "monitor": "the monitor, which is in ring 3 and has no kernel below",
    "kernel": "ring 0",
    "process": "a process",
    "efi": "an application of firmware",
}


class Calls:
    """Lowers the calls of one function."""

    def __init__(self, expressions: "Expressions", builder: Builder) -> None:
        self.expressions, self.builder = expressions, builder
        self._builtins: dict[object, Callable[[ast.Call], Operand]] = {
            len: self._len,
            min: lambda node: self._extreme(node, "<"),
            max: lambda node: self._extreme(node, ">"),
            abs: self._abs,
            int: self._int,
            bool: self._bool,
            getattr: self._getattr,
            ctypes.sizeof: self._sizeof,
            intrinsics.check: self._check,
            intrinsics.panic: self._panic,
            intrinsics.address_of: self._address_of,
        }

    def lower(self, node: ast.Call) -> Operand:
        """The value of a call."""
        target = self.expressions.lower(node.func)
        program = self.builder.program
        if isinstance(target, Method):
            struct = target.receiver.reference
            owner = struct.target if struct else None
            return self._call(node, program.function(target.function, owner), target.receiver)
        value = target.value if isinstance(target, Static) else None
        if isinstance(value, FunctionType) and value not in self._builtins:
            if value.__module__ == intrinsics.__name__:
                return self._intrinsic(node, value)
            return self._call(node, program.function(value))
        if isinstance(value, MethodType) and isinstance(value.__self__, Record):
            record = value.__self__
            return self._call(node, program.function(value.__func__, type(record)), Static(record))
        if value in BY_TYPE:
            (argument,) = self._positional(node, BY_TYPE[value].name, 1)
            return self._cast(node, BY_TYPE[value], argument)
        if isinstance(value, MethodType) and value.__func__ is Struct.at.__func__:  # type: ignore[attr-defined]
            return self._at(node, value.__self__)
        if value in self._builtins:
            return self._builtins[value](node)
        raise self._target_refusal(node, value)

    def _target_refusal(self, node: ast.Call, value: object) -> Refusal:
        name = getattr(value, "__name__", None) or ast.unparse(node.func)
        reason, cure = f"{name} has no compiled form", "call a function of typed Python"
        if isinstance(value, type) and issubclass(value, ctypes.Structure):
            reason = f"{name}() would allocate a struct"
            cure = f"nest it as a field, or use {name}.at(address)"
        elif isinstance(value, type) and issubclass(value, Record):
            reason = f"{name}() would make a record"
            cure = "make it in the module, and name it here"
        elif isinstance(value, type) and issubclass(value, int):
            reason, cure = f"{name}() makes an enum member", "use the integer itself"
        elif value is range or value is enumerate:
            cure = f"{name} stands only in for … in {name}(…)"
        elif value in (setattr, hasattr):
            cure = "getattr(struct, record.field) names a field to assign to, or to ask"
        return self.builder.refusal(node, Rule.CALL, reason, cure)

    # ---- compiled functions --------------------------------------------------------------------
    def _call(
        self, node: ast.Call, function: Function, receiver: Instruction | Static | None = None
    ) -> Operand:
        formal = function.formal
        values: dict[str, Instruction | Static] = {}
        if receiver is not None:
            if not formal:
                raise self._arguments_refusal(node, f"{function.name} takes no self")
            values[formal[0].name] = receiver
            formal = formal[1:]
        self._bind(node, function.name, formal, values)
        constants = {name: item.value for name, item in values.items() if isinstance(item, Static)}
        function = self.builder.program.with_constants(function, constants)
        arguments = tuple(
            self._argument(
                node, function.name, parameter.name, parameter.kind, values[parameter.name]
            )
            for parameter in function.parameters
        )
        call = self.builder.add(graph.Call(node, function, arguments))
        self.builder.calls.append(call)
        if function.never_returns:
            self.builder.add(graph.Unreachable(node))
        if function.returns_tuple:
            extracts = (graph.Extract(node, call, i) for i in range(len(function.results)))
            return Several(tuple(self.builder.add(extract) for extract in extracts))
        return call

    def _bind(
        self,
        node: ast.Call,
        name: str,
        parameters: list[Parameter | Given],
        values: dict[str, Instruction | Static],
    ) -> None:
        """Evaluate the arguments from left to right; give each to its parameter."""
        positional = [parameter for parameter in parameters if not parameter.keyword_only]
        by_name = {parameter.name: parameter for parameter in parameters}
        if len(node.args) > len(positional):
            raise self._arguments_refusal(
                node, f"{name} takes {len(positional)} arguments, {len(node.args)} are given"
            )
        for parameter, argument in zip(positional, node.args, strict=False):
            values[parameter.name] = self._value(name, parameter, argument)
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self._arguments_refusal(node, f"{name} is called with ** arguments")
            if keyword.arg not in by_name or keyword.arg in values:
                raise self._arguments_refusal(
                    node, f"{name} takes no further argument {keyword.arg}"
                )
            values[keyword.arg] = self._value(name, by_name[keyword.arg], keyword.value)
        for parameter in parameters:
            if parameter.name in values:
                continue
            default = parameter.default
            if isinstance(parameter, Given) and isinstance(default, parameter.type):
                values[parameter.name] = Static(default)
                continue
            if isinstance(parameter, Given) or not isinstance(default, int):
                what = "is missing" if default is REQUIRED else "has a default of another type"
                raise self._arguments_refusal(node, f"argument {parameter.name} of {name} {what}")
            values[parameter.name] = self.builder.constant(node, default)

    def _value(
        self, name: str, parameter: Parameter | Given, argument: ast.expr
    ) -> Instruction | Static:
        """An argument: a value of run time, or the constant that is given."""
        if isinstance(parameter, Parameter):
            return self.expressions.value(argument)
        operand = self.expressions.lower(argument)
        if isinstance(operand, Static) and isinstance(operand.value, parameter.type):
            return operand
        raise self.builder.refusal(
            argument, Rule.ARGUMENTS,
            f"argument {parameter.name} of {name} is no constant {parameter.type.__name__}",
            "pass a record, its field or the name of an unrolled loop",
        )  # fmt: skip

    def _arguments_refusal(self, node: Node, reason: str) -> Refusal:
        return self.builder.refusal(node, Rule.ARGUMENTS, reason, "call it as it is defined")

    def _argument(
        self, node: ast.Call, name: str, parameter: str, kind: Kind, value: Instruction | Static
    ) -> Instruction:
        if isinstance(value, Static):
            value = self.expressions.at_run_time(node, value)
        what = f"argument {parameter} of {name}"
        where = value.node if isinstance(value.node, ast.expr) else node
        if isinstance(kind, Integer):
            if value.reference is not None:
                raise self.builder.refusal(
                    where, Rule.STRUCT, f"{what} is an integer, not a {value.reference.name}",
                    "pass one of its fields",
                )  # fmt: skip
            return self.builder.fit(where, value, kind, what)
        if value.reference != kind:
            found = f"a {value.reference.name}" if value.reference else "an integer"
            raise self.builder.refusal(
                where, Rule.STRUCT, f"{what} is a {kind.name}, not {found}",
                f"pass a {kind.name}",
            )  # fmt: skip
        return value

    # ---- casts, builtins -----------------------------------------------------------------------
    def _positional(self, node: ast.Call, name: str, count: int) -> list[ast.expr]:
        if node.keywords or len(node.args) != count:
            raise self._arguments_refusal(node, f"{name} takes {count} positional arguments")
        return node.args

    def _cast(self, node: ast.Call, kind: Integer, argument: ast.expr) -> Operand:
        operand = self.expressions.lower(argument)
        if isinstance(operand, Static) and isinstance(operand.value, int):
            low = kind.interval.low
            return Static((int(operand.value) - low) % (1 << kind.bits) + low)
        value = self.expressions.number(argument, operand)
        return self.builder.add(graph.Wrap(node, kind, value))

    def _int(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "int", 1)
        operand = self.expressions.lower(argument)
        if isinstance(operand, Static) and isinstance(operand.value, int):
            return Static(int(operand.value))
        value = self.expressions.number(argument, operand)
        return self.builder.add(graph.Plain(node, value))

    def _bool(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "bool", 1)
        value = self.expressions.conditions.truth(argument)
        if isinstance(value, Static):
            return Static(bool(value.value))
        return self.builder.add(graph.Compare(node, "!=", value, self.builder.constant(node, 0)))

    def _getattr(self, node: ast.Call) -> Operand:
        """A field or method that a constant names."""
        place, name = self._positional(node, "getattr", 2)
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            raise self.builder.refusal(
                name, Rule.FIELD, "the name is known where this is written",
                f"write {ast.unparse(place)}.{name.value}",
            )  # fmt: skip
        constant = self.expressions.lower(name)
        if not isinstance(constant, Static) or not isinstance(constant.value, str):
            raise self.builder.refusal(
                name, Rule.FIELD, "only a string that is a record's field names an attribute here",
                "getattr(struct, record.field), with field: str in the record's class",
            )  # fmt: skip
        access = ast.Attribute(place, constant.value, ast.Load())
        return self.expressions.lower(ast.copy_location(access, node))

    def _len(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "len", 1)
        operand = self.expressions.lower(argument)
        if isinstance(operand, Static) and isinstance(operand.value, tuple | bytes):
            return Static(len(operand.value))
        reference = operand.reference if isinstance(operand, Instruction) else None
        if reference is None or not reference.is_array:
            raise self.builder.refusal(
                argument, Rule.CALL, "only arrays and constant tables have a length",
                "take the length of an array field",
            )  # fmt: skip
        return Static(reference.target._length_)

    def _sizeof(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "sizeof", 1)
        operand = self.expressions.lower(argument)
        if isinstance(operand, Static) and isinstance(operand.value, type):
            if issubclass(operand.value, ctypes.Structure):
                return Static(ctypes.sizeof(operand.value))
        if isinstance(operand, Instruction) and operand.reference is not None:
            return Static(operand.reference.size)
        raise self.builder.refusal(
            argument, Rule.CALL, "only structs and arrays have a size", "name a Struct"
        )

    def _extreme(self, node: ast.Call, operator: str) -> Operand:
        name = "min" if operator == "<" else "max"
        if node.keywords or len(node.args) < 2:
            raise self._arguments_refusal(node, f"{name} takes two or more integers")
        operands = [self.expressions.lower(argument) for argument in node.args]
        statics = [item.value for item in operands if isinstance(item, Static)]
        if len(statics) == len(operands) and all(isinstance(item, int) for item in statics):
            return Static((min if operator == "<" else max)(statics))  # type: ignore[type-var]
        values = [
            self.expressions.number(argument, operand)
            for argument, operand in zip(node.args, operands, strict=True)
        ]
        result = values[0]
        for value in values[1:]:
            result = self.builder.add(graph.Extreme(node, operator, result, value))
        return result

    def _abs(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "abs", 1)
        value = self.expressions.integer(argument)
        opposite = self.builder.add(graph.Unary(node, "-", value))
        return self.builder.add(graph.Extreme(node, ">", value, opposite))

    # ---- intrinsics ----------------------------------------------------------------------------
    def _at(self, node: ast.Call, struct: Any) -> Operand:
        (argument,) = self._positional(node, f"{struct.__name__}.at", 1)
        address = self.builder.fit(
            argument, self.expressions.integer(argument), BY_NAME["u64"], "an address"
        )
        return self.builder.add(graph.AtAddress(node, address, Reference(struct)))

    def _address_of(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "address_of", 1)
        place = self.expressions.value(argument)
        if place.reference is None:
            raise self.builder.refusal(
                argument, Rule.STRUCT, "only a struct or an array has an address",
                "name a nested struct or an array field",
            )  # fmt: skip
        return self.builder.add(graph.AddressOf(node, place))

    def _check(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "check", 1)
        good, bad = Block(), Block()
        self.expressions.conditions.jump(argument, good, bad)
        if self.builder.enter(bad):
            self.builder.add(graph.Panic(node, f"check failed: {ast.unparse(argument)}"))
        self.builder.enter(good)
        return self._nothing(node, "check")

    def _panic(self, node: ast.Call) -> Operand:
        (argument,) = self._positional(node, "panic", 1)
        self.builder.fit(
            argument, self.expressions.integer(argument), BY_NAME["u32"], "argument code of panic"
        )
        self.builder.add(graph.Panic(node, ast.unparse(node)))
        return self._nothing(node, "panic")

    def _nothing(self, node: ast.Call, name: str) -> Operand:
        return graph.Intrinsic(node, name, (), None)

    def _intrinsic(self, node: ast.Call, function: FunctionType) -> Operand:
        name, builder = function.__name__, self.builder
        runtime = builder.program.runtime
        if name in UNAVAILABLE[runtime]:
            raise builder.refusal(
                node, Rule.RUNTIME, f"{name} can't run in {WHERE[runtime]}",
                "compile this function for another runtime",
            )  # fmt: skip
        annotations = dict(function.__annotations__)
        result = kind_of(annotations.pop("return"))
        nodes = self._positional(node, name, len(annotations))
        arguments = []
        for argument, (parameter, annotation) in zip(nodes, annotations.items(), strict=True):
            kind = kind_of(annotation)
            value = self.expressions.integer(argument)
            if isinstance(kind, Integer):
                value = builder.fit(argument, value, kind, f"argument {parameter} of {name}")
            arguments.append(value)
        return builder.add(
            graph.Intrinsic(
                node, name, tuple(arguments), result if isinstance(result, Integer) else None
            )
        )
