"""Why typed Python is refused: one line of what, the source with a caret, the reason, the cure."""

from enum import Enum

from vestige.errors import UsageError


class Rule(Enum):
    """Every reason to refuse. `docs/typed-python.md` explains each under the same name."""

    STATEMENT = "statement"
    EXPRESSION = "expression"
    STRING = "string"
    FLOAT = "float"
    OPERATOR = "operator"
    NAME = "name"
    VALUE = "value"
    CLOSURE = "closure"
    UNASSIGNED = "unassigned"
    KIND = "kind"
    WIDE = "wide"
    NARROW = "narrow"
    INDEX = "index"
    ZERO_DIVISION = "zero-division"
    SHIFT = "shift"
    RETURN = "return"
    ANNOTATION = "annotation"
    CALL = "call"
    ARGUMENTS = "arguments"
    RECURSION = "recursion"
    FIELD = "field"
    STRUCT = "struct"
    PATTERN = "pattern"
    LOOP = "loop"
    FLAG = "flag"
    TUPLE = "tuple"
    RUNTIME = "runtime"
    SOURCE = "source"


class Refusal(UsageError):
    """A construct that can't be compiled with CPython's meaning.

    `str()` of it is what a person reads: `file:line:column: refused (rule): reason`, the source
    line, a caret below the construct, and the cure. `where`, if it is said, is the turn of an
    unrolled loop. `others` are the refusals of other functions of the same build, also shown.
    """

    has_lines = True

    def __init__(
        self,
        rule: Rule,
        reason: str,
        cure: str,
        *,
        file: str,
        line: int,
        column: int,
        source: str = "",
        width: int = 1,
    ) -> None:
        self.rule, self.reason, self.cure = rule, reason, cure
        self.file, self.line, self.column = file, line, column
        self.source, self.width = source, width
        self.where = ""
        self.others: tuple[Refusal, ...] = ()
        super().__init__(reason)

    def describe(self) -> str:
        """This refusal alone, as four lines, or five where it says in which turn of a loop."""
        head = f"{self.file}:{self.line}:{self.column}: refused ({self.rule.value}): {self.reason}"
        indent = self.source[: self.column - 1]
        margin = "".join("\t" if letter == "\t" else " " for letter in indent)
        caret = margin + "^" * max(1, min(self.width, len(self.source) - self.column + 1))
        where = f"\n    where: {self.where}" if self.where else ""
        return f"{head}\n    {self.source}\n    {caret}{where}\n    cure: {self.cure}"

    def __str__(self) -> str:
        return "\n".join(refusal.describe() for refusal in (self, *self.others))
