"""What LLVM is given: which functions it puts into their callers first, and in how many parts.

LLVM's own inliner goes up from callee to caller, and optimises at each level all that has come in:
most of its time, for nearly the functions that are chosen here at once. What is left to it is to
put larger functions into several callers. Of the monitor that is half the time, and code that is as
large.

Two processes compile a large program's two parts. Which they are depends on the program alone. So
that LLVM can still put a function of the other part into its callers, it is lent its body.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vestige.lang.compiler import graph
from vestige.lang.compiler.program import Function

SMALL = 100  # instructions of a graph; so much, with all that is put into it, goes into any caller
LENT = 200  # the same of what LLVM may put into callers in the other part
LARGE = 5000  # instructions of a program that is worth two processes


@dataclass(slots=True)
class Part:
    """Functions to compile together; of the other part those whose bodies it is lent, and others.

    A part calls what it defines, what it is lent and what is declared, and nothing else.
    """

    defined: list[Function]
    lent: list[Function]
    declared: list[Function]


def plan(entries: Sequence[Function]) -> list[Part]:
    """The parts of all that `entries` lead to; marks what is put into its callers, and shared."""
    sizes = _sizes(entries)
    standing = [function for function in sizes if not function.inlined]
    total = sum(sizes[function] for function in standing)
    halves: tuple[list[Function], list[Function]] = ([], [])
    before = 0
    for function in standing:
        halves[total > LARGE and before >= total / 2].append(function)
        before += sizes[function]
    return [_part(half, sizes) for half in halves if half]


def _sizes(entries: Sequence[Function]) -> dict[Function, int]:
    """Each function, behind all that it calls, and its instructions with what is put into it."""
    sizes: dict[Function, int] = {}
    places = Counter(entries)
    for function in _reached(entries):
        places.update(_called(function))

    def visit(function: Function) -> None:
        size = sum(len(block.instructions) for block in _blocks(function))
        for callee in _called(function):
            if callee not in sizes:
                visit(callee)
            if callee.inlined:
                size += sizes[callee]
        sizes[function] = size
        stays = function.entry or function.cold or function.never_returns
        function.inlined = not stays and (size <= SMALL or places[function] == 1)

    for entry in entries:
        if entry not in sizes:
            visit(entry)
    return sizes


def _part(standing: Sequence[Function], sizes: dict[Function, int]) -> Part:
    """These with all that is put into them."""
    part = Part([*standing], [], [])
    found = set(standing)
    waiting = list(standing)
    while waiting:
        for callee in _called(waiting.pop()):
            if callee in found:
                continue
            found.add(callee)
            callee.shared |= not callee.inlined
            if callee.shared and sizes[callee] > LENT:
                part.declared.append(callee)
                continue
            (part.lent if callee.shared else part.defined).append(callee)
            waiting.append(callee)
    return part


def _reached(entries: Sequence[Function]) -> list[Function]:
    """The entries and every function they lead to, each once."""
    found = dict.fromkeys(entries)
    waiting = list(entries)
    while waiting:
        called = [callee for callee in _called(waiting.pop()) if callee not in found]
        found |= dict.fromkeys(called)
        waiting += called
    return list(found)


def _blocks(function: Function) -> Iterator[graph.Block]:
    """Those that are compiled."""
    blocks = function.graph.blocks if function.graph is not None else ()
    return (block for block in blocks if block.reached)


def _called(function: Function) -> list[Function]:
    """What it calls, by each of its calls."""
    return [
        instruction.function
        for block in _blocks(function)
        for instruction in block.instructions
        if isinstance(instruction, graph.Call)
    ]
