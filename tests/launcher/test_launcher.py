"""Machines started from Python: their options and streams, how they end, and who ends them."""

import asyncio
import io
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

from tests.host.harness import why_not
from tests.host.kernel_payload import HELLO, Kernels
from tests.host.processes import (
    JAIL,
    PATIENCE,
    machine_of,
    open_files,
    over,
    parent_of,
    shared_mappings,
)
from vestige.host import images
from vestige.host.control.client import await_start, find
from vestige.host.freeze.parts import CPUS_AT, HEAD, size_of
from vestige.host.kvm import cpu_state
from vestige.launcher import GuestError, Launcher, UsageError, launcher
from vestige.launcher.launcher import Machine, command_line
from vestige.softhost import SoftHost

NOWHERE = subprocess.DEVNULL
pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def ready() -> Iterator[Launcher]:
    images.ensure()
    with Launcher() as made:
        yield made


class Pipe:
    """What a machine writes."""

    def __init__(self) -> None:
        self._read, self.end = os.pipe()

    def take(self, size: int) -> bytes:
        """The next `size` bytes, less at the end."""
        data = b""
        while len(data) < size:
            assert select.select([self._read], [], [], PATIENCE)[0], f"only {data!r} came"
            if not (more := os.read(self._read, size - len(data))):
                break
            data += more
        return data

    def close(self) -> None:
        os.close(self._read)
        os.close(self.end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


# ---- options --------------------------------------------------------------------------------


def test_options_become_the_words_of_a_command_line() -> None:
    assert command_line(
        {
            "kernel": Path("/boot/vmlinuz"),
            "cpus": 2,
            "append": "console=ttyS0 --quiet",
            "disk": ["root.img", "data.img,readonly"],
            "on_reboot": "restart",
            "hpet": True,
            "rng": False,
            "initrd": None,
        }
    ) == [
        "--kernel=/boot/vmlinuz",
        "--cpus=2",
        "--append=console=ttyS0 --quiet",
        "--disk=root.img",
        "--disk=data.img,readonly",
        "--on-reboot=restart",
        "--hpet",
    ]


class Folder:
    """Something with a path."""

    def __fspath__(self) -> bytes:
        return b"folder\xff"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("disk", ("a", Path("b")), ["--disk=a", "--disk=b"]),
        ("disk", [], []),
        ("disk", "a,readonly", ["--disk=a,readonly"]),
        ("disk", Path("a,readonly"), ["--disk=a,,readonly"]),
        (
            "floppy",
            ["none", Path("none"), Path("a,b")],
            ["--floppy=none", "--floppy=./none", "--floppy=a,,b"],
        ),
        ("disk", Path("vfio:00:10.0"), ["--disk=./vfio:00:10.0"]),
        ("console", Path("virtio"), ["--console=./virtio"]),
        ("console", Path("stdio"), ["--console=./stdio"]),
        ("kernel", b"k\xff", ["--kernel=k\udcff"]),
        ("kernel", Folder(), ["--kernel=folder\udcff"]),
        ("timeout", 2.5, ["--timeout=2.5"]),
        ("hpet", False, []),
    ],
)
def test_values_become_words(name: str, value: Any, words: list[str]) -> None:
    assert command_line({name: value}) == words


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("colour", "red", "colour: no such option; there are kernel, initrd, "),
        ("hpet", "yes", "hpet='yes': give True or False"),
        ("hpet", 1, "hpet=1: give True or False"),
        ("console", "unix:\0abc", r"console='unix:\x00abc': no option or path has a NUL in it"),
        ("disk", Path("a\0b"), r"a\x00b'): no option or path has a NUL in it; leave it out"),
        ("append", "\ud800", r"append='\ud800': surrogates not allowed; give text"),
        ("kernel", True, "kernel: True is a bool; give text, a number, a path"),
        ("kernel", False, "kernel: False is a bool"),
        ("kernel", ["a", "b"], "kernel=['a', 'b']: give one value, not a sequence"),
        ("disk", {"a"}, "disk: {'a'} is a set; give text, a number, a path, or where"),
        ("disk", {"a": 1}, "is a dict"),
        ("disk", ["a", None], "disk: None is a NoneType"),
        ("disk", ["a", ["b"]], "disk: ['b'] is a list"),
        ("disk", bytearray(b"a"), "is a bytearray"),
        ("console", io.BytesIO(), "is a BytesIO"),
    ],
)
def test_values_that_are_no_words_are_refused_by_name(name: str, value: Any, line: str) -> None:
    with pytest.raises(UsageError) as told:
        command_line({name: value})
    assert line in str(told.value)


def test_a_number_that_python_does_not_write_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^cpus: a number with too many digits"):
        command_line({"cpus": 10**5000})


def closed_file() -> IO[bytes]:
    with Path("/dev/null").open("rb") as file:
        return file


@pytest.mark.parametrize(
    "stream",
    [
        io.BytesIO(),
        closed_file(),
        "log",
        True,
        subprocess.PIPE,
        subprocess.STDOUT,
        10**6,
        10**30,
        object(),
    ],
)
def test_streams_without_a_file_of_the_system_are_refused_by_name(
    ready: Launcher, stream: Any
) -> None:
    with pytest.raises(UsageError, match=r"^stdout=.*: not an open file of the operating system"):
        ready.start(kernel="k", stdout=stream)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "--kernel: give one; or --machine pc"),
        ({"kernel": "k", "memory": "1M"}, "1M"),
        ({"kernel": "k", "append": "x" * (1 << 17)}, "at most 131072 expected; shorten them"),
        ({"kernel": "k", "accel": "soft"}, "run on this machine's KVM; leave accel out"),
    ],
)
def test_wrong_options_are_told_before_anything_starts(
    ready: Launcher, options: dict[str, str], line: str
) -> None:
    with pytest.raises(UsageError) as told:
        ready.start(**options)  # type: ignore[arg-type]
    assert line in str(told.value)


# ---- runs -----------------------------------------------------------------------------------


def test_a_machine_runs_and_its_status_is_the_guest_s(
    ready: Launcher, kernels: Kernels, pipe: Pipe
) -> None:
    with ready.start(kernel=kernels("hello"), stdout=pipe.end) as machine:
        assert machine.wait(PATIENCE) == machine.poll() == machine.wait() == 0
    assert pipe.take(len(HELLO)) == HELLO


def test_a_guest_that_fails_ends_its_machine_with_a_line(
    ready: Launcher, kernels: Kernels, pipe: Pipe
) -> None:
    with ready.start(kernel=kernels("panics"), stderr=pipe.end) as machine:
        assert machine.wait(PATIENCE) == 1
    assert pipe.take(9) == b"vestige: "


def test_a_file_that_is_not_there_ends_its_machine_with_status_2(
    ready: Launcher, pipe: Pipe
) -> None:
    with ready.start(kernel="/nothing", stderr=pipe.end) as machine:
        assert machine.wait(PATIENCE) == 2
    line = b"vestige: /nothing: no such file or directory; give an x86 kernel\n"
    assert pipe.take(len(line)) == line


def test_paths_are_relative_to_the_directory_of_the_moment(
    ready: Launcher,
    kernels: Kernels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kernel").symlink_to(kernels("hello"))
    with ready.start(kernel="kernel", console="said") as machine:
        assert machine.wait(PATIENCE) == 0
    assert Path("said").read_bytes() == HELLO


def test_a_machine_gets_input_only_if_it_is_given(
    ready: Launcher, kernels: Kernels, tmp_path: Path, pipe: Pipe
) -> None:
    typed = tmp_path / "typed"
    typed.write_bytes(b"abc.def")
    with (
        typed.open("rb") as file,
        ready.start(kernel=kernels("echo"), stdin=file, stdout=pipe.end) as machine,
    ):
        assert machine.wait(PATIENCE) == 0
    assert pipe.take(len(HELLO) + 4) == HELLO + b"abc."


def test_machines_are_processes_of_their_own(ready: Launcher, kernels: Kernels, pipe: Pipe) -> None:
    idle = kernels("idle")
    with (
        ready.start(kernel=idle, memory="64M", stdout=pipe.end) as one,
        ready.start(kernel=idle, memory="64M", stdout=pipe.end) as other,
    ):
        assert len({one.pid, other.pid, os.getpid()}) == 3
        assert sorted(pipe.take(2 * len(HELLO))) == sorted(2 * HELLO)
        assert one.poll() is other.poll() is None
        one.stop()
        assert one.wait(PATIENCE) == 128 + signal.SIGTERM
        inner = machine_of(other.pid)
        other.kill()
        assert other.wait(PATIENCE) == 128 + signal.SIGKILL
        assert over(inner)


def test_a_machine_has_nothing_of_its_launcher_s_open(
    ready: Launcher, kernels: Kernels, pipe: Pipe
) -> None:
    idle = kernels("idle")
    with (
        ready.start(kernel=idle, stdout=pipe.end, jail=JAIL) as other,
        ready.start(kernel=idle, stdout=pipe.end, jail=JAIL) as machine,
    ):
        pipe.take(2 * len(HELLO))
        files = open_files(machine.pid)
        inner = open_files(machine_of(machine.pid))
        others = [
            name
            for process in (other.pid, machine_of(other.pid), parent_of(machine.pid), os.getpid())
            for name in open_files(process)
        ]
    pidfds = [[n for n in names if n.startswith("anon_inode:[pidfd]")] for names in (files, inner)]
    assert pidfds == [pidfds[0][:1], []], "the run's, of its machine"
    sockets, link = (
        [name for name in names if name.startswith("socket:")] for names in (files, inner)
    )
    assert len(set(sockets)) == 4, "its console's, one to the machine, and that of its control"
    assert len(sockets) == 5, "the last twice, in the place of a client's"
    assert len(link) == 1
    assert not {*sockets, *link} & {*others}
    assert not {*sockets} & {*link}
    assert [name for name in inner if not name.startswith("anon_inode:") and name not in link] == [
        name for name in inner if re.fullmatch(r"(/dev|)/null|.*/\d+/(fdinfo/\d+|pagemap)", name)
    ]
    assert {re.sub(r":\d+$", "", name) for name in inner if name.startswith("anon_inode:")} == {
        "anon_inode:kvm-vm",
        "anon_inode:kvm-vcpu",
        "anon_inode:[eventfd]",
        "anon_inode:[io_uring]",
    }


def test_machines_share_no_memory_that_one_of_them_could_write(
    ready: Launcher, kernels: Kernels, pipe: Pipe
) -> None:
    with ready.start(kernel=kernels("idle"), stdout=pipe.end, jail=JAIL) as machine:
        pipe.take(len(HELLO))
        processes = machine_of(machine.pid), machine.pid, parent_of(machine.pid)
        inner, run, template = (shared_mappings(process) for process in processes)
    assert inner, "its vCPUs' and its ring's"
    assert run == template == []


@pytest.mark.parametrize("other", ["", "os.open('/dev/null', os.O_RDONLY);"])
@pytest.mark.parametrize("closed", ["0", "1", "2", "0, 1, 2"])
def test_a_caller_may_have_closed_its_standard_files(
    kernels: Kernels, closed: str, other: str
) -> None:
    """Also where a library has a file of its own there meanwhile, as libffi 8.5 has."""
    script = (
        f"import os; [os.close(each) for each in [{closed}]];{other}"
        "from vestige.launcher import Launcher\n"
        f"with Launcher() as own, own.start(kernel={kernels('hello')!r}) as machine:"
        " os._exit(machine.wait())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (b"" if "1" in closed else HELLO)


def test_waiting_takes_no_longer_than_one_wants(ready: Launcher, kernels: Kernels) -> None:
    with (
        ready.start(kernel=kernels("idle"), stdout=subprocess.DEVNULL) as machine,
        pytest.raises(TimeoutError, match=r"has not ended within 0\.01 s"),
    ):
        machine.wait(0.01)


# ---- who ends machines ----------------------------------------------------------------------


def test_no_time_to_wait_is_too_short_or_too_long(ready: Launcher, kernels: Kernels) -> None:
    with ready.start(kernel=kernels("idle")) as machine:
        with pytest.raises(TimeoutError):
            machine.wait(-1)
        machine.stop()
        assert machine.wait(1e300) == 128 + signal.SIGTERM


def test_a_closed_machine_says_so(ready: Launcher, kernels: Kernels) -> None:
    with ready.start(kernel=kernels("hello"), stdout=subprocess.DEVNULL) as machine:
        machine.close()
    for ask in (machine.stop, machine.kill, machine.wait, machine.poll, machine.__enter__):
        with pytest.raises(UsageError, match=f"machine {machine.pid} is closed"):
            ask()


def spare_of(own: Launcher, idle: str) -> tuple[int, int]:
    """The processes of the machine that a launcher has made before it is asked for it."""
    with own.start(kernel=idle, stdout=subprocess.DEVNULL) as machine:
        template = parent_of(machine.pid)
    run = machine_of(template)  # the only one that there is
    return run, machine_of(run)


@pytest.mark.parametrize("name", [None, "one"])
def test_a_machine_is_paused_and_resumed(
    ready: Launcher, kernels: Kernels, name: str | None
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ready.start(
        kernel=kernels("echo"), name=name, stdin=theirs.fileno(), stdout=theirs.fileno()
    ) as machine:  # fmt: skip
        assert ours.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
        machine.pause()
        ours.send(b"once")
        machine.pause()
        with pytest.raises(BlockingIOError):
            ours.recv(1, socket.MSG_DONTWAIT)
        machine.resume()
        assert ours.recv(4, socket.MSG_WAITALL) == b"once"
        machine.kill()
        machine.wait(PATIENCE)
        with pytest.raises(GuestError, match=f"machine {machine.pid} has ended with status 137"):
            machine.pause()
    with pytest.raises(UsageError, match="is closed"):
        machine.pause()


def test_a_machine_is_frozen_and_its_copies_go_on_each_by_itself(
    ready: Launcher, kernels: Kernels, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshot"
    ours, theirs = socket.socketpair()
    with ours, theirs, ready.start(
        kernel=kernels("echo"), memory="64M", stdin=theirs.fileno(), stdout=theirs.fileno()
    ) as machine:  # fmt: skip
        assert ours.recv(len(HELLO), socket.MSG_WAITALL) == HELLO
        machine.freeze(folder)
        ours.send(b"it goes on")
        assert ours.recv(10, socket.MSG_WAITALL) == b"it goes on"
        machine.freeze(folder, stop=True)
        assert machine.wait(PATIENCE) == 143
        with pytest.raises(GuestError, match=f"machine {machine.pid} has ended with status 143"):
            machine.freeze(folder)
    pairs = [socket.socketpair() for _ in range(3)]
    copies = [
        ready.thaw(folder, stdin=theirs.fileno(), stdout=theirs.fileno()) for _, theirs in pairs
    ]
    for number, (ours, theirs) in enumerate(pairs):
        said = f"copy {number}.".encode()
        ours.send(said)
        assert ours.recv(len(said), socket.MSG_WAITALL) == said
        assert copies[number].wait(PATIENCE) == 0
        copies[number].close()
        ours.close()
        theirs.close()


@pytest.mark.parametrize("name", [None, "new"])
def test_a_machine_that_was_just_started_is_waited_for(
    ready: Launcher, kernels: Kernels, name: str | None, tmp_path: Path
) -> None:
    """Each of what it can be asked, as the first that it is."""
    own: dict[str, Any] = {"kernel": kernels("idle"), "name": name, "stdout": NOWHERE}
    with ready.start(**own) as machine:
        assert machine.statistics()["restarts"] == 0
    with ready.start(**own) as machine:
        machine.pause()
        machine.resume()
    folder = tmp_path / "snapshot"
    with ready.start(**own) as machine:
        machine.freeze(folder, stop=True)
    for _ in range(4):  # of which the last is a mould's
        with ready.thaw(folder, name=name, stdout=NOWHERE) as copy:
            assert copy.statistics()["restarts"] == 0


def test_a_machine_that_ends_instead_of_running_says_so_when_asked(
    ready: Launcher, kernels: Kernels
) -> None:
    with (
        ready.start(kernel=kernels("idle"), disk="not-there", stderr=NOWHERE) as machine,
        pytest.raises(GuestError, match=f"machine {machine.pid} has ended with status 2"),
    ):
        machine.statistics()


@pytest.mark.parametrize(("end", "status"), [(Machine.stop, 143), (Machine.kill, 137)])
def test_who_asks_the_agent_of_a_machine_that_ends_is_told_of_its_status(
    ready: Launcher, kernels: Kernels, end: Callable[[Machine], None], status: int
) -> None:
    """Also later, though its sockets are gone; here no agent answers while it runs."""
    machine = ready.start(kernel=kernels("idle"), stdout=subprocess.DEVNULL, agent=True)
    line = f"machine {machine.pid} has ended with status {status}$"

    async def asked() -> None:
        pinging = asyncio.create_task(machine.asyncio.ping())
        await asyncio.sleep(0)
        end(machine)
        await pinging

    machine.statistics()  # it runs
    machine.way()
    with pytest.raises(GuestError, match=line):
        asyncio.run(asked())
    with pytest.raises(GuestError, match=line):
        asyncio.run(machine.asyncio.ping())
    with pytest.raises(GuestError, match=line):
        machine.run(["true"])
    machine.close()
    with pytest.raises(UsageError, match="is closed"):
        machine.ping()


def test_who_asks_a_machine_that_never_runs_waits_as_long_as_its_patience(
    ready: Launcher, kernels: Kernels, tmp_path: Path
) -> None:
    """Nobody reads that FIFO."""
    os.mkfifo(tmp_path / "fifo")
    with ready.start(kernel=kernels("idle"), stats=tmp_path / "fifo", stdout=NOWHERE) as machine:
        machine.patience = 0.3
        with pytest.raises(GuestError, match="the guest does not run now: it starts"):
            machine.pause()


def test_one_thread_waits_for_a_machine_that_another_asks(
    ready: Launcher, kernels: Kernels
) -> None:
    ended: list[int] = []
    with ready.start(kernel=kernels("idle"), stdout=NOWHERE) as machine:
        threads = [threading.Thread(target=lambda: ended.append(machine.wait())) for _ in range(3)]
        for each in threads:
            each.start()
        machine.statistics()
        machine.kill()
        machine.wait(PATIENCE)
        for each in threads:
            each.join(PATIENCE)
    assert ended == [137] * 3


HELD = 2.0  # seconds
HPET_PERIOD = 10e-9  # seconds


def settings(pid: int) -> int:
    """Descriptors by which a process may set what KVM keeps, in its jail."""
    return sum(int(path.name) >= cpu_state.SETTING for path in Path(f"/proc/{pid}/fd").iterdir())


def clocks(ours: socket.socket, khz: int) -> tuple[float, float]:
    """What the guest's TSC shows, and its HPET, in seconds."""
    ours.send(b"?")
    counters = struct.unpack("<QQ", ours.recv(16, socket.MSG_WAITALL))
    return counters[0] / khz / 1000, counters[1] * HPET_PERIOD


def test_no_time_passes_for_a_guest_that_is_held(
    ready: Launcher, kernels: Kernels, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshot"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        streams = {"stdin": theirs.fileno(), "stdout": theirs.fileno()}
        kernel = kernels("clocks")
        with ready.start(kernel=kernel, memory="64M", hpet=True, **streams) as machine:
            clocks(ours, 1)
            began = time.monotonic()
            before = clocks(ours, 1)
            machine.freeze(folder, stop=True)
        state = (folder / "state").read_bytes()
        khz, offset = HEAD.unpack_from(state)[2], cpu_state.HEAD.unpack_from(state, CPUS_AT)[2]
        frozen = time.monotonic()
        with ready.thaw(folder, held=True, **streams) as copy:
            time.sleep(HELD)  # as much as its clocks are not to show
            inner = machine_of(copy.pid)
            assert settings(inner) == 2 + 2, "of the guest, its CPU, the monitor's two"
            with pytest.raises(GuestError, match="is held; let it go on"):
                copy.pause()
            wanted = time.monotonic()
            copy.go()
            copy.go()
            tsc, hpet = clocks(ours, khz)
            assert settings(inner) == 0
            most = frozen - began + time.monotonic() - wanted
            if offset:  # else this KVM's guests have the host's TSC, as kvm_pvm's do
                assert 0 < tsc - before[0] / khz < most
                assert 0 < hpet - before[1] < most


@pytest.mark.slow
def test_no_time_passes_for_it_where_kvm_moves_tscs(softhost: SoftHost) -> None:
    name = f"{Path(__file__)}::{test_no_time_passes_for_a_guest_that_is_held.__name__}"
    # Nothing is captured: files without a name don't become shorter on what is shared with it.
    inside = [sys.executable, "-m", "pytest", "-q", "-s", "-n0", "-p", "no:cacheprovider", name]
    done = softhost.capture(inside, timeout=10 * PATIENCE)
    assert b"1 passed" in done.stdout, done.stdout.decode()


def test_a_held_guest_ends_with_who_could_let_it_go_on(
    ready: Launcher, kernels: Kernels, pipe: Pipe, tmp_path: Path
) -> None:
    folder = tmp_path / "snapshot"
    with ready.start(kernel=kernels("idle"), stdout=pipe.end) as machine:
        pipe.take(len(HELLO))
        machine.go()  # it does
        machine.freeze(folder, stop=True)
        assert machine.wait(PATIENCE) == 128 + signal.SIGTERM
        with pytest.raises(GuestError, match=r"has ended with status 143$"):
            machine.go()
    copy = ready.thaw(folder, held=True)
    inner = machine_of(copy.pid)
    copy.close()
    assert over(inner)
    with ready.thaw(folder, held=True, timeout=1.0) as copy:
        with suppress(TimeoutError):
            copy.wait(1.5)
        copy.go()
        assert copy.wait(PATIENCE) == 124, "its time counts from then"
        with pytest.raises(GuestError, match=r"has ended with status 124$"):
            copy.go()
    copy = ready.thaw(folder, held=True, name="let-go")
    inner = machine_of(copy.pid)
    with pytest.raises(GuestError, match=r"is held; let it go on by machine\.go\(\)"):
        copy.statistics()
    with find("let-go") as run:
        assert run.ask({"do": "status"})["state"] == "held"
        with pytest.raises(GuestError, match="let-go: the guest is held"):
            await_start(run)
        with pytest.raises(GuestError, match="let-go: the guest is held"):
            run.ask({"do": "pause"})
    copy.go()
    assert copy.statistics()["restarts"] == 0
    copy.close()
    with find("let-go") as run:
        deadline = time.monotonic() + PATIENCE
        while run.ask({"do": "status"})["state"] != "running":
            assert time.monotonic() < deadline
        run.ask({"do": "stop"})
    assert over(inner)
    copy = ready.thaw(folder, held=True)
    inner = machine_of(copy.pid)
    copy.stop()
    assert copy.wait(PATIENCE) == 128 + signal.SIGTERM
    assert over(inner)
    copy.close()
    copy = ready.thaw(folder, held=True)
    copy.kill()
    assert copy.wait(PATIENCE) == 128 + signal.SIGKILL
    for _ in range(2):
        with pytest.raises(GuestError, match="has ended with status 137 before its guest went on"):
            copy.go()
    copy.close()
    with pytest.raises(UsageError, match="is closed"):
        copy.go()
    with (folder / "state").open("r+b") as file:
        file.write(bytes(size_of(file.fileno())))
    with pytest.raises(GuestError, match="has ended with status 2 before its guest could go on"):
        ready.thaw(folder, held=True, stderr=subprocess.DEVNULL)


def test_a_folder_is_given_as_text_bytes_or_a_path(
    ready: Launcher, kernels: Kernels, tmp_path: Path
) -> None:
    folder = os.fsencode(tmp_path / "snapshot")
    with ready.start(kernel=kernels("idle"), stdout=NOWHERE) as machine:
        machine.freeze(folder, stop=True)
    for each in (folder, os.fsdecode(folder), Path(os.fsdecode(folder))):
        with ready.thaw(each, stdout=NOWHERE) as copy:
            assert copy.statistics()["restarts"] == 0


@pytest.mark.parametrize(
    "folder", [None, 3, bytearray(b"a"), "a\0b", b"a\0b", "\ud800", "", "none"]
)
def test_what_is_no_snapshot_s_folder_is_bad_input(ready: Launcher, folder: Any) -> None:
    with pytest.raises(UsageError) as raised:
        ready.thaw(folder)
    assert raised.type is UsageError


def test_what_can_t_be_thawed_is_told_to_who_asks(ready: Launcher, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give the folder that `vestige freeze"):
        ready.thaw(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="memory: no such option; there are time, "):
        ready.thaw(tmp_path, memory="64M")


@pytest.mark.parametrize("jail", ["on", "off"])
def test_the_next_machine_is_there_before_it_is_asked_for(
    kernels: Kernels, pipe: Pipe, jail: str
) -> None:
    with Launcher() as own:
        run, inner = spare_of(own, kernels("idle"))
        with own.start(kernel=kernels("idle"), stdout=pipe.end, jail=jail) as machine:
            pipe.take(len(HELLO))
            assert machine.pid == run
            assert (machine_of(run) == inner) == (jail == "on"), "a jail begins with a fork"
        run, inner = spare_of(own, kernels("idle"))
    assert over(run)
    assert over(inner)


@pytest.mark.parametrize("both", [True, False])
def test_a_spare_machine_that_somebody_kills_is_not_taken(
    kernels: Kernels, pipe: Pipe, both: bool
) -> None:
    with Launcher() as own:
        run, inner = spare_of(own, kernels("idle"))
        os.kill(run if both else inner, signal.SIGKILL)
        assert over(inner)
        with own.start(kernel=kernels("hello"), stdout=pipe.end) as machine:
            assert machine.wait(PATIENCE) == 0
            assert (machine.pid == run) != both
        assert pipe.take(len(HELLO)) == HELLO


def test_a_spare_machine_that_was_made_under_other_limits_is_not_taken(kernels: Kernels) -> None:
    with Launcher() as own:
        run, _ = spare_of(own, kernels("idle"))
        template = parent_of(run)
        few = len(open_files(template)) + 12  # a spare needs no more, a machine does
        resource.prlimit(template, resource.RLIMIT_NOFILE, (few, 4096))
        with own.start(kernel=kernels("hello"), stdout=subprocess.DEVNULL) as machine:
            machine.wait(PATIENCE)
        other = machine_of(template)
        assert other != run
        resource.prlimit(template, resource.RLIMIT_NOFILE, (4096, 4096))
        with own.start(kernel=kernels("hello"), stdout=subprocess.DEVNULL) as machine:
            assert machine.wait(PATIENCE) == 0
        assert over(other)


def test_closing_a_launcher_ends_its_machines(kernels: Kernels, pipe: Pipe) -> None:
    with Launcher() as own:
        machine = own.start(kernel=kernels("idle"), stdout=pipe.end)
        pipe.take(len(HELLO))
        own.close()
        with pytest.raises(GuestError, match="the launcher is closed"):
            own.start(kernel=kernels("idle"))
    assert machine.wait(PATIENCE) == 128 + signal.SIGTERM
    machine.close()


def test_a_caller_that_is_killed_takes_its_machines_along(kernels: Kernels) -> None:
    script = (
        "import sys, time; from vestige.launcher import Launcher; launcher = Launcher();"
        f"machine = launcher.start(kernel={kernels('idle')!r}, console='/dev/null');"
        "print(machine.pid, flush=True); machine.wait()"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    inner = machine_of(pid)
    caller.kill()
    caller.communicate()
    assert over(pid)
    assert over(inner)


def test_a_template_that_is_killed_takes_its_machines_along(kernels: Kernels, pipe: Pipe) -> None:
    with Launcher() as own:
        machine = own.start(kernel=kernels("idle"), stdout=pipe.end)
        pipe.take(len(HELLO))
        inner = machine_of(machine.pid)
        os.kill(parent_of(machine.pid), signal.SIGKILL)
        with pytest.raises(GuestError, match="ended with its launcher's process"):
            machine.wait(PATIENCE)
        assert over(machine.pid)
        assert over(inner)
        with pytest.raises(GuestError, match="make another launcher"):
            own.start(kernel=kernels("idle"))


CALLER = """
import os, select, signal, subprocess, sys
from vestige.launcher import Launcher
{before}
launcher = Launcher()
machine = launcher.start(kernel={kernel!r}, memory="64M", stdout=subprocess.DEVNULL)
print(machine.pid, flush=True)
{after}
"""


def caller(kernel: str, *, before: str = "", after: str = "") -> "subprocess.Popen[bytes]":
    """A program that starts a machine, and first tells of its process."""
    script = CALLER.format(kernel=kernel, before=before, after=after)
    return subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


@pytest.mark.parametrize("how", ["BLOCK", "IGNORE"])
def test_a_caller_that_takes_sigterm_in_its_own_way_can_end_machines(
    kernels: Kernels, how: str
) -> None:
    before = {
        "BLOCK": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
        "IGNORE": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    }
    after = "machine.stop(); print(machine.wait(20)); launcher.close()"
    program = caller(kernels("idle"), before=before[how], after=after)
    _, status = program.communicate(timeout=PATIENCE)[0].split()
    assert (program.returncode, status) == (0, b"143")


def test_a_caller_that_has_forked_closes_its_launcher_all_the_same(kernels: Kernels) -> None:
    after = (
        "child = os.fork()\n"
        "if child == 0: sys.stdin.read(); os._exit(0)\n"
        "launcher.close(); print(machine.wait(20)); os.kill(child, signal.SIGKILL)"
    )
    program = caller(kernels("idle"), after=after)
    _, status = program.communicate(timeout=PATIENCE)[0].split()
    assert status == b"143"


def test_a_caller_that_has_forked_and_is_killed_takes_its_machines_along(kernels: Kernels) -> None:
    after = "if os.fork() == 0: sys.stdin.read(); os._exit(0)\nos.kill(os.getpid(), signal.SIGKILL)"
    with caller(kernels("idle"), after=after) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        pid = int(program.stdout.readline())
        assert over(pid)
        program.stdin.close()


def test_a_template_without_descriptors_refuses_a_machine_and_goes_on(
    kernels: Kernels, pipe: Pipe
) -> None:
    with Launcher() as own, own.start(kernel=kernels("idle"), stdout=pipe.end) as machine:
        pipe.take(len(HELLO))
        template = parent_of(machine.pid)
        most = len(open_files(template))
        for left in range(4):
            resource.prlimit(template, resource.RLIMIT_NOFILE, (most + left, 4096))
            with pytest.raises((UsageError, GuestError)):
                own.start(kernel=kernels("idle"), stdout=pipe.end)
        resource.prlimit(template, resource.RLIMIT_NOFILE, (4096, 4096))
        assert machine.poll() is None
        with own.start(kernel=kernels("hello"), stdout=pipe.end) as other:
            assert other.wait(PATIENCE) == 0


def test_what_a_machine_says_goes_to_its_own_standard_error(tmp_path: Path) -> None:
    """Where the launcher's is a pipe, too, and where nobody reads the machine's."""
    script = (
        "import os; from vestige.launcher import Launcher\n"
        "with Launcher() as own:\n"
        "    for full in (False, True):\n"
        "        read, write = os.pipe2(os.O_NONBLOCK)\n"
        "        while full:\n"
        "            try: os.write(write, bytes(4096))\n"
        "            except BlockingIOError: break\n"
        "        os.set_blocking(write, True)\n"
        "        with own.start(kernel='/nothing', stderr=write) as machine:\n"
        "            print(machine.wait(20), full or os.read(read, 1000))"
    )
    for errors in (subprocess.PIPE, (tmp_path / "errors").open("wb")):
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE, stderr=errors, timeout=PATIENCE, check=True,
        )  # fmt: skip
        first, second = done.stdout.splitlines()
        assert first.startswith(b"2 b'vestige: /nothing: ")
        assert second == b"2 True"
        assert not done.stderr
    assert (tmp_path / "errors").read_bytes() == b""


def test_no_machine_has_another_one_s_options_in_its_memory(kernels: Kernels, pipe: Pipe) -> None:
    secrets = [f"first-{os.urandom(8).hex()}", f"second-{os.urandom(8).hex()}"]
    with Launcher() as own:
        spare_of(own, kernels("idle"))
        for number, secret in enumerate(secrets):
            with own.start(
                kernel=kernels("idle"), stdout=pipe.end, append=secret, jail=JAIL
            ) as machine:
                pipe.take(len(HELLO))
                template = parent_of(machine.pid)
                for process in (template, machine.pid, machine_of(machine.pid)):
                    there = [each.encode() in memory_of(process) for each in secrets]
                    assert not there[1 - number], "the other's"
                    assert there[number] == (process == machine.pid or process != template)


def memory_of(process: int) -> bytes:
    """What a process could write."""
    data = []
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            place, access, _, _, inode, *_ = line.split(maxsplit=5)
            first, end = (int(each, 16) for each in place.split("-"))
            if access.startswith("rw") and inode == "0" and end - first < 32 << 20:
                memory.seek(first)
                with suppress(OSError):
                    data.append(memory.read(end - first))
    return b"".join(data)


def test_nothing_is_imported_from_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "socket.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f":{tmp_path / 'other'}")
    with Launcher():
        pass


# ---- a template that is never ready ---------------------------------------------------------


def template(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """Let launchers run `text` in place of their template."""
    (folder / "own_template.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(launcher, "TEMPLATE", "own_template")


def test_a_machine_without_kvm_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (
        "from functools import partial\n"
        "from vestige.host.kvm import api as kvm\n"
        "from vestige.launcher import template\n"
        "kvm.open_system = partial(kvm.open_system, '/dev/there-is-no-kvm')\n"
        "template.main()\n"
    )
    template(monkeypatch, tmp_path, text)
    with pytest.raises(UsageError, match="/dev/there-is-no-kvm"):
        Launcher()


def test_a_template_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    template(monkeypatch, tmp_path, "raise SystemExit(3)")
    with pytest.raises(GuestError, match="failed at its start"):
        Launcher()
