"""The control-flow graph of one function: blocks of instructions, each its own value.

An instruction is both an operation and the value it gives. The analysis fills in `interval`
(what an integer can be), the emitter `register`. Values may be used in any later block that
their own block dominates; locals carry everything else between blocks. `Graph.blocks` is in
an order where only loops jump backwards.
"""

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vestige.lang.compiler.intervals import UNSIGNED, Interval
from vestige.lang.compiler.kinds import Integer, Kind, Reference

if TYPE_CHECKING:
    from vestige.lang.compiler.program import Function

Node = ast.expr | ast.stmt | ast.pattern | ast.arg | ast.keyword


@dataclass(slots=True, eq=False)
class Local:
    """A named local, or an unnamed one that carries a value across blocks."""

    name: str
    reference: Reference | None = None  # None: an integer
    declared: Integer | None = None  # by an annotation: every store must fit
    number: int = 0


@dataclass(slots=True, eq=False)
class Instruction:
    """One operation; `node` is where a refusal or a panic points."""

    node: Node
    interval: Interval = field(init=False, default=UNSIGNED)
    register: str = field(init=False, default="")

    @property
    def reference(self) -> Reference | None:
        """What this value points to; None for integers and for no value."""
        return None


@dataclass(slots=True, eq=False)
class Constant(Instruction):
    """A constant. `flag`: CPython holds an IntFlag member here."""

    value: int
    flag: bool = False


@dataclass(slots=True, eq=False)
class ReadLocal(Instruction):
    """The value of a local."""

    local: Local

    @property
    def reference(self) -> Reference | None:
        """What the local points to."""
        return self.local.reference


@dataclass(slots=True, eq=False)
class WriteLocal(Instruction):
    """Set a local."""

    local: Local
    value: Instruction


@dataclass(slots=True, eq=False)
class StartCounter(Instruction):
    """Set the hidden counter of `for … in range(start, stop, step)`."""

    local: Local
    start: Instruction
    stop: Instruction
    step: int


@dataclass(slots=True, eq=False)
class Binary(Instruction):
    """An operator of `intervals.BINARY`."""

    operator: str
    left: Instruction
    right: Instruction


@dataclass(slots=True, eq=False)
class Extreme(Instruction):
    """`min` ("<") or `max` (">") of two integers."""

    operator: str
    left: Instruction
    right: Instruction


@dataclass(slots=True, eq=False)
class Unary(Instruction):
    """`-` or `~`."""

    operator: str
    operand: Instruction


@dataclass(slots=True, eq=False)
class Compare(Instruction):
    """A comparison: 0 or 1."""

    operator: str
    left: Instruction
    right: Instruction


@dataclass(slots=True, eq=False)
class Member(Instruction):
    """`value in (constants)`: 0 or 1."""

    value: Instruction
    constants: tuple[int, ...]
    negated: bool


@dataclass(slots=True, eq=False)
class Wrap(Instruction):
    """`u8(value)`: modulo 2**8."""

    kind: Integer
    value: Instruction


@dataclass(slots=True, eq=False)
class Plain(Instruction):
    """`int(value)`: the same integer, and no IntFlag member any more."""

    value: Instruction


@dataclass(slots=True, eq=False)
class Fit(Instruction):
    """`value`, proved to be one of `kind`; refused where it may not be."""

    kind: Integer
    value: Instruction
    what: str
    cure: str


@dataclass(slots=True, eq=False)
class FieldAddress(Instruction):
    """A field's address."""

    base: Instruction
    offset: int
    kind: Kind

    @property
    def reference(self) -> Reference | None:
        """The nested struct or array, if it is one."""
        return self.kind if isinstance(self.kind, Reference) else None


@dataclass(slots=True, eq=False)
class ElementAddress(Instruction):
    """An element's address; PANICs where the index is outside."""

    base: Instruction
    index: Instruction
    length: int
    size: int
    kind: Kind

    @property
    def reference(self) -> Reference | None:
        """The nested struct or array, if it is one."""
        return self.kind if isinstance(self.kind, Reference) else None


@dataclass(slots=True, eq=False)
class AtAddress(Instruction):
    """`Struct.at(address)`."""

    address: Instruction
    kind: Reference

    @property
    def reference(self) -> Reference | None:
        """The struct."""
        return self.kind


@dataclass(slots=True, eq=False)
class AddressOf(Instruction):
    """`address_of(place)`."""

    place: Instruction


@dataclass(slots=True, eq=False)
class Load(Instruction):
    """An integer field or element."""

    address: Instruction
    kind: Integer


@dataclass(slots=True, eq=False)
class Store(Instruction):
    """Store into an integer field or element: wraps, as ctypes does."""

    address: Instruction
    kind: Integer
    value: Instruction


@dataclass(slots=True, eq=False)
class CopyStruct(Instruction):
    """Assign a whole struct or array."""

    target: Instruction
    source: Instruction
    size: int


@dataclass(slots=True, eq=False)
class TableLoad(Instruction):
    """An element of a constant tuple or bytes; PANICs where the index is outside."""

    table: tuple[int, ...]
    index: Instruction


@dataclass(slots=True, eq=False)
class Call(Instruction):
    """A call of a compiled function."""

    function: "Function"
    arguments: tuple[Instruction, ...]

    @property
    def reference(self) -> Reference | None:
        """What a function that returns a struct points to."""
        results = self.function.results
        return results[0] if len(results) == 1 and isinstance(results[0], Reference) else None


@dataclass(slots=True, eq=False)
class Extract(Instruction):
    """One item of the tuple a call returned."""

    call: Call
    position: int

    @property
    def reference(self) -> Reference | None:
        """What the item points to, if it is a struct."""
        kind = self.call.function.results[self.position]
        return kind if isinstance(kind, Reference) else None


@dataclass(slots=True, eq=False)
class Intrinsic(Instruction):
    """One of `vestige.lang.intrinsics`."""

    name: str
    arguments: tuple[Instruction, ...]
    result: Integer | None


@dataclass(slots=True, eq=False)
class Panic(Instruction):
    """End here with a PANIC of this line; ends its block."""

    reason: str


@dataclass(slots=True, eq=False)
class Jump(Instruction):
    """Go on at another block."""

    target: "Block"


@dataclass(slots=True, eq=False)
class Branch(Instruction):
    """Go on at `then` if `condition` is not zero, else at `otherwise`."""

    condition: Instruction
    then: "Block"
    otherwise: "Block"


@dataclass(slots=True, eq=False)
class Return(Instruction):
    """Return these values."""

    values: tuple[Instruction, ...]


@dataclass(slots=True, eq=False)
class End(Instruction):
    """The end of the function's text: reached only by functions that return nothing."""


@dataclass(slots=True, eq=False)
class Unreachable(Instruction):
    """After a call that never returns."""


@dataclass(slots=True, eq=False)
class Block:
    """Instructions without a jump among them but the last."""

    number: int = -1  # in the order of Graph.blocks
    entered: bool = False  # a jump leads here
    rows: dict[str, object] = field(default_factory=dict)  # names that stand for constants here
    instructions: list[Instruction] = field(default_factory=list)
    reached: bool = False  # by the analysis


@dataclass(slots=True, eq=False)
class Graph:
    """A function's blocks, entry first, and its locals, parameters first."""

    blocks: list[Block]
    locals: list[Local]
    calls: list[Call]
