"""A complete Debian, by debootstrap: its image, and its login prompt on virtio devices alone."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.guests import debian, images, initramfs, kernels, network_host
from tests.guests.debian_inside import TIMEOUT
from tests.guests.store import ROOT
from vestige.host import images as monitor_images
from vestige.softhost import SoftHost

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(images.tool("debootstrap")).is_file(),
    reason="needs debootstrap, and root's rights for it",
)
# What makes a Debian one that a person can use and keep.
ESSENTIAL = ("apt", "bash", "dpkg", "ifupdown", "iproute2", "login", "systemd-sysv", "udev")


def test_the_image_holds_a_debian_that_is_installed_as_a_whole() -> None:
    disk = debian.disk()
    images.check_ext4(disk)
    status = images.read_file(disk, "/var/lib/dpkg/status").decode()
    states = {}
    for paragraph in status.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line)
        states[fields["Package"]] = fields["Status"]
    assert set(states.values()) == {"install ok installed"}
    assert set(ESSENTIAL) <= set(states)


def test_the_images_apt_has_the_machines_sources() -> None:
    sources = images.read_file(debian.disk(), "/etc/apt/sources.list").decode().splitlines()
    assert sources
    for line in sources:
        kind, site, _suite, _component = line.split()
        assert kind == "deb"
        assert not site.startswith("file:")
        assert "@" not in site


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What debian_inside found, and the disk that the guest left."""
    folder = tmp_path_factory.mktemp("debian")
    disk = images.copy(debian.disk(), folder / "disk.img")
    kernel, initrd = kernels.kernel("cloud").bzimage, initramfs.debian("cloud")
    monitor_images.ensure()
    with SoftHost(disks=[(disk, False)], network=True) as host:
        done = host.capture(
            [
                *(sys.executable, "-m", "tests.guests.debian_inside"),
                *(str(kernel), str(initrd), host.disk_names[0], str(folder)),
            ],
            timeout=TIMEOUT + 60,
            cwd=ROOT,
        )
    assert done.status == 0, done.stderr.decode()
    answer: dict[str, Any] = {**json.loads(done.stdout), "disk": disk}
    return answer


@pytest.mark.softhost
@pytest.mark.skipif(
    not all(map(shutil.which, ("qemu-system-x86_64", "passt"))),
    reason="needs qemu-system-x86_64 (software host) and passt",
)
class TestLogin:
    """One boot of it, in the software host."""

    def test_root_logs_in_on_the_virtio_console(self, guest: dict[str, Any]) -> None:
        found = guest["found"]
        issue = images.read_file(debian.disk(), "/etc/issue").decode().partition("\n")[0]
        greeting = issue.replace("\\n", "vestige").replace("\\l", "hvc0")
        assert greeting.startswith("Debian GNU/Linux ")
        assert greeting in found["before"]
        assert (found["user"], found["terminal"]) == ("root", "/dev/hvc0")

    def test_every_unit_of_the_system_is_up(self, guest: dict[str, Any]) -> None:
        assert guest["found"]["state"] == "running"

    def test_passt_gives_an_address_a_route_and_a_resolver(self, guest: dict[str, Any]) -> None:
        found = guest["found"]
        assert found["address"].split() == ["eth0", "UP", "10.0.2.15/24"]
        assert found["route"].startswith("default via 10.0.2.2 dev eth0")
        assert "nameserver" in found["resolver"]

    def test_a_download_arrives_whole(self, guest: dict[str, Any]) -> None:
        sent = hashlib.sha256(network_host.DATA).hexdigest()
        assert guest["found"]["digest"] == f"{sent}  -", guest["found"]

    def test_the_guest_powers_off_and_leaves_its_disk_sound(self, guest: dict[str, Any]) -> None:
        assert guest["status"] == 0, guest["errors"]
        images.check_ext4(guest["disk"])
        assert guest["failures"] == [0, 0, 0]
