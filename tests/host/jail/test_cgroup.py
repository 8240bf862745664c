"""The control group of a machine. A tree of files stands for the kernel's; a real one is in
tests/softhost/test_control_groups.py.
"""

import os
import re
import time
from pathlib import Path

import pytest

from vestige.errors import UsageError
from vestige.host.jail import cgroup
from vestige.host.jail.cgroup import Group, Size

MIB = 1 << 20
SIZE = Size(562 * MIB, threads=4, cpus=2, disks=["8:0", "259:1"])


@pytest.fixture
def mounts(tmp_path: Path) -> str:
    """Of a tree in which /machines has all controllers."""
    groups = tmp_path / "groups"
    (groups / "machines").mkdir(parents=True)
    for place in (groups, groups / "machines"):
        (place / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (place / "cgroup.subtree_control").touch()
    file = tmp_path / "mounts"
    file.write_text(f"proc /proc proc rw 0 0\ncgroup2 {groups} cgroup2 rw 0 0\n")
    return str(file)


def test_limits_follow_from_the_machines_size() -> None:
    limits = SIZE.limits()
    assert limits["memory.max"] == [str((562 + 96) * MIB + 562 * MIB // 64)]
    assert limits["pids.max"] == ["108"]
    assert limits["cpu.max"] == ["400000 100000"]
    assert limits["io.max"] == [
        f"{disk} riops=200000 wiops=200000 rbps=2147483648 wbps=2147483648"
        for disk in ("8:0", "259:1")
    ]


@pytest.mark.parametrize("parent", ["/machines", "machines", "machines/", "/a/../machines", "ROOT"])
def test_a_group_is_made_below_the_one_that_is_named(
    mounts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: str
) -> None:
    parent = parent.replace("ROOT", f"{tmp_path}/groups/machines")
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(cgroup, "_write", lambda path, text: written.append((path, text)))
    group = Group(parent, SIZE, mounts)
    above = tmp_path / "groups" / "machines"
    assert re.fullmatch(rf"{above}/vestige-{os.getpid()}-[0-9a-f]{{8}}", group.path)
    cgroup.enter(group.option, group.path)
    assert written[0] == (f"{above}/cgroup.subtree_control", "+memory +pids +cpu +io")
    assert {path.rpartition("/")[2] for path, _ in written[1:]} == {
        "memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "io.max",
        "cgroup.procs",
    }  # fmt: skip
    group.close()
    assert not Path(group.path).exists()


def test_a_process_that_was_killed_for_want_of_memory_is_known(
    mounts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_write", lambda _path, _text: None)
    group = Group("machines", SIZE, mounts)
    events = Path(group.path, "memory.events")
    events.write_text("low 0\nmax 7\noom 1\noom_kill 0\n")
    assert not group.ran_out()
    events.write_text("low 0\nmax 7\noom 1\noom_kill 1\n")
    assert group.ran_out()


def test_a_group_that_is_not_there_is_refused_with_the_command_that_makes_it(mounts: str) -> None:
    with pytest.raises(UsageError, match=r"no such control group; make it: sudo mkdir .*/nosuch$"):
        Group("/nosuch", SIZE, mounts)


def test_a_group_without_a_controller_is_refused(mounts: str, tmp_path: Path) -> None:
    (tmp_path / "groups/machines/cgroup.controllers").write_text("cpu pids\n")
    with pytest.raises(UsageError, match=r"it has no memory, io; .*echo \+memory \+io \| sudo tee"):
        Group("machines", SIZE, mounts)
    (tmp_path / "groups/cgroup.controllers").write_text("pids\n")
    with pytest.raises(UsageError, match="this machine has no memory, cpu, io in control"):
        Group("machines", SIZE, mounts)


@pytest.mark.parametrize("parent", ["..", "/../..", "machines/../../../etc"])
def test_nothing_above_all_groups_is_one(mounts: str, parent: str) -> None:
    with pytest.raises(UsageError, match="that is above all control groups"):
        Group(parent, SIZE, mounts)


def test_groups_of_runs_that_were_killed_are_removed(
    mounts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "_write", lambda _path, _text: None)
    above = tmp_path / "groups/machines"
    for name, age in (("vestige-1-a", 1000), ("vestige-2-b", 1000), ("vestige-3", 1), ("web", 999)):
        (above / name).mkdir()
        os.utime(above / name, (time.time() - age,) * 2)
    (above / "vestige-2-b" / "process").touch()  # the kernel refuses what has processes
    os.utime(above / "vestige-2-b", (time.time() - 1000,) * 2)
    Group("machines", SIZE, mounts).close()
    assert sorted(path.name for path in above.iterdir() if path.is_dir()) == [
        "vestige-2-b", "vestige-3", "web"
    ]  # fmt: skip


def test_a_kernel_that_does_not_count_swap_is_done_without(
    mounts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, _text: str) -> None:
        if path.endswith("memory.swap.max"):
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(cgroup, "_write", write)
    Group("machines", SIZE, mounts).close()


def test_a_group_that_takes_no_limit_is_removed_again(
    mounts: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: str, _text: str) -> None:
        if path.endswith("cpu.max"):
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(cgroup, "_write", write)
    with pytest.raises(UsageError, match=r"cpu\.max 400000 100000: Invalid argument"):
        Group("machines", SIZE, mounts)
    assert not [*(tmp_path / "groups/machines").glob("vestige-*")]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "only root, or who was given the group"),
        (OSError(16, "Device or resource busy"), "processes are in it; name a group that has none"),
    ],
)
def test_who_may_not_make_one_is_told(
    mounts: str, monkeypatch: pytest.MonkeyPatch, error: OSError, words: str
) -> None:
    def write(_path: str, _text: str) -> None:
        raise error

    monkeypatch.setattr(cgroup, "_write", write)
    with pytest.raises(UsageError, match=words):
        Group("machines", SIZE, mounts)


def test_without_groups_of_version_2_that_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mounts"
    file.write_text("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n")
    with pytest.raises(UsageError, match="no control groups of version 2 are mounted"):
        Group("machines", SIZE, str(file))


def test_a_file_that_is_on_no_disk_has_no_limit() -> None:
    with os.fdopen(os.memfd_create("image")) as file:
        assert cgroup.device_of(file.fileno()) is None
