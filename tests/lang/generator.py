"""Random typed Python: a struct, helpers and a function `caseN`, as source text.

What it writes always ends, in CPython as compiled; what it writes may be refused.
"""

from collections.abc import Callable

from tests.lang.generator_expressions import WIDTHS, Expressions


class Case(Expressions):
    """One random case."""

    # ---- text ----------------------------------------------------------------------------------
    def source(self) -> str:
        """The struct, the helpers and the function."""
        helpers = [self._pair_helper(), self._scalar_helper(), self._row_helper()]
        return "\n\n".join([self._struct(), *helpers, self._main()])

    def _struct(self) -> str:
        lines = [f"class {self.struct}(Struct):"]
        for name, (kind, length) in self.fields.items():
            lines.append(f"    {name}: {kind}{f'[{length}]' if length else ''}")
        lines += ["    pair: Pair", "    pairs: Pair[3]", "    twin: Twin", ""]
        self.enter("method", ["u8", "i16"])
        body = self._block(1, 2)
        lines.append(f"    def method(s, p0: u8, p1: i16 = -3) -> {self.result}:")
        lines += [f"        {line}" for line in body]
        lines.append(f"        return {self.cast(self.result, self.expression(2))}")
        return "\n".join(lines)

    def _pair_helper(self) -> str:
        self.enter("pair", ["u16", "i32"])
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
        self.enter("scalar", ["u8", "i64"])
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

    def _row_helper(self) -> str:
        """A function that each call gives a record."""
        self.enter("row", ["u8"])
        self.rows = ["row"]
        body = self._block(1, 2)
        result = self.cast("i64", self.expression(2))
        self.rows = []
        return "\n".join(
            [
                f"def row{self.number}(s: {self.struct}, row: Row, p0: u8 = 3) -> i64:",
                *(f"    {line}" for line in body),
                f"    return {result}",
            ]
        )

    def _main(self) -> str:
        self.enter("main", self.parameters)
        body = self._block(3, self.random.randint(2, 6))
        listed = "".join(f", p{i}: {kind}" for i, kind in enumerate(self.parameters))
        return "\n".join(
            [
                f"def {self.name}(s: {self.struct}{listed}) -> {self.result}:",
                *(f"    {line}" for line in body),
                f"    return {self.cast(self.result, self.expression(3))}",
            ]
        )

    # ---- statements ----------------------------------------------------------------------------
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
        self.spent += [name for name in self.locals if name not in before]
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
                (2, self._unrolled),
            ]
        if depth > 0 and self.rows:
            kinds += [(3, self._row_match)]
        weights = [weight for weight, _ in kinds]
        return self.random.choices([make for _, make in kinds], weights)[0](depth)

    def _assign(self, _depth: int) -> list[str]:
        if self.locals and self.random.random() < 0.4:
            name = self.random.choice(self.locals)
            return [f"{name} = {self.cast(self.kinds[name], self.expression(3))}"]
        if self.spent and self.random.random() < 0.2:
            name = self.random.choice(self.spent)
            self.locals.append(name)
            return [f"{name} = {self.kinds[name]}({self.expression(2)})"]
        kind, name = self.random.choice(WIDTHS), self.new()
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
        name, start = self.new("n"), self.random.choice((1, 7, 16))
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
        name = self.new("r")
        return [
            f"{name} = s.pairs[{self.index(3)}]",
            f"{name}.right = {self.expression(2)}",
            f"{name}.left += {self.narrow(1)}",
        ]

    def _unpack(self, _depth: int) -> list[str]:
        one, other = self.new(), self.new()
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
        name = self.new("k")
        self.fixed.append(name)
        lines = [f"for {name} in range({self._range()}):", *self._loop(min(depth, 2))]
        self.fixed.remove(name)
        return lines + self._else(depth)

    def _unrolled(self, depth: int) -> list[str]:
        """A loop over rows, over what a row has, or over integers."""
        name, number = self.new("c"), self.new("k")
        integers = self.random.choice(("TABLE", "(3, 70000)", "OCTETS[0], 5", "()", "SIGNED_TABLE"))
        if self.rows:
            row = self.random.choice(self.rows)
            integers = self.random.choice((f"{row}.sizes", f"{row}.steps", integers))
        if len(self.rows) < 2 and self.random.random() < 0.6:
            rows = "ROWS"
            self.rows.append(name)
        else:
            rows = integers
            self.fixed.append(f"{name}.size" if rows.endswith("steps") else name)
        numbered = self.random.random() < 0.3 and "," not in rows
        head = f"for {number}, {name} in enumerate({rows})" if numbered else f"for {name} in {rows}"
        self.fixed += [number] * numbered
        body = self._turn(name if rows == "ROWS" else "", depth)
        self.rows = [row for row in self.rows if row != name]
        self.fixed = [item for item in self.fixed if item.split(".")[0] not in (name, number)]
        return [f"{head}:", *body, *self._else(depth)]

    def _turn(self, row: str, depth: int) -> list[str]:
        """The body of an unrolled loop; where it is over rows, with the struct one names."""
        if not row or self.inside == "scalar":
            return self._loop(min(depth, 2))
        device = self.new("d")
        self.references.append(device)
        body = self._loop(min(depth, 2))
        self.references.remove(device)
        first = [f"    {device} = getattr(s, {row}.pair)"]
        if self.random.random() < 0.1:
            first = [f"    if {self.condition(1)}:", f"    {first[0]}"]
        return first + body

    def _row_match(self, depth: int) -> list[str]:
        row = self.random.choice(self.rows)
        subject, patterns = self.random.choice(
            (
                (f"{row}.kind", ("None", "Colour.RED | 7", "Colour.BLUE")),
                (f"{row}.pair", ("'twin'", "'pair' | 'twin'", "None")),
                (f"{row}.timed", ("True", "False", "1")),
                (self.narrow(2), (f"{row}.number", f"{row}.timed", "7 | 300")),
            )
        )
        lines = [f"match {subject}:"]
        for pattern in self.random.sample(patterns, self.random.randint(1, 3)):
            guard = f" if {self.condition(1)}" if self.random.random() < 0.2 else ""
            lines += [f"    case {pattern}{guard}:", *self._indented(depth)]
        if self.random.random() < 0.7:
            lines += ["    case _:", *self._indented(depth)]
        return lines

    def _indented(self, depth: int) -> list[str]:
        return [f"    {line}" for line in self._scoped(depth)]

    def _while(self, depth: int) -> list[str]:
        name, limit = self.new("n"), self.random.choice((3, 9, 20))
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
            lines += [f"    case {pattern}{guard}:", *self._indented(depth)]
        if self.random.random() < 0.7:
            lines += ["    case _:", *self._indented(depth)]
        return lines
