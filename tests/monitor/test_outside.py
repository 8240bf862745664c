"""What is privileged is in the transport, which knows nothing of the core but its Trap."""

import ast
from pathlib import Path

import pytest

from vestige.lang import intrinsics
from vestige.lang.intrinsics import Processor
from vestige.monitor import outside

ROOT = Path(__file__).parents[2]
MONITOR = ROOT / "vestige" / "monitor"
OUTSIDE = MONITOR / "outside"
PRIVILEGED = {name for name in vars(Processor) if name in vars(intrinsics)} - {"pause"}
INSIDE = [path for path in MONITOR.rglob("*.py") if OUTSIDE not in path.parents]


def imports(path: Path) -> set[str]:
    """What a file imports, with the module's name in front."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", INSIDE, ids=lambda path: str(path.relative_to(MONITOR)))
def test_nothing_inside_uses_a_privileged_instruction_or_names_a_transport(path: Path) -> None:
    found = imports(path)
    assert not {name for name in found if name.startswith("vestige.monitor.outside.")}
    assert "vestige.lang.intrinsics" not in found, "its functions are imported by their names"
    assert not found & {f"vestige.lang.intrinsics.{name}" for name in PRIVILEGED}


@pytest.mark.parametrize("path", sorted(OUTSIDE.glob("*.py")), ids=lambda path: path.name)
def test_the_outside_knows_the_cores_trap_alone(path: Path) -> None:
    core = {name for name in imports(path) if name.startswith("vestige.monitor.core")}
    assert {name.rpartition(".")[0] for name in core} <= {"vestige.monitor.core.trap"}


def test_the_page_lists_what_a_transport_has() -> None:
    page = (ROOT / "docs" / "monitor.md").read_text()
    section = page.partition("## The outside\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(name.strip(" `") for row in rows for name in row.split(",")) == outside.__all__
