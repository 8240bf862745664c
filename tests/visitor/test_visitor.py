"""A device moves into a copy of the project: a folder, a row, a field, its page, its tests."""

import re
from pathlib import Path

import pytest

from tests.host.harness import why_not
from tests.visitor.project import MODEL, PAGE, ROW, TESTS, Project

pytestmark = pytest.mark.xdist_group("visitor")  # whose tests share one copy and its cache


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The copy."""
    return Project(tmp_path_factory.mktemp("visitor") / "project")


def test_it_takes_the_device_s_own_files_one_row_and_one_field(project: Project) -> None:
    changes = project.changes()
    new = {file for file, lines in changes.items() if not lines}
    assert {str(Path(file).parent) for file in new} == {MODEL, str(PAGE.parent), TESTS}
    assert {file: lines for file, lines in changes.items() if lines} == {
        "vestige/devices.py": [
            "+ from vestige.monitor.devices.interval_timer.place import INTERVAL_TIMER",
            "+     INTERVAL_TIMER,",
        ],
        "vestige/monitor/core/machine.py": [
            "+ from vestige.monitor.devices.interval_timer.model import IntervalTimer",
            "+     interval_timer: IntervalTimer",
        ],
    }


def test_it_works_in_cpython(project: Project) -> None:
    project.pytest(f"{TESTS}/in_cpython.py")


def test_it_works_compiled(project: Project) -> None:
    project.pytest(f"{TESTS}/compiled.py")


@pytest.mark.kvm
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_it_works_in_a_vm(project: Project) -> None:
    project.pytest(f"{TESTS}/in_a_vm.py")


def test_its_option_and_its_acpi_node_are_there(project: Project) -> None:
    project.pytest(f"{TESTS}/listed.py")


def test_what_must_hold_of_every_device_holds_of_it(project: Project) -> None:
    project.pytest("tests/test_devices.py")
    project.pytest("tests/devices/test_models.py", "-k", "interval_timer")


def test_a_row_that_names_no_field_is_refused_when_the_monitor_is_compiled(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", ROW)
    done = project.python("-m", "vestige.cli.main", "build")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    refused = (
        r"vestige: vestige/monitor/core/\w+\.py:\d+:\d+: refused \(field\): Machine has no field"
    )
    assert any(re.match(rf"{refused} or method interval_timer$", line) for line in lines), lines
    row = f"made at {MODEL}/place.py:{project.line_of_the_place()}"
    assert any("where: " in line and line.endswith(row) for line in lines), lines


def test_a_claim_to_what_is_another_s_is_refused_with_the_file_and_line_of_both(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path / "project")
    project.edit(f"{MODEL}/place.py", "0x300", "0x3FC")
    done = project.python("-m", "vestige.cli.main", "build")
    own = rf"{project.folder}/{MODEL}/place\.py:{project.line_of_the_place()}"
    other = rf"{project.folder}/vestige/monitor/devices/uart16550/place\.py:\d+"
    line = (
        rf"{own}: interval_timer claims port 0x3fc, which is uart's \({other}\); give each its own"
    )
    assert done.returncode == 2
    assert re.fullmatch(rf"vestige: {line}\n", done.stderr), done.stderr
