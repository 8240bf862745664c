"""What every integer of a function can be: abstract interpretation over its graph.

Each round visits the blocks in order, carrying the intervals of the locals along; a branch
narrows the locals it compares. Rounds go on until no loop brings anything new; a local that
keeps growing is widened to the next bound it is compared with, then to that of a type.
"""

from itertools import chain

from vestige.lang.compiler import graph
from vestige.lang.compiler.graph import Block, Graph, Instruction
from vestige.lang.compiler.intervals import MIRRORED, NEGATED, UNSIGNED, Interval, refine
from vestige.lang.compiler.kinds import BY_NAME, Integer
from vestige.lang.compiler.program import Function, described
from vestige.lang.compiler.transfer_functions import State, TransferFunctions
from vestige.lang.errors import Refusal

MAX_STEPS = 6  # widenings of one loop by the function's own constants
TYPE_BOUNDS = sorted({bound for kind in BY_NAME.values() for bound in kind.interval[:2]} | {1})


class Analysis:
    """The intervals of one function's graph, found once."""

    def __init__(self, function: Function, flow: Graph) -> None:
        self.graph, self.transfer = flow, TransferFunctions(function)
        self.function = function
        self.incoming: list[State | None] = [None] * len(flow.blocks)
        self.widened = [0] * len(flow.blocks)
        self.again = False
        self._bounds = sorted(set(TYPE_BOUNDS).union(_compared_constants(flow)))

    def run(self) -> None:
        """Fill in every instruction's interval and every block's `reached`."""
        state = self.incoming[0] = {}
        parameters = zip(self.function.parameters, self.graph.locals, strict=False)
        for number, (parameter, local) in enumerate(parameters):
            kind = parameter.kind
            interval = kind.interval if isinstance(kind, Integer) else UNSIGNED
            flag = interval.flag or number in self.function.flag_parameters
            state[local] = Interval(interval.low, interval.high, flag)
        self.again = True
        while self.again:
            self.again = False
            for block in self.graph.blocks:
                incoming = self.incoming[block.number]
                if incoming is not None:
                    block.reached = True
                    self._visit(block, dict(incoming))

    def _visit(self, block: Block, state: State) -> None:
        apply = self.transfer.apply
        try:
            for instruction in block.instructions:
                apply(instruction, state)
        except Refusal as refusal:
            refusal.where = described(block.rows)
            raise
        last = block.instructions[-1] if block.instructions else None
        if isinstance(last, graph.Jump):
            self._flow(block, last.target, state)
        elif isinstance(last, graph.Branch):
            for target, truth in ((last.then, True), (last.otherwise, False)):
                narrowed = _narrow(last.condition, truth, dict(state))
                if narrowed is not None:
                    self._flow(block, target, narrowed)

    def _flow(self, source: Block, target: Block, state: State) -> None:
        """Join `state` into what reaches `target`."""
        old = self.incoming[target.number]
        if old is None:
            self.incoming[target.number] = state
            self.again |= target.number <= source.number
            return
        joined = {
            local: interval.join(state[local]) for local, interval in old.items() if local in state
        }
        if joined == old:
            return
        if target.number <= source.number:
            self.again = True
            self.widened[target.number] += 1
            own = self.widened[target.number] <= MAX_STEPS
            bounds = self._bounds if own else TYPE_BOUNDS
            joined = {
                local: self._widen(old[local], interval, bounds, local.declared)
                for local, interval in joined.items()
            }
        self.incoming[target.number] = joined

    def _widen(
        self, old: Interval, new: Interval, bounds: list[int], declared: Integer | None
    ) -> Interval:
        low, high = new.low, new.high
        if low < old.low:
            low = max((bound for bound in bounds if bound <= low), default=low)
        if high > old.high:
            high = min((bound for bound in bounds if bound >= high), default=high)
        if declared is not None:  # every store was proved to fit
            low, high = max(low, declared.interval.low), min(high, declared.interval.high)
        return Interval(low, high, new.flag)


def _compared_constants(flow: Graph) -> set[int]:
    """Constants a loop may count up to, and their neighbours."""
    found: set[int] = set()
    for instruction in chain.from_iterable(block.instructions for block in flow.blocks):
        if isinstance(instruction, graph.Compare):
            for side in (instruction.left, instruction.right):
                if isinstance(side, graph.Constant):
                    found.update((side.value - 1, side.value, side.value + 1))
    return found


def _narrow(condition: Instruction, truth: bool, state: State) -> State | None:
    """The state where `condition` is true (or false); None where it can't be."""
    interval = condition.interval
    if truth and interval.constant == 0:
        return None
    if not truth and interval.meet(0, 0) is None:
        return None
    match condition:
        case graph.Compare(operator=operator, left=left, right=right):
            held = operator if truth else NEGATED[operator]
            for side, other, relation in (
                (left, right, held),
                (right, left, MIRRORED[held]),
            ):
                if not _narrow_local(side, refine(relation, side.interval, other.interval), state):
                    return None
        case graph.Member(value=value, constants=constants, negated=negated):
            if truth != negated:
                narrowed = value.interval.meet(min(constants), max(constants))
                return state if _narrow_local(value, narrowed, state) else None
        case graph.ReadLocal():
            narrowed = refine("!=" if truth else "==", interval, Interval(0, 0))
            return state if _narrow_local(condition, narrowed, state) else None
    return state


def _narrow_local(side: Instruction, narrowed: Interval | None, state: State) -> bool:
    """Narrow the local that `side` reads, if it does. False if nothing is left."""
    if narrowed is None:
        return False
    if isinstance(side, graph.ReadLocal):
        both = state[side.local].meet(narrowed.low, narrowed.high)
        if both is None:
            return False
        state[side.local] = both
    return True
