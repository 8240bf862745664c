"""The LLVM module being written: declarations, constant tables, check sites, debug metadata."""

from collections.abc import Iterable

from vestige.lang.compiler.graph import Node
from vestige.lang.compiler.intervals import MASK, WORD
from vestige.lang.compiler.program import Function, SourceFile

# GPA 0 is RAM; interrupts are taken on the stack in use; nothing unwinds.
ATTRIBUTES = "nounwind noredzone null_pointer_is_valid"
# LLVM is to put most other functions into their callers, too, up to 325 of its units: of a trap's
# turn 2 % fewer instructions than up to 100, and a quarter more code.
INLINED, HOT, COLD = "alwaysinline", "inlinehint", "cold noinline"

HEADER = """\
target triple = "x86_64-unknown-none-elf"
declare hidden void @vestige_panic(i64) noreturn cold nounwind
declare hidden void @vestige_copy(i64, i64, i64) nounwind
declare hidden void @vestige_fill(i64, i64, i64) nounwind
declare hidden void @vestige_read_state(i64) nounwind
declare hidden void @vestige_run_guest(i64, i64) nounwind
declare hidden void @vestige_run_aside(i64, i64, i64) nounwind
declare hidden void @vestige_take_over(i64) nounwind
declare hidden i64 @vestige_nmi_entry() nounwind
declare hidden i64 @vestige_startup_page() nounwind
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
"""


class Module:
    """Collects the text of a module. `sites[0]` is unused: site 0 means a CPU exception."""

    def __init__(self, runtime: str) -> None:
        self.runtime = runtime
        self.sites: list[tuple[str, int, str]] = [("", 0, "")]
        self._site_numbers: dict[tuple[str, int, str], int] = {}
        self._tables: dict[tuple[tuple[int, ...], int], str] = {}
        self._table_lines: list[str] = []
        self._metadata: list[str] = []
        self._files: dict[SourceFile, int] = {}
        self._unit = self._add_metadata("")
        self._subroutine = self._add_metadata("!DISubroutineType(types: !{null})")
        flags = (
            '!{i32 2, !"Debug Info Version", i32 3}',
            '!{i32 2, !"Dwarf Version", i32 4}',
            '!{i32 8, !"PIC Level", i32 2}',
        )
        self._flags = ", ".join(f"!{self._add_metadata(flag)}" for flag in flags)

    def site(self, function: Function, node: Node, reason: str) -> int:
        """The number of a check that PANICs at `node` for `reason`."""
        key = (function.source.name, node.lineno, reason)
        if key not in self._site_numbers:
            self._site_numbers[key] = len(self.sites)
            self.sites.append(key)
        return self._site_numbers[key]

    def table(self, values: tuple[int, ...], bits: int) -> str:
        """The name of a constant array of `bits`-wide integers."""
        key = (values, bits)
        if key not in self._tables:
            name = self._tables[key] = f"@table.{len(self._tables)}"
            items = ", ".join(f"i{bits} {literal(value)}" for value in values)
            kind = f"[{len(values)} x i{bits}]"
            self._table_lines.append(f"{name} = internal unnamed_addr constant {kind} [{items}]")
        return self._tables[key]

    # ---- debug metadata ------------------------------------------------------------------------
    def _add_metadata(self, text: str) -> int:
        self._metadata.append(text)
        return len(self._metadata) - 1

    def _file(self, source: SourceFile) -> int:
        if source not in self._files:
            self._files[source] = self._add_metadata(
                f'!DIFile(filename: "{_escaped(source.name)}", '
                f'directory: "{_escaped(str(source.root))}")'
            )
        return self._files[source]

    def subprogram(self, function: Function) -> int:
        """The metadata number of a function's debug scope."""
        file = self._file(function.source)
        line = function.tree.lineno
        return self._add_metadata(
            f'distinct !DISubprogram(name: "{_escaped(function.python.__qualname__)}", '
            f"scope: !{file}, file: !{file}, line: {line}, type: !{self._subroutine}, "
            f"scopeLine: {line}, spFlags: DISPFlagDefinition | DISPFlagOptimized, "
            f"unit: !{self._unit})"
        )

    def location(self, scope: int, line: int) -> int:
        """The metadata number of a source line."""
        return self._add_metadata(f"!DILocation(line: {line}, column: 0, scope: !{scope})")

    def text(self, functions: Iterable[str], assembly: str) -> str:
        """The module with these functions and `assembly` in it."""
        file = next(iter(self._files.values()))
        self._metadata[self._unit] = (
            f"distinct !DICompileUnit(language: DW_LANG_Python, file: !{file}, "
            f'producer: "vestige", isOptimized: true, runtimeVersion: 0, '
            f"emissionKind: LineTablesOnly)"
        )
        return "\n".join(
            [
                HEADER,
                *(f'module asm "{_escaped(line)}"' for line in assembly.splitlines()),
                *self._table_lines,
                *functions,
                f"!llvm.dbg.cu = !{{!{self._unit}}}",
                f"!llvm.module.flags = !{{{self._flags}}}",
                *(f"!{number} = {line}" for number, line in enumerate(self._metadata)),
            ]
        )


def _escaped(text: str) -> str:
    """`text` inside an LLVM string."""
    return "".join(
        letter if " " <= letter <= "~" and letter not in '"\\' else
        "".join(f"\\{byte:02X}" for byte in letter.encode())
        for letter in text
    )  # fmt: skip


def literal(value: int) -> str:
    """A constant's low 64 bits, as LLVM reads them."""
    value &= MASK
    return str(value - (1 << WORD) if value >> WORD - 1 else value)
