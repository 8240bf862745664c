"""Which part of the project imports which: the table of docs/architecture.md, held by the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VESTIGE = ROOT / "vestige"
PAGE = ROOT / "docs" / "architecture.md"
WORDS = re.compile(r"`([^`]+)`")
Row = tuple[list[str], list[str]]  # the parts that it is about; what these may import


def table() -> Iterator[Row]:
    """The rows of the section Where things are. A part is named without `vestige/` and `.py`."""
    section = PAGE.read_text().split("\n## Where things are\n")[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            parts, _, may = line.strip("| ").split(" | ")
            names = (name.removeprefix("vestige/") for name in WORDS.findall(parts))
            yield [name.removesuffix("/").removesuffix(".py") for name in names], WORDS.findall(may)


TABLE = list(table())


def is_module(name: str) -> bool:
    """Whether there is a file or a folder of that name below vestige."""
    path = VESTIGE / name.replace(".", "/")
    return path.is_dir() or path.with_name(f"{path.name}.py").is_file()


def modules(statement: ast.stmt) -> Iterator[str]:
    """The modules of ours that a statement imports, by their names without `vestige.`."""
    if isinstance(statement, ast.ImportFrom):
        assert statement.level == 0, "a relative import"
        names = [f"{statement.module}.{alias.name}" for alias in statement.names]
    elif isinstance(statement, ast.Import):
        names = [alias.name for alias in statement.names]
    else:
        return
    for name in names:
        if name.startswith("vestige."):
            module = name.removeprefix("vestige.")
            yield module if is_module(module) else module.rpartition(".")[0]


def imports(part: str) -> dict[str, str]:
    """What a part imports of others, and where; in functions and for the type checker, too."""
    path = VESTIGE / part
    files = path.rglob("*.py") if path.is_dir() else [path.with_name(f"{path.name}.py")]
    found: dict[str, str] = {}
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.stmt):
                where = f"{file.relative_to(ROOT)}:{node.lineno}"
                # `from vestige import __version__` is of no part.
                found |= {module: where for module in modules(node) if module}
    return found


def covers(entry: str, module: str) -> bool:
    """Whether a name in the table stands for a module: for itself, or a folder above it."""
    pattern = re.escape(entry).replace(r"\*", r"[^.]+")
    return re.match(rf"{pattern}(\.|$)", module) is not None


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0][0])
def test_a_part_imports_what_the_table_says_and_nothing_else(row: Row) -> None:
    parts, may = row
    found: dict[str, str] = {}
    for part in parts:
        found |= imports(part)
    others = {
        module: where
        for module, where in found.items()
        if not any(covers(part, module) for part in parts)
    }
    refused = {
        module: where
        for module, where in others.items()
        if not any(covers(entry, module) for entry in may)
    }
    assert not refused, "not in the table of docs/architecture.md"
    idle = [entry for entry in may if not any(covers(entry, module) for module in others)]
    assert not idle, "in the table of docs/architecture.md, and nowhere imported"


def test_each_file_and_folder_is_in_one_row() -> None:
    there = {
        path.stem
        for path in VESTIGE.iterdir()
        if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }
    named = [part for parts, _ in TABLE for part in parts]
    assert sorted(named) == sorted(there - {"__init__"})
