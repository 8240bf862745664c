"""A subverted machine's process in whole runs: what its jail refuses, what is left to it."""

import json
import os
import pwd
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attacks import kernels
from tests.attacks.harness import (
    COMMAND,
    PATIENCE,
    Attacks,
    assert_one_line,
    child_of,
    done,
    killed_at_the_end,
    others,
    wait_until,
)
from tests.host.harness import why_not
from tests.host.kernel_payload import FEW_SECTORS, HELLO, Kernels
from vestige.bounds import DEFAULT_MEMORY
from vestige.errors import GuestError, UsageError
from vestige.host.control.client import find
from vestige.host.kvm.memory import FIRST_PLACE, LAST_PLACE, PRIVATE_SIZE
from vestige.host.loop.monitor_log import MOST_LINES
from vestige.host.process.link import Kind
from vestige.host.process.outer import MOST_COUNTERS
from vestige.host.process.outer import PATIENCE as KILLED_AFTER

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look at another's process")
MIB = 1 << 20
SHORT = ("--timeout", "2")


# ---- system calls -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((59, 0, 0, 0), "execve"),
        ((57,), "fork"),
        ((56, 0), "clone"),
        ((435, 0, 0), "clone3"),
        ((41, 2, 1, 0), "socket"),
        ((42, 3, 0, 0), "connect"),
        ((257, -100, 0, 0), "openat"),
        ((101, 0), "ptrace"),
        ((321, 0), "bpf"),
        ((323, 0), "userfaultfd"),
        ((425, 1, 0), "io_uring_setup"),
        ((427, 3, 2, 0, 0), "io_uring_register"),
        ((16, 3, 0xAE01, 0), "ioctl KVM_CREATE_VM"),
        ((16, 3, 0x5412, 0), "ioctl 0x5412"),
        ((9, 0, 4096, 5, 34, -1, 0), "mmap"),
        ((10, 4096, 4096, 4), "mprotect"),
        ((62, 1, 9), "kill"),
        ((310, 1, 0, 0, 0, 0), "process_vm_readv"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_call_that_the_jail_refuses_ends_the_guest(
    attacks: Attacks, tmp_path: Path, arguments: tuple[int, ...], name: str
) -> None:
    """By one line that names it; the console's file is there."""
    console = tmp_path / "console"
    words = ("--console", str(console), "--stats", str(tmp_path / "stats"), *SHORT)
    ended = done([*attacks.process("call", *arguments), *words])
    assert_one_line(ended, f"the machine's process made the system call {name},".encode())
    assert console.exists()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (("leave", 0), b"vestige: the machine's process ended with status 0\n"),
        (("leave", 9), b"vestige: the machine's process ended with status 9\n"),
        (("crash",), b"vestige: the machine's process ended by signal 11\n"),
    ],
)
def test_a_process_that_ends_without_a_word_is_told(
    attacks: Attacks, what: tuple[object, ...], line: bytes
) -> None:
    ended = done(attacks.process(*what))
    assert (ended.returncode, ended.stderr) == (1, line)


# ---- messages ---------------------------------------------------------------------------------


def assert_text(errors: bytes) -> None:
    """Nothing that does something to a terminal."""
    for line in errors.decode().split("\n"):
        assert line.isprintable(), line


def test_lines_of_a_subverted_process_do_nothing_to_a_terminal(attacks: Attacks) -> None:
    ended = done([*attacks.process("forge"), *SHORT])
    assert ended.returncode == 1
    assert_text(ended.stderr)
    assert ended.stderr.count(b"\n") < 10


def test_messages_that_mean_nothing_do_nothing(attacks: Attacks) -> None:
    ended = done([*attacks.process("odd"), *SHORT])
    assert ended.returncode == 0
    assert_text(ended.stderr)
    assert ended.stderr.count(b"\n") < 20


@pytest.mark.parametrize(("reset", "status"), [(0, 0), (1, 3)])
def test_who_is_over_twice_is_over_once(attacks: Attacks, reset: int, status: int) -> None:
    ended = done([*attacks.process("over", reset), *SHORT])
    assert ended.returncode == status
    assert ended.stderr.count(b"\n") == reset


def test_a_late_refusal_ends_the_run(attacks: Attacks) -> None:
    ended = done([*attacks.process("refuse"), *SHORT])
    assert ended.returncode in (1, 2)
    assert_text(ended.stderr)
    assert ended.stderr.count(b"\n") == 1


def test_statistics_of_a_subverted_process_are_bounded(attacks: Attacks, tmp_path: Path) -> None:
    stats = tmp_path / "stats"
    ended = done([*attacks.process("counters", 3 * MIB), "--stats", str(stats), *SHORT])
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert stats.stat().st_size <= MOST_COUNTERS


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((Kind.LINES, 5), (Kind.LOG, 1000), (Kind.COUNTERS, 30_000), (Kind.STARTS, 0)),
        *((Kind.FAILURES, 30_000), (Kind.LISTENER, 0), (Kind.ANSWER, 30_000), (200, 100)),
    ],
)
def test_messages_without_an_end_hold_up_no_timeout(attacks: Attacks, kind: int, size: int) -> None:
    ended = done([*attacks.process("flood", kind, size), "--timeout", "0.5"])
    assert ended.returncode == 124
    assert ended.stderr.count(b"\n") < MOST_LINES + 3


def test_lines_of_all_machines_of_a_run_are_bounded(attacks: Attacks) -> None:
    ended = done(
        [*attacks.process("talk", MOST_LINES // 2), "--on-reboot", "restart", "--timeout", "2"]
    )
    assert ended.returncode == 124
    assert ended.stderr.count(b"\n") < MOST_LINES + 3


def test_answers_of_a_subverted_process_are_lines(
    attacks: Attacks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever asks gets one for each request, and the run's own answers are its own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    process = subprocess.Popen(
        [*attacks.process("lie"), "--name", "liar"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with killed_at_the_end(process):
        wait_until((tmp_path / "vestige" / "liar").exists)
        with find("liar") as run:
            wait_until(lambda: run.ask({"do": "status"})["state"] == "running")
            for _ in range(50):
                with suppress(UsageError, GuestError):  # a lie, or not even that
                    run.ask({"do": "exits"})
                assert run.ask({"do": "status"})["pid"] == process.pid
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b"vestige: the machine's process ended with status 0\n"


@pytest.mark.parametrize("what", ["stay", "empty", "hang_up"])
def test_a_process_that_hears_nothing_is_killed(attacks: Attacks, what: str) -> None:
    """Also one that has closed the link, or seems to have."""
    ended = done([*attacks.process(what), "--timeout", "0.5"])
    assert ended.returncode in (1, 124)
    assert_text(ended.stderr)
    assert ended.stderr.count(b"\n") <= 2
    assert (b"did not end within 10 s, and is killed\n" in ended.stderr) == (what == "stay")


@pytest.mark.parametrize("kind", [Kind.LINES, Kind.LISTENER])
@pytest.mark.parametrize("each", [1, 2, 100])
def test_descriptors_in_messages_are_not_kept(attacks: Attacks, kind: Kind, each: int) -> None:
    """Those of the run's process are not used up, and it ends at once."""
    began = time.monotonic()
    ended = done([*attacks.process("descriptors", kind, each, 1500), *SHORT])
    assert ended.returncode == 0
    assert time.monotonic() - began < KILLED_AFTER
    assert_text(ended.stderr)


# ---- what is left -----------------------------------------------------------------------------

REFUSED = {
    "names": r"errno 13|\[\]",
    **dict.fromkeys(("file", "device", "own", "above"), r"errno (2|13)"),
    **dict.fromkeys(("new", "folder", "device file"), r"errno (1|13|30)"),
    "pid": "1",
    "parent": "0",
    "others": r"None|errno 3",  # a thread of its own
    "all": "errno 3",
    "interfaces": r"\['lo'\]|errno 13",
    "connect": r"errno (13|101)",
    "listen": r"errno (13|99)",
    **dict.fromkeys(("user", "name", "root", "unshare", "raw", "clock", "nice", "real time"), None),
    "module": r"errno (1|38)",
    "mount": r"errno (1|14)",
}


def test_without_the_filter_the_other_layers_keep_the_process_in(attacks: Attacks) -> None:
    ended = done([*attacks.process("open_doors"), "--timeout", "20"])
    assert ended.returncode == 0
    first, *lines = ended.stderr.decode().splitlines()
    assert first.startswith("vestige: the jail is without seccomp (")
    found = dict(line.split(": ", 1) for line in lines)
    assert found.keys() == REFUSED.keys()
    for what, answer in found.items():
        assert re.fullmatch(REFUSED[what] or "errno 1", answer), (what, answer)


def test_who_makes_holes_takes_no_room(attacks: Attacks, image: str) -> None:
    """Behind the image's end, where no limit on the size of files is asked."""
    ended = done([*attacks.process("take_room", 64 * MIB), "--disk", f"{image},discard=unmap"])
    assert Path(image).stat().st_blocks * 512 <= 2 * MIB
    assert Path(image).stat().st_size == MIB
    assert_one_line(ended, b"the machine's process made the system call fallocate,")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(params=[False, True], ids=["", "discards"])
def machine(
    request: pytest.FixtureRequest, plain: Kernels, image: str, tmp_path: Path
) -> Iterator[tuple[int, bool]]:
    """The process of a guest that runs, and whether it makes holes."""
    discards: bool = request.param
    words = [*COMMAND, "--kernel", plain("idle"), "--cpus", "2", "--stats", f"{tmp_path}/stats"]
    words += ["--disk", image + (",discard=unmap" if discards else ""), "--rng"]
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    with killed_at_the_end(process):
        assert process.stdout is not None
        assert process.stdout.readline() == HELLO
        yield child_of(process.pid), discards
        process.terminate()
        assert process.wait(PATIENCE) == 143
        assert not others(process.pid)
    json.loads((tmp_path / "stats").read_text())


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@AS_ROOT
def test_its_descriptors_are_what_a_guest_needs(machine: tuple[int, bool], image: str) -> None:
    """Both VMs, their processors, a ring, the link; nothing that the user named but discards'."""
    pid, discards = machine
    found: dict[str, int] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        kind = "image" if (target := os.readlink(entry)) == image else target  # noqa: PTH115
        for pattern in (r"kvm-vcpu", r"kvm-vm", r"io_uring", r"eventfd", r"socket", r"null"):
            kind = pattern if re.fullmatch(rf".*{pattern}\W?(:?\[?\d+\]?)?", kind) else kind
        kind = re.sub(rf"^(/proc)?/{pid}(/fdinfo)/\d+|^(/proc)?/{pid}(?=/)", r"\2", kind)
        found[kind] = found.get(kind, 0) + 1
    assert found.pop("eventfd") <= 10
    assert found == {
        "null": 3,
        "socket": 3 if discards else 1,
        "kvm-vm": 2,
        "kvm-vcpu": found["kvm-vcpu"],
        "io_uring": found["io_uring"],
        "/status": 1,
        "/fdinfo": 1,
        "/pagemap": 1,
    } | ({"image": 1} if discards else {})


@AS_ROOT
def test_it_has_nothing_but_itself(machine: tuple[int, bool]) -> None:
    pid, _ = machine
    status = status_of(pid)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["NSpid"].split()[-1] == "1"
    assert list(Path(f"/proc/{pid}/root").iterdir()) == []
    assert list(Path(f"/proc/{pid}/cwd").iterdir()) == []
    for name in ("mnt", "pid", "net", "ipc", "uts"):
        own, theirs = (os.readlink(f"/proc/{each}/ns/{name}") for each in ("self", pid))  # noqa: PTH115
        assert own != theirs
    devices = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert Path(f"/proc/{pid}/net/route").read_text().count("\n") <= 1
    limits = Path(f"/proc/{pid}/limits").read_text()
    size = re.search(r"^Max file size +(\d+)", limits, re.MULTILINE)
    assert size is not None
    assert int(size[1]) == MIB


@AS_ROOT
def test_its_memory_can_not_be_executed_where_it_can_be_written(machine: tuple[int, bool]) -> None:
    pid, _ = machine
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        access = line.split()[1]
        assert not ("w" in access and "x" in access), line


@AS_ROOT
def test_a_core_dump_has_nothing_of_the_guest(machine: tuple[int, bool]) -> None:
    """Nor can there be one; neither its RAM nor the monitor's memory would be in it."""
    pid, _ = machine
    sizes = []
    place, size = 0, 0
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            place = int(line.partition("-")[0], 16)
        elif name == "Size":
            size = int(rest.split()[0]) << 10
        elif name == "VmFlags" and FIRST_PLACE <= place < LAST_PLACE:
            sizes.append(size)
            assert {"dd", "dc"} <= set(rest.split()), line
    assert sum(sizes) >= PRIVATE_SIZE + DEFAULT_MEMORY
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0  # noqa: PTH116 - as of all that can't be dumped


@AS_ROOT
def test_another_users_process_serves_the_guest(plain: Kernels, image: str, tmp_path: Path) -> None:
    """Its disk, its console, its statistics."""
    stats = tmp_path / "stats"
    jail = ("--jail", "require,uid=nobody", "--stats", str(stats))
    ended = done([*COMMAND, "--kernel", plain("virtio_few"), "--disk", image, *jail])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"." * FEW_SECTORS, b"")
    numbers = [int.from_bytes(Path(image).read_bytes()[512 * n :][:8], "little") for n in range(50)]
    assert numbers == list(range(1, FEW_SECTORS + 1))
    assert json.loads(stats.read_text())["ring"]["writes"] >= FEW_SECTORS


@AS_ROOT
def test_another_users_process_is_that_users(plain: Kernels) -> None:
    nobody = pwd.getpwnam("nobody")
    words = [*COMMAND, "--kernel", plain("idle"), "--jail", "uid=nobody"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with killed_at_the_end(process):
        assert process.stdout is not None
        assert process.stdout.readline() == HELLO
        status = status_of(child_of(process.pid))
        assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
        assert status["Groups"] == ""
        process.terminate()
        assert process.wait(PATIENCE) == 143


# ---- hostile guests ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", [kernels.every_port, kernels.every_window])
def test_accesses_all_over_harm_nothing(attacks: Attacks, image: str, function: object) -> None:
    before = Path(image).read_bytes()
    kernel = attacks.kernel(function)  # type: ignore[arg-type]
    devices = (
        "--disk",
        image,
        "--disk",
        f"{image}.2,bus=ide",
        "--hpet",
        "--rng",
        "--jail",
        "require",
    )
    Path(f"{image}.2").write_bytes(before)
    ended = done([*COMMAND, "--kernel", kernel, *devices, "--console", "/dev/null"])
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert Path(image).read_bytes() == Path(f"{image}.2").read_bytes() == before


def test_a_triple_fault_is_told_as_the_reset_it_is(attacks: Attacks) -> None:
    words = [*COMMAND, "--kernel", attacks.kernel(kernels.faults), "--jail", "require"]
    ended = done(words)
    assert ended.returncode == 3
    assert ended.stderr.startswith(b"vestige: the guest had a triple fault on CPU 0")
    assert ended.stderr.count(b"\n") == 1
    assert done([*words, "--on-reboot", "restart", "--timeout", "1"]).returncode == 124


RESTARTS = 20


@AS_ROOT
def test_restarts_leave_nothing_behind(attacks: Attacks, image: str) -> None:
    """No process, no descriptor, no memory."""
    words = [*COMMAND, "--kernel", attacks.kernel(kernels.resets), "--disk", image]
    process = subprocess.Popen(
        [*words, "--on-reboot", "restart", "--jail", "require", "--timeout", str(PATIENCE)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )

    def look(starts: int) -> tuple[int, int]:
        """The least of what it has, at so many starts: some comes and goes with a machine."""
        assert process.stdout is not None
        files, memory = [], []
        for _ in range(starts):
            assert process.stdout.read(1) == b"r"
            assert len(others(process.pid)) <= 1
            files.append(len(list(Path(f"/proc/{process.pid}/fd").iterdir())))
            memory.append(int(status_of(process.pid)["VmRSS"].split()[0]) << 10)
        return min(files), memory[-1]

    with killed_at_the_end(process):
        files, memory = look(3)
        later_files, later_memory = look(RESTARTS)
        process.terminate()
        assert process.wait(PATIENCE) == 143
        assert not others(process.pid)
    assert later_files <= files + 1
    assert later_memory - memory < MIB
