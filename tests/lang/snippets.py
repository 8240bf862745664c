"""Compiling short sources written in tests and in the documentation."""

import ast
import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from vestige.lang.build import compile_functions
from vestige.lang.image import Image
from vestige.lang.types import Struct

PRELUDE = """\
from collections.abc import Callable
from enum import IntEnum, IntFlag
from typing import NoReturn, Protocol
from vestige.lang.intrinsics import *
from vestige.lang.intrinsics import at_callers_line
from vestige.lang.memory import Memory
from vestige.lang.records import Record
from vestige.lang.types import Struct, i8, i16, i32, i64, u8, u16, u32, u64
class Reg(IntEnum):
    DATA = 0
    STATUS = 7
class Status(IntFlag):
    BSY = 0x80
    DRQ = 8
class Drive(Struct):
    status: u8
    sectors: u64
    buffer: u8[512]
class Channel(Struct):
    selected: u8
    position: u16
    data: u8[16]
    drives: Drive[2]
class Line(Record):
    field: str
    pin: u8
class Place(Record):
    field: str
    first: u16
    count: u16 = 8
    timed: bool = False
    lines: tuple[Line, ...] = ()
    owner: str | None = None
class Serial(Struct):
    divisor: u16
    ready: u8
    alarm: u64
    def read(self, offset: u8, now: u64) -> u8:
        return u8(self.divisor >> 8 * (offset & 1))
    def write(self, offset: u8, value: u8, now: u64) -> None:
        self.divisor = self.divisor ^ value << (offset & 7)
        self.alarm = now + self.divisor
    def expire(self, now: u64) -> None:
        self.ready = now >= self.alarm
class Beeper(Struct):
    tone: u8
    sound: u8
    silence: u8
    def read(self, offset: u8, now: u64) -> u8:
        return self.tone
    def write(self, offset: u8, value: u8, now: u64) -> None:
        self.tone = value
        self.sound = value & 1
class Board(Struct):
    serial: Serial
    beeper: Beeper
    pins: u8[24]
SERIAL = Place("serial", 0x3F8, timed=True, lines=(Line("ready", 4),))
BEEPER = Place("beeper", 0x61, 1, lines=(Line("sound", 0), Line("silence", 2)), owner="serial")
PLACES = (SERIAL, BEEPER)
"""
PRELUDE_LINES = PRELUDE.count("\n")
_numbers = itertools.count()


def load(source: str, folder: Path) -> ModuleType:
    """Import `source` below the prelude, from a file in `folder`."""
    name = f"snippet{next(_numbers)}"
    path = folder / f"{name}.py"
    path.write_text(PRELUDE + source)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def functions(source: str, module: ModuleType) -> list[Callable[..., Any]]:
    """The functions, and methods of Structs, that `source` defines: entries all."""
    found: list[Callable[..., Any]] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            found.append(getattr(module, node.name))
        elif isinstance(node, ast.ClassDef):
            cls = getattr(module, node.name)
            scope = vars(cls) if issubclass(cls, Struct) else {}
            names = [item.name for item in node.body if isinstance(item, ast.FunctionDef)]
            found += [scope[name] for name in names if isinstance(scope.get(name), FunctionType)]
    return found


def build(source: str, folder: Path, runtime: str = "process") -> Image:
    """Compile every function of `source`."""
    entries = functions(source, load(source, folder))
    return compile_functions(
        [entry for entry in entries if not hasattr(entry, "panics_at_caller")],
        base=None,
        runtime=runtime,
    )
