"""The machine itself, as Debian's cloud kernel uses it: in the software host, on a real KVM."""

import json
import shutil
from pathlib import Path

import pytest

from tests.guests import initramfs, kernels
from tests.guests.boots import Boot, boot
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]


@pytest.fixture(scope="module")
def stats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the guest's counters."""
    return tmp_path_factory.mktemp("platform") / "stats.json"


@pytest.fixture(scope="module")
def guest(there: SoftHost | None, stats: Path) -> Boot:
    """One that tells of its clock, reboots, and panics after that: see platform-init."""
    disk = stats.with_name("disk.img")
    disk.write_bytes(bytes(1 << 20))
    cloud = kernels.kernel("cloud")
    words = ("--on-reboot", "restart", "--disk", f"{disk},bus=ide", "--stats", str(stats))
    started = (cloud.vmlinux, initramfs.platform("cloud"), "clocksource=hpet")
    return boot(*started, "--hpet", *words, there=there)


def test_a_reboot_starts_the_kernel_afresh_with_its_disk_as_it_was(
    guest: Boot, stats: Path
) -> None:
    assert guest.after("start:") == ["1", "2"], guest
    assert json.loads(stats.read_text())["restarts"] == 1


def test_a_panic_is_reported_and_the_console_says_why(guest: Boot) -> None:
    assert guest.after("events:") == ["3"], guest
    assert any("Kernel panic - not syncing: sysrq triggered crash" in line for line in guest.lines)
    assert guest.errors.splitlines()[-1] == (
        "vestige: the guest's kernel panicked; its console says why"
    )
    assert guest.status == 1


def test_the_hpet_is_a_clock_source_that_goes_as_kvm_clock_does(guest: Boot) -> None:
    assert guest.after("clocksource:") == ["hpet"], guest
    assert "kvm-clock" in guest.after("available:")[0].split()
    stamps = {
        line.split("] ")[1]: float(line.split("[")[1].split("]")[0]) for line in guest.after("log:")
    }
    passed = float(guest.after("uptime last:")[0]) - float(guest.after("uptime first:")[0])
    # However long the guest was kept waiting between two of its commands.
    shortest = stamps["before last"] - stamps["after first"]
    longest = stamps["after last"] - stamps["before first"]
    assert 0.99 * shortest - 0.02 <= passed <= 1.01 * longest + 0.02


@pytest.mark.slow
def test_linux_brings_up_thirty_two_cpus_in_x2apic_mode() -> None:
    guest = boot(kernels.kernel("cloud").vmlinux, initramfs.reached(), "", *("--cpus", "32"))
    assert guest.after("cpus:") == ["32"], guest
    assert [mode.rstrip(".") for mode in guest.after("interrupts:")] == ["physical x2apic"]
    assert guest.status == 0
