"""The QEMU process that is the software host: its command line, its start, its end.

Why these flags: with one CPU, since TCG loses an interrupt shadow with two and one guest in ten
then panics; EPYC with SVM and nested paging is what kvm-amd wants, without XSAVE, since TCG does
not let KVM see a guest's XSETBV and every guest's Linux then complains of it, and without all that
needs XSAVE, which QEMU would leave and Linux 7.3 use; without CMPXCHG16B, after which QEMU 7.2's
flags are garbage and Linux 6.12 crashes, as it does in QEMU alone; `tsc=reliable` since Linux would
otherwise mistrust TCG's TSC and read the HPET at every look at the clock; `no_timer_check` since it
panics where the timer's first interrupts are late, as on a busy machine.
"""

import os
import socket
import stat
import subprocess
from collections.abc import Sequence

from vestige.softhost import packages, wire
from vestige.softhost.emulator import Emulator
from vestige.softhost.initramfs import CACHED_TAG, LIVE_TAG, TREE_TAG
from vestige.softhost.kernel import Kernel

_KERNEL_ARGUMENTS = (
    "console=ttyS0 panic=-1 oops=panic tsc=reliable no_timer_check nowatchdog mitigations=off "
    "audit=0 random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1"
)
_PROCESSOR = "EPYC,+svm,+npt,-cx16,-xsave,-xsaveopt,-xsavec,-xgetbv1,-xsaves,-avx,-avx2,-fma,-f16c"
_FIRST_NVME_SLOT, _CHIPSET_SLOT = 0x10, 0x1F  # the ICH9 is in that one
MAXIMUM_NVME = _CHIPSET_SLOT - _FIRST_NVME_SLOT


def nvme_address(index: int) -> str:
    """The PCI address inside of the controller for the NVMe image number `index`."""
    return f"0000:00:{_FIRST_NVME_SLOT + index:02x}.0"


def stream_name(index: int) -> str:
    """The character device inside whose far side is the stream number `index`."""
    return wire.port_path(wire.FIRST_STREAM_PORT + index)


class Drive:
    """An image by its descriptor, open for reading alone or for both. It holds the image's lock,
    where it has one.
    """

    __slots__ = ("descriptor", "read_only")

    def __init__(self, descriptor: int, read_only: bool) -> None:
        self.descriptor, self.read_only = descriptor, read_only

    def words(self, name: str) -> list[str]:
        """QEMU's words for it as the drive `name`."""
        block = stat.S_ISBLK(os.fstat(self.descriptor).st_mode)
        options = {
            "if": "none",
            "id": name,
            "format": "raw",
            "file.driver": "host_device" if block else "file",
            "file.filename": f"/dev/fdset/{self.descriptor}",
            # Else it is opened for reading alone, and once more for the first write.
            "auto-read-only": "off",
            "file.auto-read-only": "off",
            "cache": "writeback",
            "readonly": "on" if self.read_only else "off",
            "discard": "unmap",
            # Else QEMU stops where there is no room, and waits for somebody who makes some.
            "werror": "report",
            "rerror": "report",
        }
        drive = ",".join(f"{name}={value}" for name, value in options.items())
        return ["-add-fd", f"fd={self.descriptor},set={self.descriptor}", "-drive", drive]


class Share:
    """A directory of the caller's, shared over 9p by its `tag`."""

    __slots__ = ("path", "read_only", "tag")

    def __init__(self, tag: str, path: str, *, read_only: bool) -> None:
        self.tag, self.path, self.read_only = tag, path, read_only


WHOLE = (Share(LIVE_TAG, "/", read_only=False), Share(CACHED_TAG, "/", read_only=True))


def shares_of(trees: Sequence[str]) -> list[Share]:
    """These directories alone, to be read, as initramfs.py mounts them."""
    return [Share(TREE_TAG.format(n), tree, read_only=True) for n, tree in enumerate(trees)]


class Configuration:
    """What the software host is made of.

    `memory` is in bytes; `disks` are /dev/vda and on inside; `nvme` are behind NVMe controllers
    that vfio-pci holds; `network` is QEMU's own, with no privileges; `streams` are sockets, the far
    sides of serial ports at `stream_name`. `held` are further descriptors that are to stay open for
    as long as QEMU lives. `shares` is what it shows of the caller's file system.
    """

    def __init__(
        self,
        *,
        memory: int,
        disks: list[Drive],
        nvme: list[Drive],
        network: bool,
        streams: list[int],
        held: list[int],
        shares: Sequence[Share],
        verbose: bool,
    ) -> None:
        self.memory = memory
        self.disks = disks
        self.nvme = nvme
        self.network = network
        self.streams = streams
        self.held = held
        self.shares = shares
        self.verbose = verbose

    def inherited(self) -> list[int]:
        """The descriptors that QEMU is to have."""
        drives = [drive.descriptor for drive in (*self.disks, *self.nvme)]
        return [*drives, *self.streams, *self.held]


def _command_line(
    configuration: Configuration,
    emulator: Emulator,
    kernel: Kernel,
    agent: int,
    console: int,
    initramfs: int,
) -> list[str]:
    """QEMU's arguments. The last three are descriptors it inherits."""
    arguments = _KERNEL_ARGUMENTS + ("" if configuration.verbose else " quiet")
    if configuration.nvme:
        arguments += " intel_iommu=on iommu=nopt"
    # fmt: off
    line = [
        packages.find_program("setpriv", "util-linux"), "--pdeathsig", "KILL", "--",
        *emulator.words,
        "-name", "vestige-softhost",
        "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-machine", "q35,hpet=off",
        "-accel", "tcg,thread=multi",
        "-cpu", _PROCESSOR,
        "-smp", "1",
        "-m", f"{configuration.memory >> 20}M",
        "-kernel", str(kernel.image),
        "-initrd", f"/proc/self/fd/{initramfs}",
        "-append", arguments,
        "-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,fd={agent}",
        "-device", f"virtserialport,chardev=agent,nr={wire.AGENT_PORT}",
    ]
    for index, stream in enumerate(configuration.streams):
        line += [
            "-chardev", f"socket,id=stream{index},fd={stream}",
            "-device", f"virtserialport,chardev=stream{index},nr={wire.FIRST_STREAM_PORT + index}",
        ]
    for share in configuration.shares:
        path = share.path.replace(",", ",,")
        options = f"local,path={path},mount_tag={share.tag},security_model=none,multidevs=remap"
        line += ["-virtfs", options + (",readonly=on" if share.read_only else "")]
    for index, drive in enumerate(configuration.disks):
        line += drive.words(f"disk{index}")
        line += ["-device", f"virtio-blk-pci,drive=disk{index},serial=disk{index}"]
    if configuration.network:
        # Its IPv6 would lead to the caller's ::1, and nothing inside rejects that.
        line += ["-netdev", "user,id=network,ipv6=off"]
        line += ["-device", "virtio-net-pci,netdev=network,romfile="]
    if configuration.nvme:
        line += ["-device", "intel-iommu,intremap=on,caching-mode=on"]
    for index, drive in enumerate(configuration.nvme):
        line += drive.words(f"nvme{index}")
        line += [
            "-device", f"nvme,drive=nvme{index},serial=nvme{index},"
            f"addr={_FIRST_NVME_SLOT + index:#x}",
        ]
    # fmt: on
    return line


class Process:
    """A running QEMU, our ends of its console and of the agent's port, and its complaints.

    It is killed when the thread that made this object ends, however it ends, so that thread has
    to live as long as the software host does.
    """

    def __init__(
        self,
        configuration: Configuration,
        emulator: Emulator,
        kernel: Kernel,
        boot: bytes,
    ) -> None:
        """Start QEMU. Raises UsageError if this machine lacks setpriv."""
        self.agent, far_agent = socket.socketpair()
        self.console, far_console = socket.socketpair()
        initramfs = os.memfd_create("initramfs")
        try:
            with os.fdopen(os.dup(initramfs), "wb") as file:
                file.write(kernel.initramfs.read_bytes())
                file.write(boot)
            line = _command_line(
                configuration,
                emulator,
                kernel,
                far_agent.fileno(),
                far_console.fileno(),
                initramfs,
            )
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=far_console.fileno(),
                stderr=far_console.fileno(),
                pass_fds=[
                    *(far_agent.fileno(), far_console.fileno(), initramfs),
                    *configuration.inherited(),
                ],
                start_new_session=True,  # the terminal's Ctrl-C is for the command, not for QEMU
            )
        except BaseException:
            self.agent.close()
            self.console.close()
            raise
        finally:
            far_agent.close()
            far_console.close()
            os.close(initramfs)
        self.agent.setblocking(False)
        self.console.setblocking(False)

    @property
    def pid(self) -> int:
        """The process number."""
        return self._process.pid

    def end(self, *, grace: float) -> None:
        """End the process; ask it first, where `grace` (seconds) is not 0."""
        if grace:
            self._process.terminate()
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
        else:
            self._process.kill()
        self._process.wait()
        self.agent.close()
        self.console.close()
