"""A complete Debian on a disk image, and its login prompt on the machine without legacy devices.

    python -m examples.debian.driver [--boot]

Leaves disk.img, vmlinuz and initrd.img in build/debian, and says how to boot them; with `--boot` it
does so. A disk that is there already is kept, with all that was done to it.
"""

import argparse
import os
import shlex
import shutil
import sys
from pathlib import Path

from examples.demo.driver import VESTIGE, WORK
from examples.telling import steps
from tests.guests import debian, images, initramfs, kernels
from vestige.errors import UsageError

FOLDER = WORK / "debian"
APPEND = "root=/dev/vda console=hvc0 quiet"


def main() -> int:
    """Prepare the image, and boot it if asked. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="debian", description=__doc__.partition("\n")[0])
    parser.add_argument("--boot", action="store_true")
    boot = parser.parse_args().boot
    try:
        prepare()
    except (UsageError, images.ImageError) as error:
        print(f"debian: {error}", file=sys.stderr)
        return 2
    command = run_command(FOLDER)
    say("log in as root, without a password; `poweroff` ends it, Ctrl-] at once")
    if boot:
        os.execv(command[0], command)
    print(shlex.join(command))
    return 0


def prepare() -> None:
    """Make what is missing in FOLDER. Raises UsageError, ImageError."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    say("preparing Debian's cloud kernel")
    shutil.copyfile(kernels.kernel("cloud").bzimage, FOLDER / "vmlinuz")
    shutil.copyfile(initramfs.debian("cloud"), FOLDER / "initrd.img")
    disk = FOLDER / "disk.img"
    if disk.exists():
        say(f"keeping {_short(disk)}; remove it for a new one")
        return
    say("installing Debian by debootstrap, which takes a minute or two")
    pristine = debian.disk(steps())
    unfinished = images.copy(pristine, FOLDER / "disk.incoming")
    unfinished.rename(disk)


def run_command(folder: Path) -> list[str]:
    """How the image in `folder` is booted."""
    return [
        *(_short(VESTIGE), "run", "--kernel", _short(folder / "vmlinuz")),
        *("--initrd", _short(folder / "initrd.img"), "--append", APPEND),
        *("--disk", _short(folder / "disk.img"), "--net", "user", "--console", "virtio"),
    ]


def say(text: str) -> None:
    """Show progress."""
    print(f"debian: {text}", flush=True)


def _short(path: Path) -> str:
    """A path as it is typed from here."""
    return os.path.relpath(path)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
