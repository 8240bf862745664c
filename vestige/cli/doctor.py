"""`vestige doctor`: what this machine can do, what is missing, and how to get it."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from vestige.bounds import MINIMUM_MEMORY
from vestige.cli.arguments import Arguments, Syntax
from vestige.errors import GuestError, UsageError
from vestige.host import images
from vestige.host.backends.ring import Ring
from vestige.host.jail import layers, probe
from vestige.host.kvm import api as kvm
from vestige.host.kvm.memory import GuestMemory, Region
from vestige.host.messages import show
from vestige.host.options import BIOS, FIRMWARES, UEFI, VGA_BIOS
from vestige.host.vfio import sysfs
from vestige.softhost import emulator, kernel, packages
from vestige.softhost.detect import KvmState, kvm_state

CAN_RUN = 0
CAN_NOT_RUN = 1

SYNTAX = Syntax(
    note=f"Exit status: {CAN_RUN} if guests run here, in whichever way, else {CAN_NOT_RUN}."
)


class Finding(NamedTuple):
    """One thing looked at: whether it is well, what was found, and what to do about it."""

    subject: str
    well: bool
    found: str
    cure: str = ""


def run(_arguments: Arguments) -> int:
    """Print the findings and the verdict."""
    state = kvm_state()
    native = [_kvm(state), _capabilities(state), _io_uring()]
    software = [_qemu(), _kernel()]
    compiler = _compiler()
    for finding in (*native, *jail(), *software, compiler, *firmware(), *nvme_controllers()):
        for line in lines_of(finding):
            show(f"{line}\n")
    words, status = verdict(native, software, compiler)
    show(f"{words}\n")
    return status


def lines_of(finding: Finding) -> Iterator[str]:
    """A finding as a person reads it."""
    yield f"{finding.subject:<14} {'ok' if finding.well else 'no':<3} {finding.found}"
    if finding.cure:
        yield f"{'':<14}     -> {finding.cure}"


def verdict(native: list[Finding], software: list[Finding], compiler: Finding) -> tuple[str, int]:
    """What `vestige run` will do here, and the exit status."""
    if not compiler.well:
        return "verdict: no guest can run here: the monitor can't be compiled", CAN_NOT_RUN
    if all(finding.well for finding in native):
        return "verdict: `vestige run` runs guests on this machine's KVM", CAN_RUN
    if all(finding.well for finding in software):
        return (
            "verdict: `vestige run` runs guests in the software host (slow: emulated)",
            CAN_RUN,
        )
    return "verdict: no guest can run here yet; the arrows above say what to do", CAN_NOT_RUN


def _kvm(state: KvmState) -> Finding:
    return Finding("KVM", state.is_good, state.words, state.cure)


def _capabilities(state: KvmState) -> Finding:
    """What of KVM's capabilities Vestige needs, where there is a KVM to ask."""
    try:
        with closing(kvm.open_system()):
            return Finding("capabilities", True, f"all {len(kvm.REQUIRED)} that are needed")
    except UsageError as error:
        found = str(error).partition(";")
        return Finding(
            "capabilities", False, "unknown" if state.cure else found[0], found[2].strip()
        )


def _io_uring() -> Finding:
    """Whether a restricted ring like a guest's can be made: by making one."""
    eventfd = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        with (
            closing(GuestMemory(MINIMUM_MEMORY)) as memory,
            closing(Region(1 << 20)) as state,
            closing(Ring(memory, state.address, [eventfd], eventfd)),
        ):
            return Finding("io_uring", True, "restricted rings work")
    except (UsageError, GuestError) as error:
        found, _, cure = str(error).partition("; ")
        return Finding("io_uring", False, found, cure)
    finally:
        os.close(eventfd)


CURES = {
    layers.NAMESPACES: "allow them: the sysctls user.max_*_namespaces, or the container's profile",
    layers.FILES: "allow namespaces, and mounts in them: the container's profile",
    layers.LANDLOCK: "boot Linux 5.13 or newer with lsm=landlock,… in its command line",
    layers.CAPABILITIES: "allow capset(2): the container's profile",
    layers.SECCOMP: "sudo apt install libseccomp2; Linux 5.7 or newer",
}


def jail() -> Iterator[Finding]:
    """Which layers keep a guest's process in: a process of ours puts them on."""
    found = probe.problems(images.call_filter())
    yield Finding("jail", not found, probe.there(found) or "nothing")
    for name, problem in found.items():
        yield Finding("", False, f"without {name}: {problem}", CURES[name])


def firmware(
    bios: str = FIRMWARES[BIOS], vga_bios: str = VGA_BIOS, uefi: str = FIRMWARES[UEFI]
) -> Iterator[Finding]:
    """What `--machine pc` starts from and shows text by: other guests need none of it."""
    for subject, path, package, without in (
        (
            *("SeaBIOS", bios, "seabios"),
            "--machine pc can't start without --kernel or --firmware PATH",
        ),
        ("VGA BIOS", vga_bios, "seabios", "--machine pc needs --vga none, or --kernel alone"),
        ("OVMF", uefi, "ovmf", "--firmware uefi can't start"),
    ):
        if os.access(path, os.R_OK):
            yield Finding(subject, True, path)
        elif Path(path).exists():
            yield Finding(subject, False, f"{path} can't be read: {without}", f"chmod a+r {path}")
        else:
            yield Finding(subject, False, f"no {path}: {without}", f"sudo apt install {package}")


def nvme_controllers(paths: sysfs.KernelPaths | None = None) -> Iterator[Finding]:
    """Each NVMe controller, and whether a guest can have it: one needs none to run."""
    addresses = sysfs.controllers(paths)
    if not addresses:
        yield Finding("NVMe", True, "no controller that a guest could have (--disk vfio:ADDRESS)")
    for address in addresses:
        problem = sysfs.problem(address, paths)
        found, cure = problem or (f"a guest can have it: --disk vfio:{address}", "")
        device = sysfs.Device(address, paths or sysfs.KernelPaths())
        where = f"{address}: IOMMU group {device.group or 'none'}, driver {device.driver or 'none'}"
        yield Finding("NVMe", problem is None, f"{where}: {found}", cure)


def _qemu() -> Finding:
    try:
        program, version = emulator.installed()
    except UsageError as error:
        found, _, cure = str(error).partition("; ")
        return Finding("software host", False, found, cure)
    if emulator.is_sound(version):
        return Finding("software host", True, str(program))
    if emulator.cached().is_dir():
        return _kept("software host", emulator.cached())
    return Finding("software host", True, f"{program}; a newer one is fetched at the first use")


def _kernel() -> Finding:
    """The software host's kernel: kept already, or to be had."""
    place = kernel.cached()
    if place.is_dir():
        return _kept("its kernel", place)
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        return Finding("its kernel", True, "not here yet: fetched at the first use (70 MB)")
    found = "not here, and no apt-get to fetch it"
    return Finding("its kernel", False, found, "use Debian 12 to 14")


def _kept(what: str, place: Path) -> Finding:
    """Whether a directory of the cache is as it was filled."""
    try:
        packages.check(place)
    except UsageError as error:
        found, _, cure = str(error).partition("; ")
        return Finding(what, False, found, cure)
    return Finding(what, True, str(place))


def _compiler() -> Finding:
    if not images.not_cached():
        return Finding("compiler", True, "the monitor is compiled and cached")
    try:
        import llvmlite  # noqa: PLC0415
    except ImportError:
        return Finding(
            "compiler",
            False,
            "llvmlite is not installed",
            f"{sys.executable} -m pip install llvmlite",
        )
    return Finding("compiler", True, f"llvmlite {llvmlite.__version__}; compiles at the first run")
