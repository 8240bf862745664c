"""Clones: a Debian boots, imports NumPy and is frozen; twenty copies of it compute and write.

    python -m examples.demo_clone.driver

Exit status 0 if each clone computed what is right of its own number, has on its disk what it wrote
and nothing of another's, and random numbers of its own; and if the image that all of their disks
are over is as it was. On this machine's KVM, or in the software host: clones.py.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from examples.demo.driver import WORK
from examples.telling import Failure, Teller, steps
from tests.guests import debian, images, initramfs, kernels
from tests.guests.store import ROOT
from vestige.errors import GuestError, UsageError
from vestige.host.images import ensure
from vestige.softhost import SoftHost, foreground
from vestige.softhost.detect import kvm_state

FOLDER = WORK / "demo-clone"
DEMO = Teller("demo-clone")
MODULE = "examples.demo_clone.clones"


def main() -> int:
    """Run the demo. Returns the exit status."""
    try:
        DEMO.say("preparing a Debian with NumPy, by debootstrap: minutes, the first time")
        disk = debian.python_disk(steps())
        kernel, initrd = kernels.kernel("cloud").bzimage, initramfs.debian("cloud")
        ensure()  # in the software host, compiling takes ten times as long
        before = digest(disk)
        status = run(kernel, initrd, disk)
        if status != 0:
            return status
        DEMO.judge("base image", digest(disk) == before, f"{disk} is not as it was")
    except (UsageError, images.ImageError) as error:
        print(f"demo-clone: {error}", file=sys.stderr)
        return 2
    except (Failure, GuestError) as error:
        print(f"demo-clone: {error}", file=sys.stderr)
        print("demo-clone: FAILED", file=sys.stderr)
        return 1
    DEMO.say("ok")
    return 0


def run(kernel: Path, initrd: Path, disk: Path) -> int:
    """Boot, freeze and clone where there is a KVM for that; the exit status. Raises UsageError."""
    command = [sys.executable, "-m", MODULE, str(kernel), str(initrd)]
    if kvm_state().is_good:
        return subprocess.run([*command, str(disk)], cwd=ROOT, check=False).returncode
    host = SoftHost(disks=[(disk, True)])
    return foreground.run(host, [*command, *host.disk_names])


def digest(path: Path) -> bytes:
    """What is in it, as a SHA256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
