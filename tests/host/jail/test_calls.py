"""The table of system calls, and the page that shows it. tests/attacks makes the calls."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vestige.host.jail.calls import (
    ALLOWED,
    OF_VIEWER,
    REFUSED_TO_VIEWER,
    build,
    build_for_viewer,
    name_of,
)
from vestige.host.jail.seccomp import INSTRUCTION
from vestige.host.kvm.api import Request

ROOT = Path(__file__).parents[3]
MOST = 40
# What would make a process, a program, a connection, a file, a VM, or look into another process.
NEVER = (
    "execve", "execveat", "fork", "vfork", "clone", "clone3", "socket", "connect", "openat", "open",
    "openat2", "io_uring_setup", "ptrace", "bpf", "userfaultfd", "process_vm_readv", "mount",
    "setuid", "capset", "prctl", "seccomp", "rt_sigaction", "kill",
)  # fmt: skip


@pytest.mark.parametrize("table", [ALLOWED, OF_VIEWER])
def test_the_list_is_short_and_has_nothing_that_reaches_out(table: dict[str, object]) -> None:
    assert len(table) <= MOST
    assert not set(table) & set(NEVER)


@pytest.mark.parametrize(
    ("name", "calls"),
    [("The calls", set(ALLOWED)), ("The viewer", {*OF_VIEWER, *REFUSED_TO_VIEWER})],
)
def test_the_page_names_each_call_and_no_other(name: str, calls: set[str]) -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)} == calls


def test_the_front_page_counts_the_calls() -> None:
    assert f"{len(ALLOWED)} system calls" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("build", [build, build_for_viewer])
def test_the_filter_is_whole_instructions_and_within_the_kernels_limit(
    build: Callable[[], bytes],
) -> None:
    size = len(build())
    assert size % INSTRUCTION == 0
    assert 0 < size // INSTRUCTION <= 4096


@pytest.mark.parametrize(
    ("number", "second", "name"),
    [
        (257, 0, "openat"),
        (16, Request.CREATE_VM, "ioctl KVM_CREATE_VM"),
        (16, 0x5412, "ioctl 0x5412"),
        (5000, 0, "number 5000"),
    ],
)
def test_a_call_is_called_what_people_call_it(number: int, second: int, name: str) -> None:
    assert name_of(number, second) == name
