"""Random typed Python: a struct, helpers and a function `caseN`, as source text.

What it writes always ends, in CPython as compiled; what it writes may be refused.
"""

import random
from collections.abc import Callable

WIDTHS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
ARITHMETIC = ("+", "-", "*", "&", "|", "^", "+", "-", "&", "|", "<<", ">>", "//", "%")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 10, 15, 16, 63, 64, 127, 128, 255, 256, 1000, 0x7FFF, 0xFFFF,
           1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip

CONSTANT_CONDITIONS = ("LIMIT", "LIMIT > 20", "not LIMIT", "3 < LIMIT < 12", "LIMIT in OCTETS",
                       "TABLE", "()", "Colour.RED == 1 or LIMIT")  # fmt: skip

PRELUDE = '''\
"""Generated."""

from enum import IntEnum, IntFlag

from vestige.lang.intrinsics import check
from vestige.lang.types import Struct, i8, i16, i32, i64, u8, u16, u32, u64

TABLE = (3, 70000, 0, 12, 255, 8, 1, 9)
SIGNED_TABLE = (-3, 400, 7, -70000)
OCTETS = bytes(range(7, 200, 13))
LIMIT = 11


class Colour(IntEnum):
    RED = 1
    GREEN = 5
    BLUE = 200


class Bit(IntFlag):
    A = 1
    B = 4
    C = 0x80


class Pair(Struct):
    left: i16
    right: u32
    bytes: u8[4]
'''


class Case:
    """One random case. `parameters` are the integer types the function takes after the struct."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = random.Random(f"{seed}/{number}")
        self.number = number
        self.name = f"case{number}"
        self.struct = f"State{number}"
        self.parameters = [self.random.choice(WIDTHS) for _ in range(self.random.randint(1, 5))]
        self.result = self.random.choice(("u64", "i64", "u32", "i16", "u8"))
        self.fields = self._fields()
        self.locals: list[str] = []  # assigned on every way that leads here
        self.fixed: list[str] = []  # loop variables: not assigned in the loop
        self.references = ["s.pairs[{}]", "s.pair"]
        self.kinds: dict[str, str] = {}  # what each local is made to fit
        self.in_loop = 0
        self.count = 0
        self.inside = "main"

    # ---- text ----------------------------------------------------------------------------------
    def source(self) -> str:
        """The struct, the helpers and the function."""
        parts = [self._struct(), self._pair_helper(), self._scalar_helper(), self._main()]
        return "\n\n".join(parts)

    def _fields(self) -> dict[str, tuple[str, int]]:
        """Name to (element type, length; 0 for no array)."""
        chosen: dict[str, tuple[str, int]] = {}
        for index in range(self.random.randint(2, 5)):
            chosen[f"f{index}"] = (self.random.choice(WIDTHS), 0)
        for index in range(self.random.randint(1, 2)):
            chosen[f"a{index}"] = (self.random.choice(WIDTHS), self.random.choice((1, 3, 4, 8, 13)))
        return chosen

    def _struct(self) -> str:
        lines = [f"class {self.struct}(Struct):"]
        for name, (kind, length) in self.fields.items():
            lines.append(f"    {name}: {kind}{f'[{length}]' if length else ''}")
        lines += ["    pair: Pair", "    pairs: Pair[3]", ""]
        self._enter("method", ["u8", "i16"])
        body = self._block(1, 2)
        lines.append(f"    def method(s, p0: u8, p1: i16 = -3) -> {self.result}:")
        lines += [f"        {line}" for line in body]
        lines.append(f"        return {self.cast(self.result, self.expression(2))}")
        return "\n".join(lines)

    def _pair_helper(self) -> str:
        self._enter("pair", ["u16", "i32"])
        body = self._block(1, 2)
        return "\n".join(
            [
                f"def pair{self.number}(s: {self.struct}, p0: u16, p1: i32) -> tuple[u32, i16]:",
                *(f"    {line}" for line in body),
                f"    return {self.cast('u32', self.expression(2))}, "
                f"{self.cast('i16', self.expression(2))}",
            ]
        )

    def _scalar_helper(self) -> str:
        self._enter("scalar", ["u8", "i64"])
        body = self._block(1, 2)
        truth = self.random.random() < 0.3
        result = f"bool({self.condition(2)})" if truth else self.cast("i32", self.expression(2))
        return "\n".join(
            [
                f"def scalar{self.number}(p0: u8, p1: i64) -> {'bool' if truth else 'i32'}:",
                *(f"    {line}" for line in body),
                f"    return {result}",
            ]
        )

    def _main(self) -> str:
        self._enter("main", self.parameters)
        body = self._block(3, self.random.randint(2, 6))
        listed = "".join(f", p{i}: {kind}" for i, kind in enumerate(self.parameters))
        return "\n".join(
            [
                f"def {self.name}(s: {self.struct}{listed}) -> {self.result}:",
                *(f"    {line}" for line in body),
                f"    return {self.cast(self.result, self.expression(3))}",
            ]
        )

    def _enter(self, inside: str, parameters: list[str]) -> None:
        self.inside, self.fixed = inside, []
        self.kinds = {f"p{index}": kind for index, kind in enumerate(parameters)}
        self.locals = list(self.kinds)

    # ---- expressions ---------------------------------------------------------------------------
    def cast(self, kind: str, text: str) -> str:
        """`text` made to fit `kind`; now and then left to be proved."""
        return text if self.random.random() < 0.02 else f"{kind}({text})"

    def narrow(self, depth: int) -> str:
        """An expression that likely fits 64 bits."""
        text = self.expression(depth)
        if text.isidentifier() or self.random.random() < 0.15:
            return text
        return f"{self.random.choice(WIDTHS)}({text})"

    def expression(self, depth: int) -> str:
        """Any integer expression."""
        if depth <= 0 or self.random.random() < 0.15:
            return self.leaf()
        choices: list[tuple[int, Callable[[int], str]]] = [
            (12, self._binary),
            (2, self._unary),
            (3, lambda n: f"{self.random.choice(WIDTHS)}({self.expression(n - 1)})"),
            (2, self._conditional),
            (2, lambda n: f"({self.condition(n - 1)})"),
            (1, self._extreme),
            (1, self._logical),
            (2, self._call),
            (1, self._flags),
            (1, lambda n: f"int({self.narrow(n - 1)})"),
        ]
        weights = [weight for weight, _ in choices]
        return self.random.choices([make for _, make in choices], weights)[0](depth)

    def _binary(self, depth: int) -> str:
        operator = self.random.choice(ARITHMETIC)
        left = self.expression(depth - 1)
        if operator == "<<":
            count = self.random.choice(("3", "p0 & 31", "7", "u8(p0) & 15", "u8(p0)"))
            return f"({left} << ({count}))"
        if operator == ">>":
            count = self.random.choice(("1", "9", "p0 & 63", self.narrow(0), "70"))
            return f"({self.narrow(depth - 1)} >> ({count}))"
        if operator in ("//", "%"):
            divisor = self.random.choice(("3", "10", "(u16(p0) | 1)", "-7", self.leaf()))
            kind = self.random.choice(WIDTHS)
            sides = self.expression(depth - 1), divisor
            left, right = (f"{kind}({side})" for side in sides)
            return f"({left} {operator} {divisor if self.random.random() < 0.3 else right})"
        return f"({left} {operator} {self.expression(depth - 1)})"

    def _unary(self, depth: int) -> str:
        return f"({self.random.choice(('-', '~', 'not ', '+'))}{self.narrow(depth - 1)})"

    def _conditional(self, depth: int) -> str:
        condition = self.condition(depth - 1)
        return f"({self.narrow(depth - 1)} if {condition} else {self.narrow(depth - 1)})"

    def _extreme(self, depth: int) -> str:
        if self.random.random() < 0.3:
            return f"abs(i32({self.expression(depth - 1)}))"
        name = self.random.choice(("min", "max"))
        return f"{name}({self.narrow(depth - 1)}, {self.narrow(depth - 1)})"

    def _logical(self, depth: int) -> str:
        operator = self.random.choice(("and", "or"))
        return f"({self.narrow(depth - 1)} {operator} {self.narrow(depth - 1)})"

    def _call(self, depth: int) -> str:
        small, wide = self.narrow(depth - 1), self.narrow(depth - 1)
        if self.inside == "main":
            if self.random.random() < 0.5:
                keyword = self.random.choice(("", f", p1=i16({wide})"))
                return f"s.method(u8({small}){keyword})"
            return f"scalar{self.number}(p1=i64({wide}), p0=u8({small}))"
        return f"u16({small})"

    def _flags(self, depth: int) -> str:
        flag = self.random.choice(("Bit.A", "Bit.B", "(Bit.A | Bit.C)", "~Bit.B", "Bit.C"))
        operator = self.random.choice(("&", "|", "^"))
        operand = f"{self.random.choice(('u8', 'u32', 'u64'))}({self.expression(depth - 1)})"
        return f"({operand} {operator} {flag})"

    def condition(self, depth: int) -> str:
        """A truth value."""
        if depth <= 0:
            return f"{self.leaf()} {self.random.choice(COMPARISONS)} {self.leaf()}"
        if self.random.random() < 0.06:
            return self.random.choice(CONSTANT_CONDITIONS)
        kind = self.random.randrange(8)
        if kind == 0:
            operator = self.random.choice((" and ", " or "))
            return operator.join(f"({self.condition(depth - 1)})" for _ in range(2))
        if kind == 1:
            return f"not ({self.condition(depth - 1)})"
        if kind == 2:
            first, second = self.random.choices(COMPARISONS, k=2)
            middle = self.narrow(depth - 1)
            return f"{self.narrow(0)} {first} {middle} {second} {self.narrow(0)}"
        if kind == 3:
            negation = self.random.choice(("", "not "))
            return f"{self.narrow(depth - 1)} {negation}in (1, 7, Colour.GREEN, 255)"
        if kind == 4:
            return self.narrow(depth - 1)
        operator = self.random.choice(COMPARISONS)
        return f"{self.narrow(depth - 1)} {operator} {self.narrow(depth - 1)}"

    def index(self, length: int) -> str:
        """An index of an array; now and then one that may be outside."""
        kind = self.random.randrange(8)
        if kind == 0 and self.fixed:
            return (
                f"u8({self.random.choice(self.fixed)}) % {length + self.random.choice((0, 0, 1))}"
            )
        if kind == 1:
            return (
                "u8(p0)" if self.random.random() < 0.3 else f"p0 & {self.random.choice((1, 3, 7))}"
            )
        if kind in (2, 3):
            return f"u32({self.narrow(1)}) % {length}"
        return str(self.random.randrange(-length, length))

    def leaf(self) -> str:
        """A name, a number, a field or an element."""
        kind = self.random.randrange(10)
        if kind <= 4 and self.locals + self.fixed:
            return self.random.choice(self.locals + self.fixed)
        if kind <= 6 or self.inside == "scalar":
            table = self.random.choice(("TABLE", "SIGNED_TABLE", "OCTETS"))
            number = str(self.random.choice(NUMBERS))
            return self.random.choice(
                (number, number, "LIMIT", "Colour.BLUE", f"{table}[{self.index(4)}]", "len(OCTETS)")
            )
        return self.place()

    def place(self) -> str:
        """A field or an element of the struct."""
        if self.random.random() < 0.25:
            base = self.random.choice(self.references).format(self.index(3))
            return f"{base}.{self.random.choice(('left', 'right', f'bytes[{self.index(4)}]'))}"
        name, (_, length) = self.random.choice(list(self.fields.items()))
        return f"s.{name}[{self.index(length)}]" if length else f"s.{name}"

    # ---- statements ----------------------------------------------------------------------------
    def _new(self, letter: str = "v") -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def _block(self, depth: int, length: int) -> list[str]:
        before = list(self.locals)
        lines = [line for _ in range(length) for line in self._statement(depth)]
        if depth < 3 and self.in_loop:
            self.locals = before
        return lines

    def _scoped(self, depth: int) -> list[str]:
        """A suite whose locals are gone after it."""
        before = list(self.locals)
        lines = self._block(depth - 1, self.random.randint(1, 3))
        self.locals = before
        return [f"    {line}" for line in lines]

    def _statement(self, depth: int) -> list[str]:
        kinds: list[tuple[int, Callable[[int], list[str]]]] = [
            (6, self._assign), (2, self._augmented), (1, self._check), (1, self._exit),
        ]  # fmt: skip
        if self.inside != "scalar":
            kinds += [(5, self._store), (1, self._copy), (2, self._guarded)]
        if self.inside == "main":
            kinds += [(2, self._unpack)]
        if depth > 0:
            kinds += [
                (3, self._if),
                (2, self._for),
                (1, self._while),
                (1, self._falling),
                (2, self._match),
            ]
        weights = [weight for weight, _ in kinds]
        return self.random.choices([make for _, make in kinds], weights)[0](depth)

    def _assign(self, _depth: int) -> list[str]:
        if self.locals and self.random.random() < 0.4:
            name = self.random.choice(self.locals)
            return [f"{name} = {self.cast(self.kinds[name], self.expression(3))}"]
        kind, name = self.random.choice(WIDTHS), self._new()
        value = self.cast(kind, self.expression(3))
        self.kinds[name] = kind
        line = f"{name}: {kind} = {value}" if self.random.random() < 0.3 else f"{name} = {value}"
        self.locals.append(name)
        return [line]

    def _guarded(self, _depth: int) -> list[str]:
        """An access that needs no check, because of a comparison before."""
        name = self.random.choice(self.locals)
        arrays = [(field, length) for field, (_, length) in self.fields.items() if length]
        field, length = self.random.choice(arrays)
        low = self.random.randint(-5, 300)
        element = f"s.{field}[{name}{f' - {low}' if low > 0 else f' + {-low}'}]"
        store = f"{element} = {self.expression(2)}"
        last = low + length - 1
        test = self.random.choice(
            (
                f"{low} <= {name} <= {last}",
                f"{name} >= {low} and {name} < {last + 1}",
                f"not ({name} < {low} or {last} < {name})",
                f"{name} in ({low}, {last})",
            )
        )
        shape = self.random.randrange(3)
        if shape == 0:
            return [f"if {test}:", f"    {store}"]
        if shape == 1:
            return [f"if not ({test}):", f"    {self.place()} = {name}", "else:", f"    {store}"]
        return [f"check(({test}) or {self.narrow(1)} % 3 == 0)", f"if {test}:", f"    {store}"]

    def _falling(self, depth: int) -> list[str]:
        """A loop that counts down, without an annotation."""
        name, start = self._new("n"), self.random.choice((1, 7, 16))
        self.fixed.append(name)
        compare = self.random.choice((f"{name} > 0", f"{name}", f"{name} != 0", f"0 < {name}"))
        lines = [f"{name} = {start}", f"while {compare}:", f"    {name} -= 1"]
        lines += self._loop(min(depth, 2))
        self.fixed.remove(name)
        return lines + self._else(depth)

    def _augmented(self, _depth: int) -> list[str]:
        operator = self.random.choice(("+", "-", "&", "|", "^", "*"))
        if self.inside != "scalar" and self.random.random() < 0.7:
            return [f"{self.place()} {operator}= {self.narrow(2)}"]
        name = self.random.choice(self.locals)
        return [f"{name} = {self.kinds[name]}({name} {operator} {self.narrow(2)})"]

    def _store(self, _depth: int) -> list[str]:
        return [f"{self.place()} = {self.expression(3)}"]

    def _copy(self, _depth: int) -> list[str]:
        if self.random.random() < 0.5:
            return [f"s.pair = s.pairs[{self.index(3)}]"]
        name = self._new("r")
        return [
            f"{name} = s.pairs[{self.index(3)}]",
            f"{name}.right = {self.expression(2)}",
            f"{name}.left += {self.narrow(1)}",
        ]

    def _unpack(self, _depth: int) -> list[str]:
        one, other = self._new(), self._new()
        first, second = f"u16({self.narrow(2)})", f"i32({self.narrow(2)})"
        self.locals += [one, other]
        self.kinds |= {one: "u32", other: "i16"}
        return [f"{one}, {other} = pair{self.number}(s, {first}, {second})"]

    def _check(self, _depth: int) -> list[str]:
        return [f"check(({self.condition(1)}) or {self.narrow(1)} != 77)"]

    def _exit(self, _depth: int) -> list[str]:
        action = "pass"
        if self.in_loop:
            action = self.random.choice(("break", "continue"))
        elif self.inside == "main":
            action = f"return {self.cast(self.result, self.expression(2))}"
        return [f"if {self.condition(2)}:", f"    {action}"]

    def _if(self, depth: int) -> list[str]:
        lines = [f"if {self.condition(2)}:", *self._scoped(depth)]
        if self.random.random() < 0.4:
            lines += [f"elif {self.condition(2)}:", *self._scoped(depth)]
        if self.random.random() < 0.5:
            lines += ["else:", *self._scoped(depth)]
        return lines

    def _range(self) -> str:
        small = self.random.choice(("4", "LIMIT", "p0 & 15", "u8(p0) % 9", "len(OCTETS)"))
        return self.random.choice(
            (small, small, f"2, {small}", f"{small}, -3, -2", f"-4, {small}, 3", "13")
        )

    def _loop(self, depth: int) -> list[str]:
        self.in_loop += 1
        body = self._scoped(depth)
        self.in_loop -= 1
        return body

    def _else(self, depth: int) -> list[str]:
        """What a loop may end with."""
        return ["else:", *self._scoped(depth)] if self.random.random() < 0.2 else []

    def _for(self, depth: int) -> list[str]:
        name = self._new("k")
        self.fixed.append(name)
        lines = [f"for {name} in range({self._range()}):", *self._loop(min(depth, 2))]
        self.fixed.remove(name)
        return lines + self._else(depth)

    def _while(self, depth: int) -> list[str]:
        name, limit = self._new("n"), self.random.choice((3, 9, 20))
        step = self.random.choice((1, 2, 5))
        self.fixed.append(name)
        kind = self.random.choice(("", ": u32", ": i64"))
        more = self.random.choice(("", f" and ({self.condition(1)})"))
        lines = [f"{name}{kind} = 0", f"while {name} < {limit}{more}:", f"    {name} += {step}"]
        lines += self._loop(min(depth, 2))
        self.fixed.remove(name)
        return lines + self._else(depth)

    def _match(self, depth: int) -> list[str]:
        lines = [f"match {self.narrow(2)}:"]
        patterns = ["0", "Colour.RED", "7 | 9 | Colour.BLUE", "Bit.C", "-1", "200"]
        for pattern in self.random.sample(patterns, self.random.randint(1, 3)):
            guard = f" if {self.condition(1)}" if self.random.random() < 0.2 else ""
            lines.append(f"    case {pattern}{guard}:")
            lines += [f"    {line}" for line in self._scoped(depth)]
        if self.random.random() < 0.7:
            lines.append("    case _:")
            lines += [f"    {line}" for line in self._scoped(depth)]
        return lines
