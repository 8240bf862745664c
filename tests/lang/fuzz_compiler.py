"""Compiled code against CPython, on random functions.

    python -m tests.lang.fuzz_compiler --count 20000 --seed 1

prints how many functions were compared, how many refused, the seed and the disagreements;
the exit status is 1 if there is any.
"""

import argparse
import ctypes
import importlib.util
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.lang.generator import Case
from tests.lang.generator_prelude import PRELUDE
from vestige.lang.build import assemble, find_entries
from vestige.lang.compiler.program import Program
from vestige.lang.compiler.whole import analyze
from vestige.lang.errors import Refusal
from vestige.lang.intrinsics import CheckFailed
from vestige.lang.native import LIMITS, NativeImage, PanicError

BATCH = 50
INPUTS = 12
PROGRESS_SECONDS = 30
FAILURES = {
    IndexError: "index outside",
    ZeroDivisionError: "division by zero",
    ValueError: "negative shift count",
    CheckFailed: "check failed",
}


@dataclass
class Report:
    """What a run found."""

    seed: int
    compared: int = 0
    refused: int = 0
    panics: int = 0  # runs that ended in the same failed check in both
    disagreements: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"fuzz: {self.compared} functions compared, {self.refused} refused, "
            f"{self.panics} runs ended in a check, seed {self.seed}, "
            f"{len(self.disagreements)} disagreements"
        )


Outcome = tuple[object, bytes]


def load(source: str, folder: Path, name: str) -> ModuleType:
    """Import generated source as a module."""
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def compile_accepted(
    cases: list[Case], module: ModuleType, starts: list[int]
) -> tuple[NativeImage | None, list[Case]]:
    """Compile the cases that are not refused."""
    program = Program("process")
    entries = find_entries(program, [getattr(module, case.name) for case in cases])
    refused = set()
    try:
        analyze(program)
    except Refusal as refusal:
        for item in (refusal, *refusal.others):
            refused.add(sum(start <= item.line for start in starts) - 1)
    kept = [number for number in range(len(cases)) if number not in refused]
    if not kept:
        return None, []
    image = assemble(program, [entries[number] for number in kept], None).image
    return NativeImage(image), [cases[number] for number in kept]


def arguments(case: Case, choose: random.Random) -> list[int]:
    """Random arguments, often at the ends of their types."""
    values = []
    for kind in case.parameters:
        low, high = LIMITS[kind]
        edge = choose.choice((low, high, 0, 1, 3, 7, choose.randint(low, high)))
        values.append(choose.choice((edge, choose.randint(low, high), choose.randint(0, 20))))
    return values


def in_cpython(function: Callable[..., int], state: ctypes.Structure, values: list[int]) -> Outcome:
    """What CPython makes of it: a value, or the line and reason of a failed check."""
    try:
        result: object = int(function(state, *values))
    except tuple(FAILURES) as error:
        file = function.__code__.co_filename
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == file]
        result = (lines[-1], FAILURES[type(error)])
    return result, bytes(state)


def compiled(native: Callable[..., int], state: ctypes.Structure, values: list[int]) -> Outcome:
    """What the compiled function makes of it."""
    try:
        result: object = native(state, *values)
    except PanicError as panic:
        reason = next(r for r in FAILURES.values() if panic.reason.startswith(r))
        result = (panic.line, reason)
    return result, bytes(state)


def compare(case: Case, module: ModuleType, native: NativeImage, report: Report) -> None:
    """Run one case on random inputs both ways."""
    choose = random.Random(f"{report.seed}/{case.number}/inputs")
    function, entry = getattr(module, case.name), native[case.name]
    struct: Any = getattr(module, case.struct)
    for _ in range(INPUTS):
        values = arguments(case, choose)
        content = choose.choice(
            (bytes(ctypes.sizeof(struct)), choose.randbytes(ctypes.sizeof(struct)))
        )
        expected = in_cpython(function, struct.from_buffer_copy(content), values)
        found = compiled(entry, struct.from_buffer_copy(content), values)  # type: ignore[arg-type]
        report.panics += isinstance(expected[0], tuple)
        if found != expected:
            report.disagreements.append(
                f"{case.name}{values} on {content.hex()}: CPython {expected[0]}, "
                f"compiled {found[0]}, state {'same' if found[1] == expected[1] else 'differs'}\n"
                f"{case.source()}"
            )
            return


def batches(seed: int) -> Iterator[list[Case]]:
    """Cases without end."""
    number = 0
    while True:
        yield [Case(seed, number + index) for index in range(BATCH)]
        number += BATCH


def run_batch(cases: list[Case], folder: Path, report: Report) -> None:
    """Compile and compare a batch."""
    source, starts = PRELUDE, []
    for case in cases:
        starts.append(source.count("\n") + 1)
        source += f"\n\n{case.source()}\n"
    module = load(source, folder, f"generated{cases[0].number}")
    native, accepted = compile_accepted(cases, module, starts)
    report.refused += len(cases) - len(accepted)
    for case in accepted:
        if native is not None:
            compare(case, module, native, report)
            report.compared += 1


def fuzz(
    seed: int,
    count: int,
    seconds: float | None = None,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Compare until `count` functions were, or `seconds` are over. `progress`: every batch."""
    report, end = Report(seed), time.monotonic() + seconds if seconds else None
    with tempfile.TemporaryDirectory() as name:
        for cases in batches(seed):
            if end is not None and time.monotonic() >= end:
                break
            if end is None and report.compared >= count:
                break
            run_batch(cases, Path(name), report)
            progress(report)
    return report


class Progress:
    """Says every PROGRESS_SECONDS how far it is, on standard error."""

    def __init__(self) -> None:
        self._next = time.monotonic() + PROGRESS_SECONDS

    def __call__(self, report: Report) -> None:
        if time.monotonic() >= self._next:
            self._next += PROGRESS_SECONDS
            print(f"so far: {report}", file=sys.stderr, flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20000, help="functions to compare")
    parser.add_argument("--seconds", type=float, help="stop after this long instead")
    parser.add_argument("--seed", type=int, default=None, help="default: random")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    report = fuzz(seed, options.count, options.seconds, Progress())
    for disagreement in report.disagreements:
        print(disagreement)
    print(report)
    return 1 if report.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())
