"""A function's graph as LLVM's text, with the checks its intervals leave over.

Every integer is an i64 that holds the low 64 bits of the value; every struct or array a ptr.
No operation promises LLVM anything (no nsw, nuw, inbounds): what could be undefined is checked.
"""

from collections.abc import Callable
from typing import Any

from vestige.lang.compiler import graph, instructions
from vestige.lang.compiler.graph import Block, Graph, Instruction, Node
from vestige.lang.compiler.intervals import SIGNED_LOW, WORD, Interval
from vestige.lang.compiler.kinds import Integer, Kind
from vestige.lang.compiler.module import ATTRIBUTES, COLD, HOT, INLINED, Module, literal
from vestige.lang.compiler.program import Function, described

PREDICATES = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
RING = {"+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor"}


class Emitter:
    """Writes one function."""

    def __init__(self, module: Module, function: Function, flow: Graph) -> None:
        self.module, self.function, self.graph = module, function, flow
        self.lines: list[str] = []
        self.tails: list[str] = []  # the blocks of failed checks
        self.truths: dict[Instruction, str] = {}  # values at hand as an i1 too
        self._count = 0
        self._scope = module.subprogram(function)
        self._locations: dict[int, int] = {}
        self._debug = ""
        self._rows = ""  # the turn of the unrolled loops around, as refusals say it
        self._emit: dict[type[Instruction], Callable[[Any], None]] = {
            graph.ReadLocal: self._read,
            graph.WriteLocal: lambda node: self._write(node, node.value),
            graph.StartCounter: lambda node: self._write(node, node.start),
            graph.Binary: self._binary,
            graph.Unary: self._unary,
            graph.Compare: self._compare,
            graph.Member: self._member,
            graph.Extreme: self._extreme,
            graph.Wrap: self._wrap,
            graph.Plain: self._same,
            graph.Fit: self._same,
            graph.FieldAddress: self._field,
            graph.ElementAddress: self._element,
            graph.TableLoad: self._table,
            graph.AtAddress: self._at,
            graph.AddressOf: self._address_of,
            graph.Load: self._load,
            graph.Store: self._store,
            graph.CopyStruct: self._copy,
            graph.Call: self._call,
            graph.Extract: self._extract,
            graph.Intrinsic: self._intrinsic,
            graph.Panic: self._panic,
            graph.Jump: lambda node: self.line(f"br label %{_label(node.target)}"),
            graph.Branch: self._branch,
            graph.Return: self._return,
            graph.End: lambda node: self.line("ret void"),
            graph.Unreachable: lambda node: self.line("unreachable"),
        }

    # ---- text ----------------------------------------------------------------------------------
    def line(self, text: str) -> None:
        """One instruction without a result."""
        self.lines.append(f"  {text}{self._debug}")

    def new(self, text: str) -> str:
        """One instruction; the register of its result."""
        self._count += 1
        register = f"%t{self._count}"
        self.lines.append(f"  {register} = {text}{self._debug}")
        return register

    def word(self, value: Instruction) -> str:
        """The i64 of an integer."""
        if value.reference is not None:
            return value.register
        constant = value.interval.constant
        if constant is not None:
            return literal(constant)
        if not value.register:
            value.register = self.new(f"zext i1 {self.truths[value]} to i64")
        return value.register

    def truth(self, value: Instruction) -> str:
        """The i1 that says whether an integer is not zero."""
        interval = value.interval
        if interval.constant is not None:
            return "true" if interval.constant else "false"
        if value in self.truths:
            return self.truths[value]
        return self.new(f"icmp ne i64 {self.word(value)}, 0")

    def define(self) -> str:
        """The whole function's text."""
        function = self.function
        parameters = [
            f"{_type(parameter.kind)} %p{number}"
            for number, parameter in enumerate(function.parameters)
        ]
        if function.borrows_site:
            parameters.append("i64 %site")
        linkage = "dso_local" if function.entry else "hidden" if function.shared else "internal"
        head = (
            f"define {linkage} {result_type(function)} {symbol(function)}"
            f"({', '.join(parameters)}) {_attributes(function)} !dbg !{self._scope} {{"
        )
        self._place(function.tree.lineno)
        self.lines.append("entry:")
        for local in self.graph.locals:
            kind = "ptr" if local.reference else "i64"
            self.line(f"%l{local.number} = alloca {kind}")
        for number, parameter in enumerate(function.parameters):
            self.line(f"store {_type(parameter.kind)} %p{number}, ptr %l{number}")
        self.line("br label %b0")
        for block in self.graph.blocks:
            if block.reached:
                self._block(block)
        return "\n".join([head, *self.lines, *self.tails, "}"])

    def _place(self, line: int) -> None:
        """Instructions from here on belong to this source line."""
        if line not in self._locations:
            self._locations[line] = self.module.location(self._scope, line)
        self._debug = f", !dbg !{self._locations[line]}"

    def _block(self, block: Block) -> None:
        self.lines.append(f"{_label(block)}:")
        self._rows = f", where {described(block.rows)}" if block.rows else ""
        for instruction in block.instructions:
            emit = self._emit.get(type(instruction))
            if emit is not None:
                self._place(instruction.node.lineno)
                emit(instruction)

    # ---- checks --------------------------------------------------------------------------------
    def check(self, good: str, node: Node, reason: str) -> None:
        """PANIC at `node` unless the i1 `good`."""
        self._count += 1
        number, site = self._count, self._site(node, reason)
        self.line(f"br i1 {good}, label %g{number}, label %f{number}")
        self.lines.append(f"g{number}:")
        self.tails += [
            f"f{number}:",
            f"  call void @vestige_panic(i64 {site}){self._debug}",
            f"  unreachable{self._debug}",
        ]

    def _site(self, node: Node, reason: str) -> str:
        if self.function.borrows_site:
            return "%site"
        return str(self.module.site(self.function, node, reason + self._rows))

    def _panic(self, node: graph.Panic) -> None:
        self.line(f"call void @vestige_panic(i64 {self._site(node.node, node.reason)})")
        self.line("unreachable")

    # ---- locals --------------------------------------------------------------------------------
    def _read(self, node: graph.ReadLocal) -> None:
        kind = "ptr" if node.local.reference else "i64"
        node.register = self.new(f"load {kind}, ptr %l{node.local.number}")

    def _write(self, node: graph.WriteLocal | graph.StartCounter, value: Instruction) -> None:
        kind = "ptr" if node.local.reference else "i64"
        self.line(f"store {kind} {self.word(value)}, ptr %l{node.local.number}")

    # ---- arithmetic ----------------------------------------------------------------------------
    def _binary(self, node: graph.Binary) -> None:
        left, right = self.word(node.left), self.word(node.right)
        if node.operator in RING:
            node.register = self.new(f"{RING[node.operator]} i64 {left}, {right}")
        elif node.operator in ("<<", ">>"):
            node.register = self._shift(node, left, right)
        else:
            node.register = self._divide(node, left, right)

    def _shift(self, node: graph.Binary, left: str, count: str) -> str:
        counts = node.right.interval
        if counts.low < 0:
            self.check(self.new(f"icmp sge i64 {count}, 0"), node.node, "negative shift count")
        arithmetic = node.operator == ">>" and not node.left.interval.fits_unsigned
        name = "shl" if node.operator == "<<" else "ashr" if arithmetic else "lshr"
        if counts.high < WORD:
            return self.new(f"{name} i64 {left}, {count}")
        inside = self.new(f"icmp ult i64 {count}, {WORD}")
        safe = self.new(f"select i1 {inside}, i64 {count}, i64 {WORD - 1}")
        shifted = self.new(f"{name} i64 {left}, {safe}")
        if arithmetic:
            return shifted
        return self.new(f"select i1 {inside}, i64 {shifted}, i64 0")

    def _divide(self, node: graph.Binary, left: str, right: str) -> str:
        x, y = node.left.interval, node.right.interval
        if y.low <= 0 <= y.high:
            self.check(self.new(f"icmp ne i64 {right}, 0"), node.node, "division by zero")
        divide = node.operator == "//"
        if x.fits_unsigned and y.fits_unsigned:
            return self.new(f"{'udiv' if divide else 'urem'} i64 {left}, {right}")
        overflows = x.low == SIGNED_LOW and y.low <= -1 <= y.high
        minus_one = self.new(f"icmp eq i64 {right}, -1") if overflows else "false"
        if overflows:  # IDIV faults on -2**63 // -1
            right = self.new(f"select i1 {minus_one}, i64 1, i64 {right}")
        remainder = self.new(f"srem i64 {left}, {right}")
        inexact = self.new(f"icmp ne i64 {remainder}, 0")
        signs = self.new(f"xor i64 {remainder}, {right}")
        differ = self.new(f"icmp slt i64 {signs}, 0")
        fix = self.new(f"and i1 {inexact}, {differ}")  # Python rounds down, IDIV towards 0
        if not divide:
            more = self.new(f"select i1 {fix}, i64 {right}, i64 0")
            return self.new(f"add i64 {remainder}, {more}")
        quotient = self.new(f"sdiv i64 {left}, {right}")
        floor = self.new(f"sub i64 {quotient}, {self.new(f'zext i1 {fix} to i64')}")
        if not overflows:
            return floor
        return self.new(f"select i1 {minus_one}, i64 {self.new(f'sub i64 0, {left}')}, i64 {floor}")

    def _unary(self, node: graph.Unary) -> None:
        operand = self.word(node.operand)
        text = f"sub i64 0, {operand}" if node.operator == "-" else f"xor i64 {operand}, -1"
        node.register = self.new(text)

    def compare(self, operator: str, left: Instruction, right: Instruction) -> str:
        """The i1 of a comparison of two values that fit."""
        x, y = left.interval, right.interval
        first, second, kind = self.word(left), self.word(right), "i64"
        sign = "u" if x.fits_unsigned and y.fits_unsigned else "s"
        if sign == "s" and not (x.fits_signed and y.fits_signed):
            first, second, kind = self._double(first, x), self._double(second, y), "i128"
        predicate = PREDICATES[operator]
        if operator not in ("==", "!="):
            predicate = sign + predicate
        return self.new(f"icmp {predicate} {kind} {first}, {second}")

    def _double(self, word: str, interval: Interval) -> str:
        extend = "zext" if interval.fits_unsigned else "sext"
        return self.new(f"{extend} i64 {word} to i128")

    def _compare(self, node: graph.Compare) -> None:
        if node.interval.constant is None:
            self.truths[node] = self.compare(node.operator, node.left, node.right)

    def _member(self, node: graph.Member) -> None:
        value, result = self.word(node.value), "false"
        for constant in node.constants:
            if node.value.interval.meet(constant, constant) is not None:
                equal = self.new(f"icmp eq i64 {value}, {literal(constant)}")
                result = self.new(f"or i1 {result}, {equal}")
        self.truths[node] = self.new(f"xor i1 {result}, true") if node.negated else result

    def _extreme(self, node: graph.Extreme) -> None:
        first = self.compare(node.operator, node.left, node.right)
        left, right = self.word(node.left), self.word(node.right)
        node.register = self.new(f"select i1 {first}, i64 {left}, i64 {right}")

    def _wrap(self, node: graph.Wrap) -> None:
        word, kind = self.word(node.value), node.kind
        if kind.bits < WORD and not node.value.interval.within(kind.interval):
            narrow = self.new(f"trunc i64 {word} to i{kind.bits}")
            extend = "sext" if kind.signed else "zext"
            word = self.new(f"{extend} i{kind.bits} {narrow} to i64")
        node.register = word

    def _same(self, node: graph.Plain | graph.Fit) -> None:
        node.register = self.word(node.value)

    # ---- memory --------------------------------------------------------------------------------
    def _field(self, node: graph.FieldAddress) -> None:
        base = node.base.register
        node.register = self.new(f"getelementptr i8, ptr {base}, i64 {node.offset}")

    def _inside(self, index: Instruction, length: int, node: Node) -> str:
        """The i64 of an index, checked."""
        word = self.word(index)
        if index.interval.high >= length:
            good = self.new(f"icmp ult i64 {word}, {length}")
            self.check(good, node, f"index outside an array of {length}")
        return word

    def _element(self, node: graph.ElementAddress) -> None:
        word = self._inside(node.index, node.length, node.node)
        offset = self.new(f"mul i64 {word}, {node.size}")
        node.register = self.new(f"getelementptr i8, ptr {node.base.register}, i64 {offset}")

    def _table(self, node: graph.TableLoad) -> None:
        word = self._inside(node.index, len(node.table), node.node)
        low, high = min(node.table), max(node.table)
        fits = ((size, size - (low < 0)) for size in (8, 16, 32))  # without the sign's bit
        bits = next((size for size, span in fits if -(1 << span) <= low and high < 1 << span), WORD)
        table = self.module.table(node.table, bits)
        address = self.new(f"getelementptr i{bits}, ptr {table}, i64 {word}")
        node.register = self.new(f"load i{bits}, ptr {address}")
        if bits < WORD:
            extend = "sext" if low < 0 else "zext"
            node.register = self.new(f"{extend} i{bits} {node.register} to i64")

    def _at(self, node: graph.AtAddress) -> None:
        node.register = self.new(f"inttoptr i64 {self.word(node.address)} to ptr")

    def _address_of(self, node: graph.AddressOf) -> None:
        node.register = self.new(f"ptrtoint ptr {node.place.register} to i64")

    def _load(self, node: graph.Load) -> None:
        bits = node.kind.bits
        node.register = self.new(f"load i{bits}, ptr {node.address.register}, align 1")
        if bits < WORD:
            extend = "sext" if node.kind.signed else "zext"
            node.register = self.new(f"{extend} i{bits} {node.register} to i64")

    def _store(self, node: graph.Store) -> None:
        word, bits = self.word(node.value), node.kind.bits
        if bits < WORD:
            word = self.new(f"trunc i64 {word} to i{bits}")
        self.line(f"store i{bits} {word}, ptr {node.address.register}, align 1")

    def _copy(self, node: graph.CopyStruct) -> None:
        target, source = node.target.register, node.source.register
        self.line(
            f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, "
            f"i64 {node.size}, i1 false)"
        )

    # ---- calls and jumps -----------------------------------------------------------------------
    def _call(self, node: graph.Call) -> None:
        function = node.function
        arguments = [
            f"{_type(parameter.kind)} {self.word(value)}"
            for parameter, value in zip(function.parameters, node.arguments, strict=True)
        ]
        if function.borrows_site:
            arguments.append(f"i64 {self._site(node.node, f'check failed in {function.name}')}")
        kind = result_type(function)
        call = f"call {kind} {symbol(function)}({', '.join(arguments)})"
        if kind == "void":
            self.line(call)
        else:
            node.register = self.new(call)

    def _extract(self, node: graph.Extract) -> None:
        if len(node.call.function.results) == 1:
            node.register = node.call.register
            return
        kind = result_type(node.call.function)
        node.register = self.new(f"extractvalue {kind} {node.call.register}, {node.position}")

    def _intrinsic(self, node: graph.Intrinsic) -> None:
        words = [self.word(argument) for argument in node.arguments]
        node.register = instructions.of(self.module.runtime)[node.name](self, *words) or ""

    def _branch(self, node: graph.Branch) -> None:
        then, otherwise = node.then, node.otherwise
        truth = self.truth(node.condition)
        if truth in ("true", "false"):
            self.line(f"br label %{_label(then if truth == 'true' else otherwise)}")
        elif not (then.reached and otherwise.reached):
            self.line(f"br label %{_label(then if then.reached else otherwise)}")
        else:
            self.line(f"br i1 {truth}, label %{_label(then)}, label %{_label(otherwise)}")

    def _return(self, node: graph.Return) -> None:
        kind = result_type(self.function)
        words = [self.word(value) for value in node.values]
        if len(words) < 2:
            self.line(f"ret {kind} {words[0]}" if words else "ret void")
            return
        packed = "undef"
        for position, (word, result) in enumerate(zip(words, self.function.results, strict=True)):
            packed = self.new(f"insertvalue {kind} {packed}, {_type(result)} {word}, {position}")
        self.line(f"ret {kind} {packed}")


def declaration(function: Function) -> str:
    """The text of a function that another part of the program defines."""
    kinds = [_type(parameter.kind) for parameter in function.parameters]
    kinds += ["i64"] * function.borrows_site
    return (
        f"declare hidden {result_type(function)} {symbol(function)}({', '.join(kinds)})"
        f" {_attributes(function)}"
    )


def lent(body: str) -> str:
    """The text of a shared function for another part: LLVM may inline it, and leaves it out."""
    return body.replace("define hidden", "define available_externally hidden", 1)


def _attributes(function: Function) -> str:
    return f"{ATTRIBUTES} {COLD if function.cold else INLINED if function.inlined else HOT}"


def _label(block: Block) -> str:
    return f"b{block.number}"


def _type(kind: Kind) -> str:
    return "i64" if isinstance(kind, Integer) else "ptr"


def result_type(function: Function) -> str:
    """What a function returns, in LLVM's words."""
    kinds = [_type(kind) for kind in function.results]
    if len(kinds) < 2:
        return kinds[0] if kinds else "void"
    return f"{{{', '.join(kinds)}}}"


def symbol(function: Function) -> str:
    """A function's name in LLVM's text."""
    return f'@"{function.name if function.entry else function.symbol}"'
