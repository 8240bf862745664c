"""Starting, running, failing and stopping, with a fake QEMU."""

import fcntl
import io
import os
import threading
from pathlib import Path

import pytest

from tests.softhost.conftest import Behave
from vestige.errors import UsageError
from vestige.softhost import SoftHost, SoftHostError, host, link

pytestmark = pytest.mark.usefixtures("fake_qemu")

TIMEOUT = 60.0


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_output_errors_and_status_come_back() -> None:
    with SoftHost() as soft:
        done = soft.capture(sh("echo out; echo err >&2; exit 7"), timeout=TIMEOUT)
    assert (done.status, done.stdout, done.stderr) == (7, b"out\n", b"err\n")


def test_a_signal_that_ends_the_command_shows_in_its_status() -> None:
    with SoftHost() as soft:
        assert soft.run(sh("kill -9 $$"), timeout=TIMEOUT) == 128 + 9


def test_input_goes_in_whole() -> None:
    data = os.urandom(3_000_000)
    with SoftHost() as soft:
        assert soft.capture(["cat"], stdin=data, timeout=TIMEOUT).stdout == data


def test_input_may_be_a_file_or_nothing(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"from a file")
    with SoftHost() as soft:
        with (tmp_path / "input").open("rb") as file:
            assert soft.capture(["cat"], stdin=file, timeout=TIMEOUT).stdout == b"from a file"
        assert soft.capture(["cat"], timeout=TIMEOUT).stdout == b""


def test_a_command_that_ignores_its_input_ends_all_the_same() -> None:
    with SoftHost() as soft:
        assert soft.run(["true"], stdin=bytes(3_000_000), timeout=TIMEOUT) == 0
        script = sh("exec <&-; sleep 0.2; echo done")
        assert soft.capture(script, stdin=bytes(3_000_000), timeout=TIMEOUT).stdout == b"done\n"


def test_where_and_with_what_the_command_runs(tmp_path: Path) -> None:
    with SoftHost() as soft:
        done = soft.capture(
            sh('pwd; echo "$NAME $VESTIGE_SOFTHOST"; id -u; id -g; umask'),
            cwd=tmp_path,
            env={"NAME": "value=x", "PATH": "/usr/bin:/bin"},
            timeout=TIMEOUT,
        )
    mask = os.umask(0)
    os.umask(mask)
    expected = [str(tmp_path), "value=x 1", str(os.geteuid()), str(os.getegid()), f"{mask:04o}"]
    assert done.stdout.decode().splitlines() == expected


def test_sigpipe_ends_commands_as_it_does_outside() -> None:
    with SoftHost() as soft:
        done = soft.capture(sh("yes | head -n 1"), timeout=TIMEOUT)
    assert (done.stdout, done.stderr) == (b"y\n", b"")


@pytest.mark.parametrize(
    ("argv", "status"), [(["no-such-command"], 127), (["/etc"], 126), (["/etc/passwd"], 126)]
)
def test_what_does_not_run_has_a_shells_status_and_a_reason(argv: list[str], status: int) -> None:
    with SoftHost() as soft:
        done = soft.capture(argv, timeout=TIMEOUT)
    assert done.status == status
    assert done.stderr.startswith(f"vestige: softhost: {argv[0]}: ".encode())


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with SoftHost() as soft:
        done = soft.capture(["true"], cwd=tmp_path / "gone", timeout=TIMEOUT)
    assert done.status == 127
    assert str(tmp_path / "gone") in done.stderr.decode()


def test_no_command_is_refused() -> None:
    with SoftHost() as soft:
        for argv in ([], [""]):
            with pytest.raises(UsageError, match="after '--'"):
                soft.run(argv)


def test_commands_run_side_by_side(tmp_path: Path) -> None:
    """Each waits for what a later one does."""
    pipes = [tmp_path / str(status) for status in range(8)]
    for pipe in pipes:
        os.mkfifo(pipe)
    with SoftHost() as soft:
        commands = [soft.spawn(sh(f"read x < {pipe}; exit {pipe.name}")) for pipe in pipes]
        for pipe in pipes:
            assert soft.capture(["sh", "-c", f"echo > {pipe}"], timeout=TIMEOUT).status == 0
        assert [command.wait(TIMEOUT) for command in commands] == list(range(8))


def test_threads_may_share_it() -> None:
    outputs: dict[int, bytes] = {}

    def run(number: int) -> None:
        outputs[number] = soft.capture(["echo", str(number)], timeout=TIMEOUT).stdout

    with SoftHost() as soft:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT)
    assert outputs == {number: f"{number}\n".encode() for number in range(6)}


def test_a_reader_that_stalls_stalls_nobody_else() -> None:
    with SoftHost() as soft:
        sink = io.BytesIO()
        stalled = soft.spawn(["head", "-c", "5000000", "/dev/zero"], stdout=sink)
        assert soft.run(["true"], timeout=TIMEOUT) == 0
        assert stalled.wait(TIMEOUT) == 0
        assert len(sink.getvalue()) == 5_000_000


def test_a_process_left_behind_does_not_hold_back_the_status() -> None:
    with SoftHost() as soft:
        done = soft.capture(sh("sleep 5 & echo done"), timeout=TIMEOUT)
    assert done.stdout == b"done\n"


def test_a_command_over_its_time_is_killed(tmp_path: Path) -> None:
    with SoftHost() as soft:
        with pytest.raises(TimeoutError, match=r"within 0\.3 s"):
            soft.run(sh(f"echo $$ > {tmp_path}/pid; exec sleep 60"), timeout=0.3)
        assert not is_alive(int((tmp_path / "pid").read_text()))


def test_signals_reach_the_whole_process_group() -> None:
    with SoftHost() as soft:
        reader, writer = os.pipe()
        command = soft.spawn(sh("trap 'exit 5' TERM; echo up; sleep 5 & wait"), stdout=writer)
        waiting = threading.Thread(target=command.wait, args=(TIMEOUT,))
        waiting.start()
        assert os.read(reader, 10) == b"up\n"
        command.signal(15)
        waiting.join(TIMEOUT)
        assert command.wait(0) == 5
        os.close(reader)
        os.close(writer)


def test_a_terminal_of_its_own() -> None:
    with SoftHost() as soft:
        sink = io.BytesIO()
        command = soft.spawn(sh("tty; stty size"), stdout=sink, terminal=(33, 99))
        assert command.wait(TIMEOUT) == 0
        device, size = sink.getvalue().decode().split("\r\n")[:2]
    assert device.startswith("/dev/pts/")
    assert size == "33 99"


def test_stop_leaves_no_process_and_it_can_start_again() -> None:
    soft = SoftHost()
    for _ in range(2):
        soft.start()
        process = soft.pid
        assert is_alive(process)
        soft.stop()
        assert not is_alive(process)
        assert soft.pid == 0
    with pytest.raises(SoftHostError, match="not started"):
        soft.run(["true"])


def test_a_boot_that_panics_is_tried_once_more(fake_qemu: Behave, tmp_path: Path) -> None:
    fake_qemu(f"panics once:{tmp_path}/marker")
    said: list[str] = []
    soft = SoftHost()
    soft.start(said.append)
    assert soft.run(["true"], timeout=TIMEOUT) == 0
    soft.stop()
    assert any("its kernel panicked (not syncing: made to)" in line for line in said)


def test_two_boots_that_panic_are_a_failure_with_the_console(fake_qemu: Behave) -> None:
    fake_qemu("panics")
    with pytest.raises(SoftHostError, match="Kernel panic - not syncing: made to"):
        SoftHost().start()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "[    1.2] booting qemu: fatal: Trying to execute code outside RAM or ROM at 0xa0000",
            "Trying to execute code outside RAM or ROM at 0xa0000",
        ),
        (
            "**\nERROR:../accel/tcg/a.c:82:handle: assertion failed: (bql_locked())\nBail out!"
            " ERROR:../accel/tcg/a.c:82:handle: assertion failed: (bql_locked())",
            "../accel/tcg/a.c:82:handle: assertion failed: (bql_locked())",
        ),
        (
            "Bail out! ERROR:../target/i386/x.c:9:load: code should not be reached",
            "../target/i386/x.c:9:load: code should not be reached",
        ),
        (
            "qemu-system-x86_64: ../util/a.c:9: unlock: Assertion `mutex->done' failed.",
            "../util/a.c:9: unlock: Assertion `mutex->done' failed.",
        ),
    ],
)
def test_what_qemu_dies_of_is_told_in_one_line(fake_qemu: Behave, words: str, reason: str) -> None:
    fake_qemu(f"gives up:{words}")
    with pytest.raises(SoftHostError) as told:
        SoftHost().start()
    assert str(told.value) == f"the software host failed: QEMU gave up ({reason}); start it again"


def test_a_guest_that_ends_qemu_by_writing_cr8_is_told_of(fake_qemu: Behave) -> None:
    reason = (
        "../accel/tcg/tcg-accel-ops.c:98:tcg_handle_interrupt: assertion failed: (bql_locked())"
    )
    fake_qemu(f"gives up:ERROR:{reason}")
    with pytest.raises(SoftHostError) as told:
        SoftHost().start()
    assert str(told.value) == (
        f"the software host failed: QEMU gave up ({reason}); a guest that writes CR8, as UEFI"
        " firmware and 64-bit Windows do, ends QEMU's emulator; run it where /dev/kvm works"
        " (`vestige doctor`)"
    )


def test_a_boot_that_hangs_is_ended(fake_qemu: Behave, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_BOOT_TIMEOUT", 0.5)
    fake_qemu("silent")
    with pytest.raises(SoftHostError, match="did not boot within"):
        SoftHost().start()


def test_a_software_host_that_hangs_is_noticed(
    fake_qemu: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_PING_INTERVAL", 0.05)
    monkeypatch.setattr(link, "_MISSED_PINGS", 3)
    fake_qemu("hangs")
    with SoftHost() as soft:
        with pytest.raises(SoftHostError, match="it hangs"):
            soft.run(["true"], timeout=TIMEOUT)
        process = soft.pid
    assert not is_alive(process)


def test_a_command_whose_software_host_dies_fails() -> None:
    with SoftHost() as soft, pytest.raises(SoftHostError, match="it ended by itself"):
        soft.run(sh("kill -9 $PPID"), timeout=TIMEOUT)  # the fake QEMU is its commands' parent


def test_images_are_locked_while_it_is_up(tmp_path: Path) -> None:
    image = tmp_path / "a,b.img"
    image.write_bytes(bytes(512))
    with SoftHost(disks=[(image, False)]) as soft:
        assert soft.disk_names == ["/dev/vda"]
        with pytest.raises(UsageError, match=r"a,b\.img: in use by another run"):
            SoftHost(nvme=[image]).start()
        with pytest.raises(UsageError, match="in use"):
            SoftHost(disks=[(image, True)]).start()
    with image.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_an_image_that_is_written_is_one_drive(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(512))
    with pytest.raises(UsageError, match="given twice; give it once"):
        SoftHost(disks=[(image, True)], nvme=[image]).start()
    with SoftHost(disks=[(image, True), (image, True)]) as soft:
        assert soft.run(["true"], timeout=TIMEOUT) == 0


def test_readers_share_an_image(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(512))
    with SoftHost(disks=[(image, True)]), SoftHost(disks=[(image, True)]) as second:
        assert second.run(["true"], timeout=TIMEOUT) == 0


@pytest.mark.parametrize("kind", ["missing", "directory"])
def test_an_image_that_is_none_is_refused(tmp_path: Path, kind: str) -> None:
    image = tmp_path if kind == "directory" else tmp_path / "missing"
    with pytest.raises(UsageError, match=f"{image}: (a directory|no such disk image); "):
        SoftHost(disks=[(image, False)]).start()


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="give 512M or more"):
        SoftHost(memory=64 << 20)


def test_without_qemu_the_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "programs" / "qemu-system-x86_64").unlink()
    (tmp_path / "programs" / "setpriv").symlink_to("/usr/bin/setpriv")
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    with pytest.raises(UsageError, match="apt-get install qemu-system-x86"):
        SoftHost().start()
