"""Debian and copies of it on one network, with a DHCP server of Debian's: in the software host."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.guests import debian, initramfs, kernels
from tests.guests.programs import programs
from tests.host.freeze.lease_inside import ALONE, PATIENCE, TAPS
from vestige.host import images
from vestige.softhost import SoftHost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.softhost,
    pytest.mark.skipif(
        not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86_64 (software host)"
    ),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What lease_inside found."""
    kernel, initrd = kernels.kernel("cloud").bzimage, initramfs.debian("cloud")
    disk, bridge = debian.python_disk(), kernels.modules_for("standard", "bridge")
    server = programs("dnsmasq")["bin/dnsmasq"].parent.parent
    images.ensure()
    folder = tmp_path_factory.mktemp("lease")
    with SoftHost(disks=[(disk, True)], network=True) as host:
        command: list[str | Path] = [sys.executable, "-m", "tests.host.freeze.lease_inside"]
        command += [kernel, initrd, initramfs.busybox(), server, folder, *host.disk_names, *bridge]
        done = host.capture(command, timeout=2 * PATIENCE)
    assert done.status == 0, done.stderr.decode()
    assert done.stderr == b""
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def mac_at(found: dict[str, Any], tap: int) -> str:
    """Of a guest at this one of the bridge's taps."""
    tail: str = found["taps"][tap][len("00:00:00") :]
    return "52:54:00" + tail


def test_a_guest_and_two_copies_of_it_are_three_on_one_network(found: dict[str, Any]) -> None:
    """Each is met at the address that it has, as soon as it answers."""
    guests = [found["original"], *found["copies"]]
    for tap, (mac, _, met) in enumerate(guests):
        assert mac == met == mac_at(found, tap)
    assert len({address for _, address, _ in guests}) == len(TAPS)
    assert found["again"] == found["original"]


def test_the_connections_of_the_one_that_was_frozen_go_on(found: dict[str, Any]) -> None:
    """Its copies have them, too, and say nothing in them."""
    assert found["before"] == found["still"] == mac_at(found, 0)


def test_copies_by_systemd_networkd_are_two(found: dict[str, Any]) -> None:
    mac, address, met = found["copy"]
    assert mac == met == mac_at(found, 2)
    assert found["networkd"][0] == mac_at(found, 1)
    assert address not in (found["networkd"][1], found["original"][1])
    assert found["last"] == found["networkd"]


def test_no_copy_gives_back_the_lease_of_another(found: dict[str, Any]) -> None:
    """One does so once: that of its own, of which ifupdown lets go for systemd-networkd."""
    released = [line for line in found["log"].splitlines() if "DHCPRELEASE" in line]
    assert len(released) == 1
    assert mac_at(found, 1) in released[0]


def test_what_can_not_be_is_told_in_a_line_each(found: dict[str, Any]) -> None:
    assert found["busy"] == 2
    busy, alone = found["told"].splitlines()
    assert busy == f"vestige: --net tap:{TAPS[0]}: in use by another program; end that one first"
    mac, address = found["alone"]
    assert address == "none"
    assert alone == (
        f"vestige: the guest is not told apart from others of its snapshot: eth0 has MAC {mac},"
        " and no address 120 s later: no DHCP server answers, or nothing sets it up"
    )


def test_a_mac_that_is_kept_goes_with_its_address(found: dict[str, Any]) -> None:
    assert found["kept"] == found["original"][:2], f"on {ALONE}, where nobody gives out any"
