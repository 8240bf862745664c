"""The demo: boots Debian with its root on an IDE disk, and judges what the guest says.

    python -m examples.demo.driver [--vmm qemu]

The guest runs examples/demo/init. Exit status 0 if every check in the guest passed, the monitor
ended well, and the disk image holds what the guest says it wrote. With `--vmm qemu` the same
guest runs on QEMU's PIIX3 instead of Vestige's: should a check fail there too, suspect the check.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.guests import images, initramfs, kernels, roots
from tests.guests.store import ROOT
from vestige.errors import UsageError

VESTIGE = Path(sys.executable).with_name("vestige")
WORK = ROOT / "build"
APPEND = "console=ttyS0 quiet panic=-1 root=/dev/sda1 init=/demo/init"
TIMEOUT = 600  # seconds, of the guest: a slow machine is no failure
GRACE = 120  # seconds that the monitor has to start before that and to end after it

PASSED = "guest: all checks passed"


class Demo(NamedTuple):
    """One demo: its name, its disk, the scripts whose checks must pass, and what runs its guest.

    `command` gets the kernel, the initial RAM disk and the disk; `timeout`, in seconds, ends a
    monitor that doesn't end its guest in time itself; `epilogue` shows more of a run.
    """

    name: str
    disk: Callable[[], Path]
    scripts: tuple[Path, ...]
    command: Callable[[Path, Path, Path], list[str]]
    timeout: float
    epilogue: Callable[[], list[str]] = list

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"{self.name}: {text}", flush=True)


def main() -> int:
    """Run the demo. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--vmm", choices=("vestige", "qemu"), default="vestige")
    command = _qemu if parser.parse_args().vmm == "qemu" else _vestige
    timeout = TIMEOUT + GRACE
    return perform(Demo("demo", roots.demo_disk, (roots.DEMO_INIT,), command, timeout))


def perform(demo: Demo) -> int:
    """Prepare and run a demo's guest, and judge it. Returns the exit status."""
    start = time.monotonic()
    try:
        demo.say("preparing Debian's cloud kernel")
        kernel = kernels.kernel("cloud")
        demo.say("preparing a root file system from Debian's packages")
        pristine = demo.disk()
        work = WORK / demo.name
        work.mkdir(parents=True, exist_ok=True)
        disk = images.copy(pristine, work / "disk.img")
        initrd = initramfs.root("cloud")
    except UsageError as error:
        print(f"{demo.name}: {error}", file=sys.stderr)
        return 2
    demo.say(f"booting Linux {kernel.release} ({time.monotonic() - start:.0f} s so far)")
    status, lines = run(demo.command(kernel.bzimage, initrd, disk), demo.timeout)
    script = "".join(path.read_text() for path in demo.scripts)
    problems = judge(lines, status, script) + inspect(disk, lines)
    for line in demo.epilogue():
        demo.say(line)
    for problem in problems:
        print(f"{demo.name}: {problem}", file=sys.stderr)
    if problems:
        print(f"{demo.name}: FAILED; the disk is {disk}", file=sys.stderr)
        return 1
    demo.say(f"{time.monotonic() - start:.0f} s in all")
    demo.say("ok")
    return 0


def _vestige(kernel: Path, initrd: Path, disk: Path) -> list[str]:
    return [
        *(str(VESTIGE), "run", "--kernel", str(kernel), "--initrd", str(initrd)),
        *("--append", APPEND, "--disk", f"{disk},bus=ide", "--timeout", str(TIMEOUT)),
    ]


def _qemu(kernel: Path, initrd: Path, disk: Path) -> list[str]:
    return [
        *("qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-m", "512M", "-no-reboot"),
        *("-nodefaults", "-display", "none", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(initrd), "-append", APPEND),
        *("-drive", f"file={disk},if=ide,format=raw"),
    ]


def run(argv: list[str], timeout: float) -> tuple[int, list[str]]:
    """Run the monitor, showing the guest's console; its exit status and the console's lines."""
    lines = []
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as monitor:
        if monitor.stdout is None:
            raise RuntimeError("Popen gave no pipe")
        # `vestige run --timeout` ends a guest that hangs; this ends a monitor that does.
        watchdog = threading.Timer(timeout, monitor.kill)
        watchdog.start()
        try:
            for line in monitor.stdout:
                lines.append(line.rstrip())
                print("  |", line.rstrip(), flush=True)
            status = monitor.wait()
        except KeyboardInterrupt:
            monitor.terminate()
            raise
        finally:
            watchdog.cancel()
    return status, lines


def judge(lines: list[str], status: int, script: str) -> list[str]:
    """What is wrong with a guest's console and its monitor's exit status; nothing if all is well.

    Every check that `script`, the guest's init, makes must have said ok.
    """
    problems = []
    if status != 0:
        problems.append(f"the monitor ended with status {status}, not 0")
    missed = []
    for name in re.findall(r"^check (\S+)", script, re.MULTILINE):
        verdicts = [line for line in lines if line.startswith(f"check: {name} ")]
        if not verdicts:
            missed.append(name)
        problems += [line for line in verdicts if line != f"check: {name} ok"]
    if missed:
        problems.append(f"the guest never got to its checks {', '.join(missed)}")
    if PASSED not in lines:
        problems.append(f"the guest did not end with '{PASSED}'")
    return problems


def inspect(disk: Path, lines: list[str]) -> list[str]:
    """What is wrong with the disk that the guest left: judged by e2fsprogs, not by the guest."""
    problems = []
    said = [line.removeprefix("payload: ") for line in lines if line.startswith("payload: ")]
    try:
        root, data = images.partition_offset(disk, 1), images.partition_offset(disk, 2)
        images.check_ext4(disk, root)
        images.check_ext4(disk, data)
        payload = images.read_file(disk, "/payload", data)
    except (images.ImageError, OSError) as error:
        return [f"the disk image: {error}"]
    found = hashlib.sha256(payload).hexdigest()
    if said != [found]:
        problems.append(f"the disk image holds a payload {found}, the guest wrote {said}")
    return problems


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
