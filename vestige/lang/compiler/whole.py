"""The whole program: every reachable function built and analysed, and what takes them all.

IntFlag members go through calls in CPython, so whether a parameter or a result may be one is
found for all functions together. Recursion is refused here.
"""

from vestige.lang.compiler import graph
from vestige.lang.compiler.analysis import Analysis
from vestige.lang.compiler.graph import Graph
from vestige.lang.compiler.program import Function, Program
from vestige.lang.compiler.statements import build
from vestige.lang.errors import Refusal, Rule


def analyze(program: Program) -> None:
    """Fill in the graph of every reachable function.

    Raises Refusal: the first reason of each function that is refused.
    """
    refusals: dict[tuple[str, int, int], Refusal] = {}
    callers: dict[Function, set[Function]] = {}
    while program.waiting:
        function = program.waiting.pop()
        try:
            flow = function.graph or build(program, function)
            Analysis(function, flow).run()
        except Refusal as refusal:
            refusals[refusal.file, refusal.line, refusal.column] = refusal
            continue
        function.graph = flow
        for call in flow.calls:
            callers.setdefault(call.function, set()).add(function)
        program.waiting += _affected(function, flow, callers.get(function, set()))
    if refusals:
        first, *others = (refusals[place] for place in sorted(refusals))
        first.others = tuple(others)
        raise first
    _refuse_recursion(program)


def _affected(function: Function, flow: Graph, callers: set[Function]) -> list[Function]:
    """Note where `function` passes or returns an IntFlag; the functions to analyse again."""
    again = []
    for call in flow.calls:
        callee = call.function
        passed = {n for n, value in enumerate(call.arguments) if value.interval.flag}
        if not passed <= callee.flag_parameters:
            callee.flag_parameters |= passed
            if callee.graph is not None:
                again.append(callee)
    returned = {
        position
        for block in flow.blocks
        for instruction in block.instructions
        if isinstance(instruction, graph.Return)
        for position, value in enumerate(instruction.values)
        if value.interval.flag
    }
    if not returned <= function.flag_results:
        function.flag_results |= returned
        again += callers
    return again


def _refuse_recursion(program: Program) -> None:
    """Stacks are 64 KiB and end in the vCPU's own state: their depth must be known."""
    finished: set[Function] = set()

    def visit(function: Function, callers: tuple[Function, ...]) -> None:
        if function in finished or function.graph is None:
            return
        for call in function.graph.calls:
            if call.function is function or call.function in callers:
                raise function.refusal(
                    call.node, Rule.RECURSION,
                    f"{function.name} calls {call.function.name}, which leads back here",
                    "write a loop",
                )  # fmt: skip
            visit(call.function, (*callers, function))
        finished.add(function)

    for function in program.functions.values():
        visit(function, ())
