"""Whole runs that are frozen and thawed: little kernels, the machine's own KVM, both commands."""

import ctypes
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host import layers
from tests.host.harness import why_not
from tests.host.kernel_payload import (
    FILL_PAGE,
    FILL_PAGES,
    HELLO,
    QUEUES,
    READ_PAGES,
    READ_ROUNDS,
    SOME_SECTORS,
    Kernels,
)
from tests.host.processes import machine_of
from vestige.errors import GuestError, UsageError
from vestige.host import images
from vestige.host.backends.ring import takes_files_memory
from vestige.host.control.client import find
from vestige.host.freeze.asking import freeze
from vestige.host.freeze.parts import CPUID_AT, CPUS_AT, TAIL
from vestige.host.kvm import cpu_state

pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

VESTIGE = [sys.executable, "-m", "vestige.cli.main"]
PATIENCE = 120
LOOK = 0.01  # seconds between two looks at what a guest has written
SIZE = 2 << 20
# A guest that is through, as who asks for a freeze is told of it.
THROUGH = ("the guest does not run now", "no run 'guest'", "guest: ended without an answer")
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Kernels:
    images.ensure()
    return Kernels(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where all of a test is, and its runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


class Guest:
    """One that is run, frozen and thawed, ever again; `said` to its consoles, one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.snapshot = folder / "snapshot"
        self._lives: list[Path] = []
        self.process: Process | None = None

    def begin(self, *words: str) -> None:
        """`vestige run` or `thaw`, by these words."""
        self._lives.append(self.folder / f"console{len(self._lives)}")
        self.process = subprocess.Popen(
            [*VESTIGE, *words, "--name", "guest", "--console", str(self._lives[-1])],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self, kernel: str, *words: str) -> None:
        self.begin("run", "--accel", "kvm", "--kernel", kernel, "--memory", "64M", *words)

    def thaw(self, *words: str) -> None:
        self.begin("thaw", str(self.snapshot), *words)

    def freeze(self, *words: str) -> tuple[int, str]:
        """Its exit status, and its line."""
        return vestige("freeze", "guest", str(self.snapshot), *words)

    def wait(self) -> tuple[int, str]:
        """The run's exit status, and what it told."""
        assert self.process is not None
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors.decode()

    def await_words(self, more: int = 1) -> None:
        """Until it has said so much in this life, or it is over."""
        deadline = time.monotonic() + PATIENCE
        while self._size() < more and self.process and self.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(LOOK)

    def _size(self) -> int:
        return self._lives[-1].stat().st_size if self._lives[-1].exists() else 0

    @property
    def said(self) -> bytes:
        return b"".join(path.read_bytes() for path in self._lives if path.exists())

    @property
    def lives(self) -> int:
        return len(self._lives)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def guest(folder: Path) -> Iterator[Guest]:
    made = Guest(folder)
    yield made
    made.close()


def vestige(*words: str) -> tuple[int, str]:
    done = subprocess.run([*VESTIGE, *words], capture_output=True, timeout=PATIENCE, check=False)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


def disk(folder: Path, name: str = "disk") -> Path:
    path = folder / name
    with path.open("wb") as file:
        file.truncate(SIZE)
    return path


def numbers(path: Path, count: int) -> list[int]:
    """What the first words of its sectors are, but for which disk it is."""
    return numbers_of(path.read_bytes(), count)


def numbers_of(data: bytes, count: int) -> list[int]:
    """The same of a disk's content."""
    return [int.from_bytes(data[512 * n : 512 * n + 4], "little") for n in range(count)]


def live_on(guest: Guest, lives: int, moment: Callable[[int], int]) -> None:
    """Freeze and thaw until there were so many lives, each after `moment(life)` more words.

    A guest may be through before: its run ends before the freeze asks, or while that does.
    """
    while guest.lives < lives:
        guest.await_words(moment(guest.lives))
        status, line = guest.freeze("--stop")
        if status and guest.process is not None:
            assert any(each in line for each in THROUGH)
            break
        assert (status, line) == (0, "")
        assert guest.wait() == (143, "")
        guest.thaw()
    assert guest.wait() == (0, "")


CASES = {
    "virtio": ("virtio_some", "virtio", ()),
    "polled": ("virtio_some", "virtio", ("--ring", "poll")),
    "ide": ("some", "ide", ()),
}


@pytest.mark.parametrize("case", CASES)
def test_a_guest_that_writes_loses_nothing_and_does_nothing_twice(
    kernels: Kernels, guest: Guest, case: str
) -> None:
    """At moments that nobody chooses: a life ends once its guest has said some words more."""
    kernel, bus, more = CASES[case]
    image = disk(guest.folder)
    guest.run(kernels(kernel), "--disk", f"{image},bus={bus}", *more)
    chosen = random.Random(case)
    live_on(guest, 4, lambda _: chosen.randrange(1, 20))
    assert guest.said == b"." * SOME_SECTORS
    assert numbers(image, SOME_SECTORS) == list(range(1, SOME_SECTORS + 1))


def test_what_a_ring_reads_into_ram_while_that_is_copied_is_in_the_snapshot(
    kernels: Kernels, guest: Guest
) -> None:
    image = disk(guest.folder)
    sectors = READ_ROUNDS * READ_PAGES
    image.write_bytes(b"".join(n.to_bytes(512, "little") for n in range(sectors)))
    guest.run(kernels("virtio_reads"), "--disk", f"{image},readonly")
    live_on(guest, 4, lambda _: 1)
    assert guest.said == b"." * READ_ROUNDS


def test_a_snapshot_is_of_one_moment_though_its_memory_is_copied_while_the_guest_runs(
    kernels: Kernels, guest: Guest
) -> None:
    """One that was thawed is frozen, too: its memory is a file's where it is not written."""
    guest.run(kernels("fills"))
    for is_last in (False, True):
        guest.await_words(2)
        assert guest.freeze("--stop") == (0, "")
        assert guest.wait() == (143, "")
        with (guest.snapshot / "ram").open("rb") as file:
            file.seek(FILL_PAGE)
            pages = [file.read(4096)[:4] for _ in range(FILL_PAGES)]
        counts = [int.from_bytes(each, "little") for each in pages]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] - counts[-1] <= 1
        if not is_last:
            guest.thaw()


@pytest.mark.parametrize("kernel", ["virtio_some_disks", "virtio_some_queues"])
def test_several_workers_come_to_rest(kernels: Kernels, guest: Guest, kernel: str) -> None:
    """Of four domains, between which interrupts travel, and disks are shared."""
    images_ = [disk(guest.folder, f"disk{number}") for number in range(2)]
    words = [word for path in images_ for word in ("--disk", str(path))]
    guest.run(kernels(kernel), *words, "--cpus", "16")
    live_on(guest, 4, lambda _: 3)
    sectors = SOME_SECTORS * (QUEUES if kernel == "virtio_some_queues" else 1)
    assert guest.said == b"." * SOME_SECTORS
    for path in images_:
        assert numbers(path, sectors) == list(range(1, sectors + 1))


def test_a_guest_that_was_frozen_goes_on_and_what_it_was_can_be_thawed_twice(
    kernels: Kernels, guest: Guest, folder: Path
) -> None:
    image = disk(folder)
    guest.run(kernels("virtio_some"), "--disk", f"{image}")
    guest.await_words(5)
    status, line = guest.freeze()
    assert (status, "can be thawed as long as nothing is written to" in line) == (0, True)
    so_far = len(guest.said)
    copy = folder / "copy"
    manifest = json.loads((guest.snapshot / "manifest.json").read_text())
    assert guest.wait() == (0, "")
    assert guest.said == b"." * SOME_SECTORS
    status, line = vestige("thaw", str(guest.snapshot))
    assert status == 2
    assert line.startswith(f"vestige: {image}: not as it was when {guest.snapshot} was frozen")
    # What the disk was then nobody kept: an empty one of its date does, as the guest only writes.
    shutil.copy(disk(folder, "empty"), copy)
    then = manifest["disks"][0]["image"]["changed"]
    for _ in range(2):
        os.utime(copy, ns=(then, then))
        done = subprocess.run(
            [*VESTIGE, "thaw", str(guest.snapshot), "--disk", str(copy)],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert 5 <= SOME_SECTORS - len(done.stdout) <= so_far
    assert numbers(copy, SOME_SECTORS)[so_far + 1 :] == list(range(so_far + 2, SOME_SECTORS + 1))


def test_a_temporary_overlay_goes_along_and_each_copy_has_its_own(
    kernels: Kernels, guest: Guest, folder: Path
) -> None:
    base = disk(folder, "base")
    before = base.read_bytes()
    base.chmod(0o444)
    guest.run(kernels("virtio_some"), "--disk", f"{base},overlay=temporary")
    guest.await_words(20)
    with find("guest") as asked:  # as long as that is, the guest says nothing more
        freeze(asked, str(guest.snapshot), stays=True)
        so_far = len(guest.said)
    # The rest changes the run's disk, and not the snapshot's.
    (folder / "overlay").write_bytes((guest.snapshot / "overlay-0").read_bytes()[: -TAIL.size])
    written = numbers_of(layers.content(base, folder / "overlay"), SOME_SECTORS)
    count = written.index(0)
    assert count >= so_far >= 20  # what it said last may wait among the coalesced writes
    assert written == [*range(1, count + 1), *[0] * (SOME_SECTORS - count)]
    both = [
        subprocess.Popen([*VESTIGE, "thaw", str(guest.snapshot)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for each in both:
        output, _ = each.communicate(timeout=PATIENCE)
        assert each.returncode == 0
        assert output == b"." * (SOME_SECTORS - so_far)
    assert guest.wait() == (0, "")
    assert base.read_bytes() == before
    with (guest.snapshot / "overlay-0").open("r+b") as file:
        file.seek(24)
        file.write(b"\1")
    status, line = vestige("thaw", str(guest.snapshot))
    assert (status, "sectors, and this one has" in line, line.count("\n")) == (2, True, 1), line
    base.touch()
    line = refused(guest)
    assert line.startswith(f"vestige: {base}: not as it was when {guest.snapshot} was frozen")
    base.unlink()
    assert refused(guest).startswith(f"vestige: {base}: no such file, and the guest of")


def test_one_that_is_paused_stays_so_and_can_be_frozen(kernels: Kernels, guest: Guest) -> None:
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    assert vestige("pause", "guest") == (0, "")
    assert guest.freeze() == (0, "")
    with find("guest") as run:
        assert run.ask({"do": "status"})["state"] == "paused"
        before = run.ask({"do": "exits"})
        assert run.ask({"do": "exits"}) == before
    assert vestige("resume", "guest") == (0, "")
    assert guest.freeze("--stop") == (0, "")
    assert guest.wait() == (143, "")
    assert guest.said == HELLO


def test_a_snapshot_is_replaced_and_a_folder_of_something_else_is_not(
    kernels: Kernels, guest: Guest, folder: Path
) -> None:
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    guest.snapshot.mkdir()
    assert guest.freeze() == (0, "")  # an empty one
    first = json.loads((guest.snapshot / "manifest.json").read_text())["frozen"]
    before = (guest.snapshot / "manifest.json").stat().st_ino
    assert guest.freeze() == (0, "")
    assert (guest.snapshot / "manifest.json").stat().st_ino != before
    assert json.loads((guest.snapshot / "manifest.json").read_text())["frozen"] >= first
    link = folder / "link"
    link.symlink_to(guest.snapshot)
    assert vestige("freeze", "guest", str(link)) == (0, "")  # what it leads to
    assert link.is_symlink()
    (guest.snapshot / "mine").write_bytes(b"")
    status, line = guest.freeze()
    assert (status, "a folder that holds something else" in line) == (2, True)
    other = folder / "other"
    (other / "ram").mkdir(parents=True)
    (other / "manifest.json").write_text('{"name": "another program"}')
    for _ in range(2):
        status, line = vestige("freeze", "guest", str(other))
        assert (status, "a folder that holds something else" in line) == (2, True)
        if (other / "ram").is_dir():
            (other / "ram").rmdir()
    for name in ("", ".", "/", str(folder / ("x" * 300))):
        status, line = vestige("freeze", "guest", name)
        assert (status, line.count("\n")) == (2, 1), line
    (folder / "file").write_bytes(b"mine")
    for place, problem in (("file", "not a folder"), ("no/where", "No such file or directory")):
        status, line = vestige("freeze", "guest", str(folder / place))
        assert (status, problem in line, line.count("\n")) == (2, True, 1)
    assert (folder / "file").read_bytes() == b"mine"
    assert not [path.name for path in folder.iterdir() if ".part" in path.name]


def test_a_freeze_that_is_killed_leaves_the_old_snapshot(kernels: Kernels, guest: Guest) -> None:
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    assert guest.freeze() == (0, "")
    before = (guest.snapshot / "manifest.json").read_bytes()
    for patience in (0.1, 0.2, 0.3):
        asking = subprocess.Popen([*VESTIGE, "freeze", "guest", str(guest.snapshot)])
        time.sleep(patience)  # at any moment
        asking.kill()
        asking.wait()
        found = (guest.snapshot / "manifest.json").read_bytes()
        assert found == before or json.loads(found)["frozen"] >= json.loads(before)["frozen"]
        before = found


@pytest.mark.parametrize("who", ["run", "machine"])
def test_one_that_is_killed_while_it_is_frozen_leaves_the_old_snapshot(
    kernels: Kernels, guest: Guest, who: str
) -> None:
    chosen, manifest = random.Random(who), guest.snapshot / "manifest.json"
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    assert guest.freeze() == (0, "")
    for _ in range(2):
        before = manifest.stat().st_ino
        assert guest.process is not None
        run = guest.process.pid
        killed = run if who == "run" else machine_of(run)
        command = [*VESTIGE, "freeze", "guest", str(guest.snapshot)]
        asking = subprocess.Popen(command, stderr=subprocess.PIPE)
        deadline = time.monotonic() + PATIENCE
        while not list(guest.folder.glob(".snapshot.*.part")) and asking.poll() is None:
            assert time.monotonic() < deadline
        time.sleep(chosen.random() * 4 * LOOK)  # at any moment
        os.kill(killed, signal.SIGKILL)
        _, errors = asking.communicate(timeout=PATIENCE)
        after = manifest.stat().st_ino
        assert (asking.returncode, after == before) in ((1, True), (0, False)), errors
        assert errors.count(b"\n") == asking.returncode
        assert not list(guest.folder.glob(".snapshot.*.part"))
        assert guest.wait()[0] == (-signal.SIGKILL if who == "run" else 1)
        guest.thaw()
        while vestige("pause", "guest")[0]:
            assert time.monotonic() < deadline
        assert vestige("resume", "guest") == (0, "")


def frozen(kernels: Kernels, guest: Guest) -> None:
    """Have a snapshot of one that does nothing."""
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    assert guest.freeze("--stop") == (0, "")
    guest.wait()


def test_what_can_t_be_thawed_is_refused_in_a_line(kernels: Kernels, guest: Guest) -> None:
    frozen(kernels, guest)
    state = guest.snapshot / "state"
    whole = state.read_bytes()
    mp_state = CPUS_AT + cpu_state.MP_STATE.place
    lapic = CPUS_AT + cpu_state.SYSTEM_2.place
    forged = [
        (CPUID_AT, b"\xff\xff\xff\xff", "it names no processor"),
        (CPUID_AT + 8 + 12, b"\xff" * 4, None),
        (mp_state, b"\xff" * 4, "KVM_SET_MP_STATE: Invalid argument"),
        (lapic, b"\xff" * 320, "KVM_SET_SREGS2: Invalid argument"),
        (16, b"\x01\0\0\0", "counts 1 kHz"),
    ]
    for place, data, problem in forged:
        state.write_bytes(whole[:place] + data + whole[place + len(data) :])
        status, line = vestige("thaw", str(guest.snapshot), "--timeout", "1")
        if problem is None:
            assert status in (1, 2, 124), line
        else:
            assert (status, problem in line, line.count("\n")) == (2, True, 1), line
    state.write_bytes(whole)
    for words, problem in (
        (("--disk", str(disk(guest.folder))), "the guest of"),
        (("--time", "soon"), "--time soon: there are keep, now"),
        (("--memory", "64M"), "--memory: a thaw has no such option, as its machine is as it was"),
        (("more",), "give a snapshot"),
    ):
        status, line = vestige("thaw", str(guest.snapshot), *words)
        assert (status, problem in line, line.count("\n")) == (2, True, 1), line
    manifest = guest.snapshot / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"monitor": "0" * 64}))
    status, line = vestige("thaw", str(guest.snapshot))
    assert status == 2
    assert "frozen by Vestige 0.1.0 with another monitor: the same state, but other code" in line


def test_any_byte_of_the_state_may_be_wrong(kernels: Kernels, guest: Guest) -> None:
    """It is a line, or a guest that fails; never more."""
    frozen(kernels, guest)
    state = guest.snapshot / "state"
    whole = bytearray(state.read_bytes())
    chosen = random.Random(1)
    for _ in range(12):
        data = bytearray(whole)
        for _ in range(chosen.randrange(1, 200)):
            data[chosen.randrange(len(data))] = chosen.randrange(256)
        state.write_bytes(data)
        done = subprocess.run(
            [*VESTIGE, "thaw", str(guest.snapshot), "--timeout", "0.2"],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode in (0, 1, 2, 3, 124), done.stderr
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"\n") <= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_guest_goes_on_where_who_wanted_it_frozen_ends(
    kernels: Kernels, guest: Guest, number: signal.Signals
) -> None:
    """Also where it was to stay paused, until the run is ended."""
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    with find("guest") as run:
        for _ in range(4):
            before = run.ask({"do": "exits"})
            command = [*VESTIGE, "freeze", "guest", str(guest.snapshot), "--stop"]
            asking = subprocess.Popen(command, stderr=subprocess.PIPE)
            deadline = time.monotonic() + PATIENCE
            while not list(guest.folder.glob(".snapshot.*.part")) and asking.poll() is None:
                assert time.monotonic() < deadline
            asking.send_signal(number)
            _, errors = asking.communicate()
            assert errors == b""
            if asking.returncode == 0:  # it was faster
                assert guest.wait() == (143, "")
                return
            while run.ask({"do": "status"})["state"] != "running":
                assert time.monotonic() < deadline
            assert run.ask({"do": "exits"})["cpus"] >= before["cpus"]
            left = list(guest.folder.glob(".snapshot.*.part"))
            assert bool(left) <= (number == signal.SIGKILL)
            for path in left:
                shutil.rmtree(path)


BAD_REQUESTS: list[dict[str, object]] = [
    {"folder": 1},
    {"folder": "relative"},
    {"folder": "/nowhere/at/all"},
    {"folder": "/\ud800"},
    {"folder": "/", "stays": False},
    {"folder": "/proc/self/fd"},
    {"folder": "/tmp", "stays": "no"},
    {},
]


def test_a_bad_request_for_a_freeze_is_an_error_and_no_more(kernels: Kernels, guest: Guest) -> None:
    guest.run(kernels("idle"))
    guest.await_words(len(HELLO))
    with find("guest") as run:
        for request in BAD_REQUESTS:
            with pytest.raises((UsageError, GuestError)):
                run.ask({"do": "freeze", **request})
            assert run.ask({"do": "status"})["state"] == "running"


def test_ports_lead_nowhere_until_they_are_given(kernels: Kernels, guest: Guest) -> None:
    words = ("--port", f"one={guest.folder}/one", "--port", f"two={guest.folder}/two")
    guest.run(kernels("idle"), *words, "--disk", f"{disk(guest.folder)},discard=unmap")
    guest.await_words(len(HELLO))
    assert guest.freeze("--stop") == (0, "")
    guest.wait()
    done = subprocess.run(
        [*VESTIGE, "thaw", str(guest.snapshot), "--timeout", "0.5"],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (124, b"vestige: the timeout is over\n")


def test_a_manifest_that_asks_for_more_than_a_machine_is_refused(
    kernels: Kernels, guest: Guest
) -> None:
    frozen(kernels, guest)
    manifest = guest.snapshot / "manifest.json"
    told = json.loads(manifest.read_text())
    for word in ("--jail=off", f"--stats={guest.folder}/stats", "--timeout=1", "--memory=96M"):
        manifest.write_text(json.dumps(told | {"words": [*told["words"], word]}))
        status, line = vestige("thaw", str(guest.snapshot))
        assert (status, "its manifest is damaged" in line, line.count("\n")) == (2, True, 1), line
    assert not (guest.folder / "stats").exists()


def refused(guest: Guest, *words: str) -> str:
    """What a thaw of it tells."""
    status, line = vestige("thaw", str(guest.snapshot), *words)
    assert (status, line.count("\n")) == (2, 1)
    return line


def test_a_disc_that_was_changed_is_the_one_that_a_thaw_has(
    kernels: Kernels, guest: Guest, folder: Path
) -> None:
    """Each life changes it by another way, and the next begins without an option."""
    first, other = folder / "a.iso", folder / "b,c.iso"
    first.write_bytes(bytes(0x8000) + b"\1CD001\1".ljust(2048, b"\0"))
    other.write_bytes(b"no disc".ljust(4096))
    doubled = str(other).replace(",", ",,")
    by_hand = f"{doubled},format=raw"
    guest.run(kernels("fills"), "--machine", "pc", "--cdrom", str(first))
    for command, words, had in (
        ("eject", (), "none"),
        ("insert", (by_hand,), by_hand),
        ("eject", (), "none"),
        ("insert", (str(first),), str(first)),
    ):
        guest.await_words()
        assert vestige(command, "guest", *words) == (0, "")
        assert guest.freeze("--stop") == (0, "")
        assert guest.wait() == (143, "")
        if had == "none":
            line = refused(guest, "--cdrom", str(first))
            assert "the drive had nothing in it" in line
            assert line.endswith("give --cdrom none, and change it then\n")
        else:
            line = refused(guest, "--cdrom", "none")
            assert f"the drive had {other if had == by_hand else first} in it" in line
            assert line.endswith(f"give --cdrom {had}, and change it then\n")
        guest.thaw()
    guest.await_words()
    assert guest.freeze("--stop") == (0, "")
    assert guest.wait() == (143, "")
    os.utime(first, ns=(1, 1))
    assert refused(guest).startswith(f"vestige: {first}: not as it was when")


def is_mapped(part: Path) -> bool:
    """Whether a thaw maps such a file."""
    with part.open("rb") as file:
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE, access=mmap.ACCESS_COPY)
    return takes_files_memory(ctypes.addressof(ctypes.c_char.from_buffer(page)))


def test_what_is_cut_off_under_a_guest_is_what_the_run_says_ended_it(
    kernels: Kernels, guest: Guest
) -> None:
    """Whatever it looks like: RAM that has gone as a reset, the monitor's as a signal."""
    guest.run(kernels("fills"))
    guest.await_words(2)
    assert guest.freeze("--stop") == (0, "")
    assert guest.wait() == (143, "")
    if not is_mapped(guest.snapshot / "private"):
        pytest.skip("here a thaw copies memory first, and so loses none")
    for name in ("private", "ram"):
        guest.thaw()
        guest.await_words()
        part, whole = guest.snapshot / name, guest.folder / name
        shutil.copy2(part, whole)
        os.truncate(part, 0)
        status, line = guest.wait()
        assert (status, line.count("\n")) == (1, 1)
        assert line.startswith(f"vestige: {part}: somebody has cut off this file while the guest")
        whole.replace(part)


def test_two_do_not_have_one_disk(kernels: Kernels, guest: Guest, folder: Path) -> None:
    image, base, overlay = disk(folder), disk(folder, "base"), folder / "overlay"
    more = ("--disk", f"{base},overlay={overlay}", "--disk", f"{base},overlay=temporary")
    guest.run(kernels("idle"), "--disk", str(image), *more)
    guest.await_words(len(HELLO))
    status, line = guest.freeze()
    assert (status, f" nothing is written to {image}, {overlay}, and" in line) == (0, True), line
    assert vestige("thaw", str(guest.snapshot)) == (
        2,
        f"vestige: {image}: in use by another run; end that one first, or freeze the guest with"
        " overlay=temporary, which gives each copy a disk of its own\n",
    )


def test_a_run_that_is_not_there_and_words_that_are_missing_are_told(folder: Path) -> None:
    assert vestige("freeze", "guest", str(folder / "x"))[0] == 2
    assert vestige("freeze", "guest") == (
        2,
        "vestige: give a run's name and a folder: vestige freeze NAME FOLDER\n",
    )
    assert vestige("thaw") == (2, "vestige: give a snapshot: vestige thaw FOLDER\n")


def test_ctrl_c_ends_a_thawed_run_as_any_other(kernels: Kernels, guest: Guest) -> None:
    frozen(kernels, guest)
    guest.thaw()
    deadline = time.monotonic() + PATIENCE
    while vestige("pause", "guest")[0]:
        assert time.monotonic() < deadline
    assert guest.process is not None
    guest.process.send_signal(signal.SIGINT)
    assert guest.wait() == (130, "")
