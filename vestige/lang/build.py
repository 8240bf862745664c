"""Compile functions of typed Python, and all they call, to an image."""

import gc
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from vestige.lang.compiler.emit import Emitter, declaration, lent
from vestige.lang.compiler.kinds import BOOL, BY_NAME, Integer, Kind
from vestige.lang.compiler.link import link
from vestige.lang.compiler.module import Module
from vestige.lang.compiler.objects import object_files
from vestige.lang.compiler.plan import plan
from vestige.lang.compiler.program import Function, Program
from vestige.lang.compiler.runtime import RUNTIME_NAMES, RUNTIMES, assembly
from vestige.lang.compiler.whole import analyze
from vestige.lang.errors import Rule
from vestige.lang.image import Image


class Built(NamedTuple):
    """An image, and an ELF file of the same code with its source lines, for debuggers."""

    image: Image
    elf: bytes


def compile_functions(
    functions: Sequence[Callable[..., Any]], *, base: int | None, runtime: str
) -> Image:
    """The image alone of what `build` builds."""
    return build(functions, base=base, runtime=runtime).image


def build(functions: Sequence[Callable[..., Any]], *, base: int | None, runtime: str) -> Built:
    """Compile `functions`, the entries, with everything reachable from them.

    base: the address the image will be at; None: anywhere. runtime: "monitor" for a monitor
    vCPU, "kernel" for ring 0 of any other, "efi" for an application of firmware, "process" for this
    process. Entries are symbols under their qualified names.
    Raises Refusal, naming every function refused.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime {runtime!r} is none of {RUNTIMES}")
    with _uncollected():
        program = Program(runtime)
        entries = find_entries(program, functions)
        analyze(program)
        return assemble(program, entries, base)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Have no garbage collected: a fifth of the compiler's own time, for next to none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def assemble(program: Program, entries: Sequence[Function], base: int | None) -> Built:
    """Analysed `entries` and what they call."""
    module = Module(program.runtime)
    linked = link(object_files(_texts(module, entries)), base or 0)
    files, rows = _line_table(program, linked.lines)
    image = Image(
        base=base,
        runtime=program.runtime,
        code=linked.code,
        memory_size=linked.memory_size,
        symbols=linked.symbols,
        sites=tuple(module.sites),
        signatures={entry.name: _signature(entry) for entry in entries},
        files=files,
        rows=rows,
    )
    return Built(image, linked.elf)


def _texts(module: Module, entries: Sequence[Function]) -> list[str]:
    """What LLVM compiles: each part of the program, the first one with the runtime."""
    bodies: dict[Function, str] = {}
    parts = plan(entries)
    for part in parts:
        for function in part.defined:
            if function not in bodies and function.graph is not None:
                bodies[function] = Emitter(module, function, function.graph).define()
    texts = []
    for number, part in enumerate(parts):
        functions = [bodies[function] for function in part.defined]
        functions += [lent(bodies[function]) for function in part.lent]
        functions += map(declaration, part.declared)
        texts.append(module.text(functions, assembly(module.runtime) if number == 0 else ""))
    return texts


def _line_table(
    program: Program, lines: list[tuple[int, str, int]]
) -> tuple[tuple[str, ...], bytes]:
    """The table of Image: the files as people name them, and its rows."""
    files = sorted({file for _, file, _ in lines})
    numbers = {file: number for number, file in enumerate(files)}
    rows = array("I")
    for offset, file, line in lines:
        rows.extend((offset, numbers[file], line))
    names = {
        str(function.source.path): function.source.name for function in program.functions.values()
    }
    return tuple(names.get(file, file) for file in files), rows.tobytes()


def find_entries(program: Program, functions: Sequence[Callable[..., Any]]) -> list[Function]:
    """Declare `functions` as entries. Raises Refusal."""
    entries = [program.function(function) for function in functions]
    names = [entry.name for entry in entries]
    for entry in entries:
        entry.entry = True
        if names.count(entry.name) > 1:
            raise entry.refusal(
                entry.tree, Rule.CALL, f"two entries are named {entry.name}", "rename one"
            )
        if entry.name in RUNTIME_NAMES:
            raise entry.refusal(
                entry.tree, Rule.CALL, f"{entry.name} is a name of the runtime", "rename it"
            )
        if entry.given:
            raise entry.refusal(
                entry.given[0].node, Rule.CALL,
                f"{entry.name} is given a constant by each call, and an entry has none",
                "make a function that calls it the entry",
            )  # fmt: skip
        if entry.borrows_site:
            raise entry.refusal(
                entry.tree, Rule.CALL, f"{entry.name} PANICs at its caller's line and has none",
                "make a function that calls it the entry",
            )  # fmt: skip
    return entries


def _signature(function: Function) -> tuple[tuple[str, ...], tuple[str, ...]]:
    parameters = tuple(_kind_name(parameter.kind) for parameter in function.parameters)
    return parameters, tuple(_kind_name(kind) for kind in function.results)


def _kind_name(kind: Kind) -> str:
    """u8 … i64, bool; or the name of a Struct, u8[512]."""
    if not isinstance(kind, Integer) or kind.name in BY_NAME or kind == BOOL:
        return kind.name
    return "i64" if kind.signed else "u64"
