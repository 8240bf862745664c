"""Random expressions of typed Python, of what is in sight where they stand."""

import random
from collections.abc import Callable

WIDTHS = ("u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64")
ARITHMETIC = ("+", "-", "*", "&", "|", "^", "+", "-", "&", "|", "<<", ">>", "//", "%")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
NUMBERS = (0, 1, 2, 3, 5, 7, 8, 10, 15, 16, 63, 64, 127, 128, 255, 256, 1000, 0x7FFF, 0xFFFF,
           1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
CONSTANT_CONDITIONS = ("LIMIT", "LIMIT > 20", "not LIMIT", "3 < LIMIT < 12", "LIMIT in OCTETS",
                       "len(TABLE)", "not ()", "Colour.RED == 1 or LIMIT")  # fmt: skip
# {} is the name of a row.
ROW_INTEGERS = ("{}.number", "{}.timed", "{}.steps[0].size if {}.steps else 9", "len({}.sizes)",
                "({}.kind is None)", "({}.kind or 77)", "{}.mask", "len({}.turns)")  # fmt: skip
ROW_CONDITIONS = ("{}.timed", "not {}.steps", "{}.kind is not None", "{}.kind in (None, 1)",
                  "{}.number > 5", "{}.pair != 'twin'", "bool({}.sizes)", "{}.turn is apart",
                  "2 < {}.number < 9")  # fmt: skip

ROW_CALLS = ("{}.turn", "{}.weigh", "({}.turns or (turned,))[0]")


class Expressions:
    """What is in sight in a random case, and expressions of it.

    `parameters` are the integer types the function takes after the struct.
    """

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
        self.spent: list[str] = []  # were assigned in a suite that is over
        self.rows: list[str] = []  # records, by the names of the unrolled loops around
        self.references = ["s.pairs[{}]", "s.pair"]
        self.kinds: dict[str, str] = {}  # what each local is made to fit
        self.in_loop = 0
        self.count = 0
        self.inside = "main"

    def _fields(self) -> dict[str, tuple[str, int]]:
        """Name to (element type, length; 0 for no array)."""
        chosen: dict[str, tuple[str, int]] = {}
        for index in range(self.random.randint(2, 5)):
            chosen[f"f{index}"] = (self.random.choice(WIDTHS), 0)
        for index in range(self.random.randint(1, 2)):
            chosen[f"a{index}"] = (self.random.choice(WIDTHS), self.random.choice((1, 3, 4, 8, 13)))
        return chosen

    def enter(self, inside: str, parameters: list[str]) -> None:
        """Begin a function with these parameters."""
        self.inside, self.fixed, self.spent = inside, [], []
        self.kinds = {f"p{index}": kind for index, kind in enumerate(parameters)}
        self.locals = list(self.kinds)

    def new(self, letter: str = "v") -> str:
        """A name that is nothing yet."""
        self.count += 1
        return f"{letter}{self.count}"

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
        if self.rows and self.random.random() < 0.5:
            call = self.random.choice(ROW_CALLS).replace("{}", self.random.choice(self.rows))
            return f"{call}(u16({wide}), u8({small}))"
        if self.inside == "main":
            if self.random.random() < 0.3:
                row = self.random.choice([*self.rows, "ROWS[1]", "ROWS[-1]"])
                return f"row{self.number}(s, {row}{self.random.choice(('', f', u8({small})'))})"
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
        if self.rows and self.random.random() < 0.3:
            return self._row_condition(depth)
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

    def _row_condition(self, depth: int) -> str:
        """What a row alone decides, or it and values of run time."""
        row = self.random.choice(self.rows)
        decided = self.random.choice(ROW_CONDITIONS).replace("{}", row)
        kind = self.random.randrange(5)
        if kind == 0:
            return f"{self.narrow(depth - 1)} in {row}.sizes"
        if kind == 1 and self.inside != "scalar":
            return f"{row}.pair == 'twin' and getattr(s, {row}.pair).extra < {self.leaf()}"
        if kind == 2:
            return f"({decided}) or ({self.condition(depth - 1)})"
        if kind == 3:
            return f"({self.condition(depth - 1)}) and ({decided})"
        return decided

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
        if self.rows and self.random.random() < 0.25:
            return self._of_row()
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

    def _of_row(self) -> str:
        """An integer that a row is or names."""
        row = self.random.choice(self.rows)
        if self.inside != "scalar" and self.random.random() < 0.5:
            return self._named_place(row)
        return f"({self.random.choice(ROW_INTEGERS).replace('{}', row)})"

    def _named_place(self, row: str) -> str:
        part = self.random.choice((".left", ".right"))
        return self.random.choice((f"getattr(s, {row}.field)", f"getattr(s, {row}.pair){part}"))

    def place(self) -> str:
        """A field or an element of the struct."""
        if self.rows and self.random.random() < 0.2:
            return f"getattr(s, {self.random.choice(self.rows)}.pair).left"
        if self.random.random() < 0.25:
            base = self.random.choice(self.references).format(self.index(3))
            return f"{base}.{self.random.choice(('left', 'right', f'bytes[{self.index(4)}]'))}"
        name, (_, length) = self.random.choice(list(self.fields.items()))
        return f"s.{name}[{self.index(length)}]" if length else f"s.{name}"
