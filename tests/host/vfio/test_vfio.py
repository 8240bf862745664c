"""NVMe controllers by VFIO: every refusal and its words, the BAR's pages, and the real thing."""

import ctypes
import errno
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import compiling
from tests.host import harness
from tests.host.vfio import payload
from vestige import abi
from vestige.cli import doctor, main
from vestige.errors import UsageError
from vestige.host import options
from vestige.host.loop import runloop
from vestige.host.vfio import api as vfio
from vestige.host.vfio import bar, device, sysfs
from vestige.host.vfio.bar import Msix
from vestige.host.vfio.sysfs import NVME_CLASS, KernelPaths
from vestige.softhost import SoftHost

NVME, OTHER, NETWORK = "0000:01:00.0", "0000:02:00.0", "0000:01:00.1"


class Machine:
    """A machine's sysfs and /dev/vfio, made of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = KernelPaths(str(folder), str(folder / "nodes"), str(folder / "mounts"))
        (folder / "nodes").mkdir()
        (folder / "bus/pci/devices").mkdir(parents=True)
        (folder / "mounts").write_text("proc /proc proc rw 0 0\n")
        self.node("vfio")

    def node(self, name: str) -> Path:
        path = self.folder / "nodes" / name
        path.touch()
        return path

    def device(
        self,
        address: str,
        device_class: str = NVME_CLASS,
        driver: str | None = "vfio-pci",
        group: str | None = "7",
    ) -> Path:
        path = self.folder / "bus/pci/devices" / address
        path.mkdir()
        (path / "class").write_text(f"{device_class}\n")
        if driver is not None:
            (path / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")
        if group is not None:
            members = self.folder / "kernel/iommu_groups" / group / "devices"
            members.mkdir(parents=True, exist_ok=True)
            (members / address).symlink_to(path)
            (path / "iommu_group").symlink_to(members.parent)
        return path

    def refusal(self, address: str = NVME) -> str:
        with pytest.raises(UsageError) as error:
            sysfs.check(address, self.paths)
        assert "\n" not in str(error.value)
        return str(error.value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# ---- the option ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ("vfio:01:00.0", "0000:01:00.0"),
        ("vfio:0000:01:00.0", "0000:01:00.0"),
        ("vfio:10000:E1:1f.7", "10000:e1:1f.7"),
    ],
)
def test_an_address_is_read_as_lspci_shows_it(words: str, address: str) -> None:
    disk = options.parse_disk(f"{words},bus=ide,readonly")
    assert (disk.controller, disk.bus, disk.read_only) == (address, "ide", True)


@pytest.mark.parametrize(
    "words", ["", "1:0.0", "01:00", "01:00.8", "01:20.0", "0000:01:00.0:1", "../x", "01:00.0 "]
)
def test_what_is_no_address_is_told(words: str) -> None:
    with pytest.raises(UsageError, match=r"is not a PCI address; give vfio:BUS:DEVICE.FUNCTION"):
        options.parse_disk(f"vfio:{words}")


def test_a_file_of_such_a_name_is_a_file() -> None:
    assert options.parse_disk("./vfio:01:00.0").controller is None


def test_a_controller_is_one_drive() -> None:
    disk = options.parse_disk("vfio:01:00.0")
    with pytest.raises(UsageError, match=r"--disk vfio:0000:01:00.0: given twice"):
        options.check(options.RunOptions("kernel", disks=(disk, disk)))


def test_the_software_host_says_that_it_has_no_such_controller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["run", "--kernel", "k", "--accel", "soft", "--disk", "vfio:01:00.0"]
    assert main.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the software host can't reach this machine's controllers" in line
    assert "vestige softhost --nvme IMAGE -- vestige run --disk vfio:00:10.0" in line


# ---- what sysfs tells --------------------------------------------------------------------------


def test_a_controller_that_can_be_had_has_no_problem(machine: Machine) -> None:
    machine.device(NVME)
    machine.node("7")
    assert sysfs.check(NVME, machine.paths) == "7"
    assert sysfs.controllers(machine.paths) == [NVME]


def test_an_address_without_a_device(machine: Machine) -> None:
    assert machine.refusal() == (
        f"{NVME}: no such PCI device; this machine has no NVMe controller (`lspci -nn` lists its"
        " devices)"
    )
    machine.device(OTHER)
    assert machine.refusal().endswith(f"this machine's NVMe controllers: {OTHER}")


def test_a_device_that_is_no_nvme_controller(machine: Machine) -> None:
    machine.device(NETWORK, "0x020000")
    machine.device(NVME)
    assert machine.refusal(NETWORK) == (
        f"{NETWORK}: not an NVMe controller: class 0x020000, not 0x010802; this machine's NVMe"
        f" controllers: {NVME}"
    )


def test_no_iommu(machine: Machine) -> None:
    machine.device(NVME, group=None)
    assert machine.refusal() == (
        f"{NVME}: no IOMMU stands between it and this machine's memory; switch VT-d or AMD-Vi on"
        " in the firmware, and boot Linux with intel_iommu=on (Intel; AMD needs no option)"
    )


def test_vfios_groups_without_an_iommu_are_none(machine: Machine) -> None:
    machine.device(NVME)
    machine.node("7")
    name = machine.folder / "kernel/iommu_groups/7/name"
    name.write_text("vfio-noiommu\n")
    assert "no IOMMU stands between" in machine.refusal()
    name.write_text("something else\n")
    assert sysfs.check(NVME, machine.paths) == "7"


def test_another_driver_and_the_commands_that_change_it(machine: Machine) -> None:
    machine.device(NVME, driver="nvme")
    path = f"/sys/bus/pci/devices/{NVME}"
    assert machine.refusal() == (
        f"{NVME}: its driver is nvme, not vfio-pci; as root: modprobe vfio-pci"
        f" && echo vfio-pci > {path}/driver_override && echo {NVME} > {path}/driver/unbind"
        f" && echo {NVME} > /sys/bus/pci/drivers_probe"
    )


def test_no_driver_at_all(machine: Machine) -> None:
    machine.device(NVME, driver=None)
    refusal = machine.refusal()
    assert f"{NVME}: not bound to vfio-pci; as root: modprobe vfio-pci" in refusal
    assert "unbind" not in refusal


@pytest.mark.parametrize("name", ["nvme0n1", "nvme0c0n1", "nvme0c12n1"])
def test_a_controller_with_a_mounted_file_system_is_not_to_be_unbound(
    machine: Machine, name: str
) -> None:
    """Whether or not the namespace is one to which there may be several paths."""
    (machine.device(NVME, driver="nvme") / "nvme/nvme0" / name).mkdir(parents=True)
    (machine.folder / "mounts").write_text(
        "/dev/nvme1n1p1 /other ext4 rw 0 0\n/dev/nvme0n11 /else ext4 rw 0 0\n"
        "/dev/nvme0n1p2 /home ext4 rw 0 0\n"
    )
    refusal = machine.refusal()
    assert f"{NVME}: in use by this machine: /dev/nvme0n1p2 on /home; unmount it" in refusal
    assert "driver_override" not in refusal


def test_a_group_that_is_not_viable_and_who_else_is_in_it(machine: Machine) -> None:
    machine.device(NVME)
    machine.device(NETWORK, "0x020000", driver="e1000e")
    machine.device(OTHER, driver="nvme")
    assert machine.refusal() == (
        f"{NVME}: IOMMU group 7 is not viable: also in it and in use: {NETWORK} (e1000e),"
        f" {OTHER} (nvme); give those to vfio-pci too, or put the controller into another slot"
    )


@pytest.mark.parametrize(
    ("device_class", "driver"),
    [("0x020000", "vfio-pci"), ("0x020000", None), ("0x060400", "pcieport")],
)
def test_neighbours_that_do_no_harm(
    machine: Machine, device_class: str, driver: str | None
) -> None:
    machine.device(NVME)
    machine.device(NETWORK, device_class, driver=driver)
    machine.node("7")
    assert sysfs.check(NVME, machine.paths) == "7"


def test_a_group_without_its_node(machine: Machine) -> None:
    machine.device(NVME)
    assert f"there is no {machine.paths.nodes}/7; as root: modprobe vfio-pci" in machine.refusal()


@pytest.mark.parametrize("name", ["7", "vfio"])
def test_no_permission_on_a_node(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    machine.device(NVME)
    node = str(machine.node("7").with_name(name))
    monkeypatch.setattr(os, "access", lambda path, _mode: path != node)
    assert machine.refusal().startswith(f"{NVME}: no permission on {node}; as root: ch")


# ---- what the kernel answers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.EBUSY, f"{NVME}: in use by another run; end that one first"),
        (errno.EACCES, f"{NVME}: no permission on /dev/vfio/7; as root: chown YOUR-USER"),
        (errno.ENODEV, f"{NVME}: /dev/vfio/7: No such device; `vestige doctor` says"),
    ],
)
def test_a_group_that_does_not_open(error: int, words: str) -> None:
    failure = OSError(error, os.strerror(error))
    assert str(sysfs.not_opened(NVME, "/dev/vfio/7", failure)).startswith(words)


def test_a_node_that_is_not_vfios_is_told_by_the_request_that_failed(machine: Machine) -> None:
    machine.device(NVME)
    machine.node("7")
    container = device.Container(machine.paths.nodes)
    with pytest.raises(UsageError, match=f"{NVME}: VFIO_GROUP_GET_STATUS: Inappropriate ioctl"):
        device.Controller(NVME, "7", container, abi.BAR_STRIDE)
    container.close()


def test_memory_that_may_not_be_locked_is_told_with_the_limit(
    monkeypatch: pytest.MonkeyPatch, machine: Machine
) -> None:
    def refuse(_descriptor: int, _request: int, _argument: object) -> int:
        raise OSError(error, os.strerror(error), "VFIO_IOMMU_MAP_DMA")

    container = device.Container(machine.paths.nodes)
    monkeypatch.setattr(vfio, "call", refuse)
    error = errno.ENOMEM
    with pytest.raises(UsageError, match=r"512 MiB at 0x0 can't be given .* \(ulimit -l\)"):
        container.map(0, 512 << 20, 0)
    error = errno.EINVAL
    with pytest.raises(UsageError, match=r"1 MiB at 0xfee00000 .* does the IOMMU reserve that"):
        container.map(0xFEE0_0000, 1 << 20, 0)
    container.close()


# ---- which pages of BAR 0 --------------------------------------------------------------------


def config_with(*capabilities: tuple[int, bytes], status: int = 0x10) -> bytes:
    """Configuration space whose chain holds these (number, body)."""
    config = bytearray(256)
    config[6] = status
    place, link = 0x40, 0x34
    for number, body in capabilities:
        config[link] = place
        config[place] = number
        config[place + 2 : place + 2 + len(body)] = body
        link, place = place + 1, place + 16
    return bytes(config)


def words(*numbers: tuple[int, int]) -> bytes:
    return b"".join(number.to_bytes(size, "little") for number, size in numbers)


def test_the_msix_capability_is_found_behind_others() -> None:
    body = words((0x8000 | 64, 2), (0x3000, 4), (0x4001, 4))
    assert bar.msix_of(config_with((1, b""), (0x11, body))) == Msix(
        65, (0, 0x3000, 65 * 16), (1, 0x4000, 16)
    )


@pytest.mark.parametrize(
    "config",
    [config_with((1, b""), (5, b"")), config_with((0x11, bytes(10)), status=0), bytes(256)],
)
def test_a_device_may_have_none(config: bytes) -> None:
    assert bar.msix_of(config) is None


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    config = bytearray(config_with((1, b""), (5, b"")))
    config[0x51] = 0x40
    assert bar.msix_of(bytes(config)) is None


@pytest.mark.parametrize(
    ("table", "pending", "areas", "expected"),
    [
        ((0, 0x3000, 16), (0, 0x2000, 8), None, 0x2000),  # a Samsung
        ((0, 0x2000, 16), (0, 0x3000, 8), None, 0x2000),
        ((0, 0x2040, 16), (0, 0x3000, 8), None, 0x2000),
        ((4, 0, 16), (4, 0x1000, 8), None, 0x4000),
        ((0, 0x3000, 16), (4, 0, 8), [(0, 0x2000), (0x3000, 0x1000)], 0x2000),
        ((0, 0x3000, 16), (4, 0, 8), [(0, 0x4000)], 0x3000),
    ],
)
def test_pages_before_the_msix_structures_are_mapped(
    table: tuple[int, int, int],
    pending: tuple[int, int, int],
    areas: list[tuple[int, int]] | None,
    expected: int,
) -> None:
    assert bar.mappable(0x4000, Msix(1, table, pending), areas, abi.BAR_STRIDE) == expected


def test_no_more_than_the_monitors_window_is_mapped() -> None:
    elsewhere = Msix(1, (4, 0, 16), (4, 0x1000, 8))
    assert bar.mappable(64 << 20, elsewhere, None, abi.BAR_STRIDE) == abi.BAR_STRIDE


@pytest.mark.parametrize(
    ("table", "areas"),
    [((0, 0x1800, 16), None), ((0, 0x800, 16), None), ((4, 0, 16), [(0x1000, 0x3000)])],
)
def test_registers_that_share_a_page_with_the_table_are_refused(
    table: tuple[int, int, int], areas: list[tuple[int, int]] | None
) -> None:
    with pytest.raises(UsageError, match="its registers share pages with its MSI-X table"):
        bar.mappable(0x4000, Msix(1, table, (4, 0, 8)), areas, abi.BAR_STRIDE)


def region_with(*capabilities: tuple[int, bytes]) -> vfio.RegionInfo:
    region = vfio.sized(vfio.RegionInfo(flags=vfio.Region.CAPABILITIES))
    place, start = 32, ctypes.addressof(region)
    region.capabilities = place if capabilities else 0
    for index, (number, body) in enumerate(capabilities):
        following = place + 8 + len(body) if index + 1 < len(capabilities) else 0
        data = words((number, 2), (1, 2), (following, 4)) + body
        ctypes.memmove(start + place, data, len(data))
        place = following
    return region


def test_the_areas_that_can_be_mapped_are_read_from_the_chain() -> None:
    areas = words((2, 4), (0, 4), (0, 8), (0x2000, 8), (0x3000, 8), (0x1000, 8))
    region = region_with((3, b""), (1, areas))
    assert device.areas_of(region) == [(0, 0x2000), (0x3000, 0x1000)]
    assert device.areas_of(region_with((3, b""))) is None
    assert device.areas_of(vfio.sized(vfio.RegionInfo())) is None


def test_a_count_of_areas_beyond_the_answer_is_cut() -> None:
    region = region_with((1, words((0xFFFF_FFFF, 4), (0, 4), (0, 8), (0x2000, 8))))
    areas = device.areas_of(region)
    assert areas is not None
    assert areas[0] == (0, 0x2000)
    assert len(areas) < 4096 // 16


# ---- the doctor ------------------------------------------------------------------------------


def test_the_doctor_lists_controllers_and_what_is_missing(machine: Machine) -> None:
    machine.device(NVME)
    machine.node("7")
    machine.device(OTHER, driver="nvme", group="8")
    good, bad = doctor.nvme_controllers(machine.paths)
    assert good.well
    assert good.found == (
        f"{NVME}: IOMMU group 7, driver vfio-pci: a guest can have it: --disk vfio:{NVME}"
    )
    assert not bad.well
    assert "IOMMU group 8, driver nvme: its driver is nvme, not vfio-pci" in bad.found
    assert bad.cure.startswith("as root: modprobe vfio-pci &&")


def test_a_machine_without_controllers_is_well(machine: Machine) -> None:
    (finding,) = doctor.nvme_controllers(machine.paths)
    assert finding.well


# ---- the real thing, in a software host with an IOMMU --------------------------------------------


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What vfio_inside found there."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("needs qemu-system-x86_64")
    folder = tmp_path_factory.mktemp("vfio")
    monitor = [payload.vcpu_main, payload.worker_main]
    images = {
        "monitor": compiling.image(monitor, base=abi.IMAGE, runtime="monitor"),
        "guest": compiling.image([payload.guest_main], base=harness.GUEST, runtime="kernel"),
        "run-loop": compiling.image([runloop.run], base=None, runtime="process"),
    }
    for name, image in images.items():
        image.save(str(folder / name))
    disk = folder / "disk.img"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    with SoftHost(nvme=[disk]) as host:
        arguments = [folder / name for name in images]
        done = host.capture(
            [sys.executable, "-m", "tests.host.vfio.inside", *arguments, host.nvme_addresses[0]],
            timeout=120,
        )
    assert done.status == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.softhost
class TestInside:
    """One run of vfio_inside, looked at from all sides."""

    def test_the_monitor_drives_the_controller(self, inside: dict[str, Any]) -> None:
        assert inside["problem"] is None
        assert inside["status"] == 0
        assert inside["bar"] == [abi.BARS, 0x2000]
        version, *identity = inside["values"][:9]
        assert version == 0x1_0400
        text = b"".join(word.to_bytes(8, "little") for word in identity)
        assert text[4:24].split() == [b"nvme0"]
        assert text[24:].startswith(b"QEMU NVMe Ctrl")

    def test_each_completion_wakes_the_worker_without_user_space(
        self, inside: dict[str, Any]
    ) -> None:
        assert inside["values"][9] == inside["interrupts"] == 2
        assert inside["worker"]["returns_to_user_space"] == 0

    def test_the_controller_does_not_reach_the_monitors_own_memory(
        self, inside: dict[str, Any]
    ) -> None:
        assert not inside["overreached"]

    def test_a_second_run_is_refused(self, inside: dict[str, Any]) -> None:
        assert inside["busy"].endswith(": in use by another run; end that one first")
        assert "not an NVMe controller: class 0x010601" in inside["one good, one bad"]

    def test_it_can_not_master_the_bus_afterwards(self, inside: dict[str, Any]) -> None:
        assert not inside["after"]["command"] & device.COMMAND_MASTER
        assert inside["after"]["open"] & device.COMMAND_MASTER

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root unbinds drivers")
    def test_the_printed_commands_bind_it(self, inside: dict[str, Any]) -> None:
        assert inside["unbound"][0] == "not bound to vfio-pci"
        assert inside["bound again"] is None
