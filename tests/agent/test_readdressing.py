"""What the shell of a guest does whose network interface is to have another MAC.

With files and programs in the place of the guest's, which note what becomes of them.
"""

import re
import subprocess
from pathlib import Path

import pytest

from vestige.agent import readdressing

OLD, NEW, OWN = "52:54:00:00:00:01", "52:54:00:00:00:02", "02:00:00:00:00:03"
# Each by its name: what it does besides noting its words, and what of the driver's was written.
PROGRAMS = {
    "ip": '[ "$1" = link ] && cat "$place/link" || [ ! -e "$place/lost" ] && cat "$place/address"',
    "ifdown": ":",
    "ifup": 'rm -f "$place/lost"',
    "ifquery": ":",
    "udevadm": ":",
    "sleep": 'echo 221.00 100.00 > "$place/proc/uptime"',
    "systemctl": '[ "$1" != is-active ] || [ -e "$place/networkd" ]',
    "systemd-run": 'shift 2; "$@"',
}
NOTED = ("ifdown", "ifup", "udevadm", "try-restart", "systemd-run")


class Guest:
    """Has one interface, eth0 of virtio1, whose driver found it with OLD."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.driver = folder / "sys/bus/virtio/drivers/virtio_net"
        self.leases = folder / "var/lib/dhcp/dhclient.eth0.leases"
        for each in (
            self.driver / "virtio1/net/eth0/address",
            folder / "sys/class/net/eth0/address",
            self.leases,
            folder / "run/systemd/system/none",
            folder / "programs/none",
        ):
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_text(f"{OLD}\n")
        (folder / "proc").mkdir()
        (folder / "proc/uptime").write_text("100.99 70.00\n")
        (folder / "link").write_text(f"    link/ether {OLD} brd ff:ff:ff:ff:ff:ff\n")
        (folder / "address").write_text("    inet 10.9.0.10/24 scope global eth0\n")
        for name in ("unbind", "bind", "noted"):
            (folder / name).touch()
            (self.driver / name).touch()
        for name, does in PROGRAMS.items():
            program = folder / "programs" / name
            program.write_text(
                f'#!/bin/sh\nplace={folder}\necho "{name} $*; unbound:'
                f' $(cat {self.driver}/unbind); bound: $(cat {self.driver}/bind)"'
                f" >> {folder}/noted\n{does}\n"
            )
            program.chmod(0o755)

    def readdress(self, mac: str) -> tuple[int, str]:
        """Its exit status, and its errors."""
        script = re.sub(r"/(?=(sys|run|var|proc)/)", f"{self.folder}/", readdressing.SCRIPT)
        done = subprocess.run(
            ["/bin/sh", "-c", f'{script}readdress "$1"', "-", mac],
            env={"PATH": f"{self.folder}/programs:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    @property
    def noted(self) -> list[str]:
        """What was done, in order, and what was written to the driver's files by then."""
        lines = (self.folder / "noted").read_text().splitlines()
        return [line for line in lines if any(word in line.split(";")[0] for word in NOTED)]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_where_the_mac_is_the_same_nothing_is_done(guest: Guest) -> None:
    assert guest.readdress(OLD) == (0, "")
    assert guest.noted == []
    assert guest.leases.exists()


def test_a_mac_that_the_guest_has_given_itself_is_its_own_affair(guest: Guest) -> None:
    (guest.folder / "link").write_text(f"    link/ether {OWN} brd ff:ff permaddr {OLD}\n")
    (guest.folder / "sys/class/net/eth0/address").write_text(f"{OWN}\n")
    assert guest.readdress(OLD) == (0, "")
    assert guest.noted == []
    assert guest.readdress(NEW) == (0, "")
    assert guest.noted != []


def test_the_device_is_found_anew_and_no_lease_of_before_is_given_back_or_asked_for(
    guest: Guest,
) -> None:
    """The client is stopped only while there is no interface; it has forgotten its lease then."""
    assert guest.readdress(NEW) == (0, "")
    assert guest.noted == [
        "ifdown --force eth0; unbound: virtio1; bound: ",
        "udevadm settle; unbound: virtio1; bound: virtio1",
        "systemd-run --scope --quiet ifup --allow=auto eth0; unbound: virtio1; bound: virtio1",
        "ifup --allow=auto eth0; unbound: virtio1; bound: virtio1",
    ]
    assert not guest.leases.exists()
    assert not (guest.folder / "run/systemd/networkd.conf.d").exists()


def test_networkd_names_itself_by_the_mac_from_then_on(guest: Guest) -> None:
    (guest.folder / "networkd").touch()
    restart = "systemctl try-restart systemd-networkd; unbound: virtio1; bound: "
    assert guest.readdress(NEW) == (0, "")
    assert restart in guest.noted
    told = (guest.folder / "run/systemd/networkd.conf.d/vestige.conf").read_text()
    assert told == "[DHCPv4]\nDUIDType=link-layer\n[DHCPv6]\nDUIDType=link-layer\n"
    assert guest.readdress(NEW) == (0, "")
    assert guest.noted.count(restart) == 1


def test_an_address_that_does_not_come_is_told(guest: Guest) -> None:
    never = guest.folder / "programs/udevadm"
    never.write_text(f"#!/bin/sh\ntouch {guest.folder}/lost\n")
    (guest.folder / "programs/ifup").write_text("#!/bin/sh\n")
    problem = "no address 120 s later: no DHCP server answers, or nothing sets it up"
    assert guest.readdress(NEW) == (1, f"eth0 has MAC {NEW}, and {problem}\n")


def test_an_interface_without_an_address_is_not_waited_for(guest: Guest) -> None:
    (guest.folder / "address").write_text("")
    assert guest.readdress(NEW) == (0, "")
    assert any(line.startswith("ifup") for line in guest.noted)


@pytest.mark.parametrize(("name", "problem"), [("unbind", "let the device go"), ("bind", "again")])
def test_a_driver_that_does_not_follow_is_told(guest: Guest, name: str, problem: str) -> None:
    (guest.driver / name).unlink()
    (guest.driver / name).mkdir()
    status, told = guest.readdress(NEW)
    assert status == 1
    assert problem in told
    assert told.count("\n") == 1


def test_a_guest_without_such_a_driver_has_nothing_to_do(guest: Guest) -> None:
    guest.driver.rename(guest.folder / "other")
    assert guest.readdress(NEW) == (0, "")
    assert guest.noted == []
