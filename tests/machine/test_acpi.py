"""The ACPI tables: found as a guest finds them, and compiled back by ACPICA's own compiler."""

import re
import struct
from itertools import product
from pathlib import Path

import pytest

from tests.machine.iasl import HEADER, check_table, iasl
from vestige import abi
from vestige.claims import OWN_TABLES
from vestige.devices import DEVICES, STANDARD
from vestige.errors import UsageError
from vestige.machine import acpi
from vestige.machine import config as machine_config
from vestige.machine.acpi.dsdt import LINKS
from vestige.machine.acpi.tables import BootFlags, FixedFlags
from vestige.machine.config import MachineConfig
from vestige.machine.memory_map import MemoryMap
from vestige.place import (
    OWN_NODES,
    MemoryRange,
    Node,
    Place,
    Ports,
    Table,
    Wire,
    standard,
)

MIB, GIB = abi.MIB, abi.GIB
WITH_HPET = STANDARD | {"hpet"}


def tables(config: MachineConfig) -> dict[str, bytes]:
    """Every table by its signature, reached from the RSDP by the addresses they give."""
    area = acpi.build(config)

    def at(address: int) -> bytes:
        start = address - abi.ACPI_TABLES
        (length,) = struct.unpack_from("<I", area, start + 4)
        assert start + length <= len(area)
        return area[start : start + length]

    _, _, _, revision, rsdt_at, length, xsdt_at = struct.unpack_from("<8sB6sBIIQ", area)
    assert (revision, length) == (2, 36)
    found = {"RSDP": area[:length]}
    rsdt, xsdt = at(rsdt_at), at(xsdt_at)
    addresses = struct.unpack(f"<{(len(xsdt) - HEADER) // 8}Q", xsdt[HEADER:])
    assert struct.unpack(f"<{(len(rsdt) - HEADER) // 4}I", rsdt[HEADER:]) == addresses
    fadt = next(at(address) for address in addresses if at(address)[:4] == b"FACP")
    (dsdt_at,) = struct.unpack_from("<Q", fadt, 140)
    assert struct.unpack_from("<I", fadt, 40) == (dsdt_at,)
    for table in (rsdt, xsdt, at(dsdt_at), *map(at, addresses)):
        found[table[:4].decode()] = table
    return found


def configurations() -> list[MachineConfig]:
    return [
        MachineConfig(cpus=cpus, devices=devices, memory=memory)
        for cpus, devices, memory in product(
            (1, 32),
            (STANDARD, WITH_HPET, STANDARD - {"uart"}, WITH_HPET - {"ioapic"}),
            (64 * MIB, 6 * GIB),
        )
    ] + [MachineConfig(cpus=32, board=abi.Board.PC)]


def described(config: MachineConfig) -> str:
    devices = "-".join(place.field for place in config.devices)
    return f"{config.cpus}-{config.memory // MIB}M-{devices}"


every_configuration = pytest.mark.parametrize("config", configurations(), ids=described)


@every_configuration
def test_iasl_compiles_every_table_back_to_the_same_bytes(
    config: MachineConfig, tmp_path: Path
) -> None:
    for name, table in tables(config).items():
        if name == "RSDP":
            continue  # iasl knows tables only by their common header
        check_table(tmp_path, name, table)


def test_the_machine_s_own_names_are_those_that_no_device_may_have() -> None:
    config = MachineConfig(cpus=32, devices=WITH_HPET)
    dsdt = tables(config)["DSDT"]
    names = {name.decode() for name in re.findall(rb"\x5b\x82[\x00-\xff]{1,4}?([A-Z]\w{3})", dsdt)}
    cpus = {f"C{number:03X}" for number in range(32)}
    nodes = {node.name for place in config.devices for node in place.nodes}
    assert names - cpus - nodes == set(OWN_NODES)
    others = {place.table.signature.decode() for place in config.devices if place.table is not None}
    own = {signature.decode() for signature in OWN_TABLES}
    assert set(tables(config)) - {"RSDP"} - others | {"FACS"} == own


TWIN = Place(
    "twin",
    "twin",
    ports=(Ports(0x2E8, 8), Ports(0x2F8, 1)),
    memory=MemoryRange(0xFEB0_0000, 0x1000),
    wires=(Wire("line", 5), Wire("other", 6)),
    node=Node("COM9", "PNP0501"),
    table=Table(b"TWIN", 3, b"its body"),
)


@pytest.fixture
def with_twin(monkeypatch: pytest.MonkeyPatch) -> MachineConfig:
    """A machine with another device."""
    monkeypatch.setattr(machine_config, "ROWS", (*DEVICES, TWIN))
    return MachineConfig(devices=STANDARD | {"twin"})


def test_a_device_s_own_table_is_there(with_twin: MachineConfig) -> None:
    twin = tables(with_twin)["TWIN"]
    assert (twin[8], twin[HEADER:]) == (3, b"its body")
    assert sum(twin) & 0xFF == 0


@pytest.mark.usefixtures("templates")
def test_a_node_has_all_that_its_place_claims(with_twin: MachineConfig, tmp_path: Path) -> None:
    text = source(with_twin, tmp_path)
    node = text[text.index("Device (COM9)") :]
    assert 'Name (_HID, EisaId ("PNP0501")' in node
    assert "Name (_UID, One)" in node
    for claim in (
        "IO (Decode16, 0x02E8, 0x02E8, 0x01, 0x08, ",
        "IO (Decode16, 0x02F8, 0x02F8, 0x01, 0x01, ",
        "Memory32Fixed (ReadWrite, 0xFEB00000, 0x00001000, ",
        "{ 0x00000005, }",
        "{ 0x00000006, }",
    ):
        assert claim in node


def test_a_device_that_no_machine_has_is_refused() -> None:
    fields = ", ".join(place.field for place in DEVICES)
    with pytest.raises(UsageError, match=f"no device 'piano': there are {fields}"):
        MachineConfig(devices=["uart", "piano"])


@every_configuration
def test_every_checksum_is_right(config: MachineConfig) -> None:
    for name, table in tables(config).items():
        assert sum(table) & 0xFF == 0, name
        if name == "RSDP":
            assert sum(table[:20]) & 0xFF == 0


def test_the_rsdp_is_where_a_scan_of_the_bios_area_finds_it() -> None:
    assert acpi.build(MachineConfig())[:8] == b"RSD PTR "
    assert abi.ACPI_TABLES % 16 == 0
    assert 0xE0000 <= abi.ACPI_TABLES < 0x100000


def test_the_fadt_says_what_hardware_there_is_not() -> None:
    fadt = tables(MachineConfig())["FACP"]
    (boot_flags,) = struct.unpack_from("<H", fadt, 109)
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert len(fadt) == 276
    assert fadt[8] == 6
    assert boot_flags == BootFlags.VGA_NOT_PRESENT | BootFlags.CMOS_RTC_NOT_PRESENT
    assert flags & FixedFlags.HW_REDUCED_ACPI
    assert flags & FixedFlags.RESET_REG_SUP
    assert fadt[48:108] == bytes(60)  # neither SMI, PM registers nor timers


@pytest.mark.parametrize("has_screen", [True, False])
def test_the_fadt_of_a_pc_says_whether_there_is_a_vga(has_screen: bool) -> None:
    devices = standard(DEVICES, abi.Board.PC) - (set() if has_screen else {"vga"})
    fadt = tables(MachineConfig(board=abi.Board.PC, devices=devices))["FACP"]
    (boot_flags,) = struct.unpack_from("<H", fadt, 109)
    assert bool(boot_flags & BootFlags.VGA_NOT_PRESENT) != has_screen


def test_sleep_and_reset_registers_are_the_ports_of_the_abi() -> None:
    fadt = tables(MachineConfig())["FACP"]

    def port(address: int) -> bytes:
        return struct.pack("<BBBBQ", 1, 8, 0, 1, address)

    assert fadt[116:128] == port(abi.PORT_RESET)
    assert fadt[128] == abi.RESET_VALUE
    assert fadt[244:256] == port(abi.PORT_SLEEP_CONTROL)
    assert fadt[256:268] == port(abi.PORT_SLEEP_STATUS)


@pytest.mark.parametrize("cpus", [1, 32])
def test_the_madt_lists_each_cpu_and_no_8259(cpus: int) -> None:
    madt = tables(MachineConfig(cpus=cpus, devices=STANDARD - {"ioapic"}))["APIC"]
    local_apic, flags = struct.unpack_from("<II", madt, HEADER)
    assert (local_apic, flags) == (abi.LOCAL_APIC, 0)
    entries = list(struct.iter_unpack("<BBBBI", madt[HEADER + 8 :]))
    assert entries == [(0, 8, cpu, cpu, 1) for cpu in range(cpus)]


def test_the_madt_has_the_ioapic_when_there_is_one() -> None:
    madt = tables(MachineConfig())["APIC"]
    assert struct.unpack("<BBBBII", madt[-12:]) == (1, 12, 0, 0, abi.IOAPIC, 0)


def test_mcfg_covers_every_bus() -> None:
    mcfg = tables(MachineConfig())["MCFG"]
    entry = struct.unpack_from("<QHBB", mcfg, HEADER + 8)
    assert entry == (abi.ECAM, 0, 0, abi.ECAM_SIZE // MIB - 1)


def test_without_an_hpet_there_is_no_table_of_it() -> None:
    assert "HPET" not in tables(MachineConfig())


def test_the_hpet_table_says_where_it_is() -> None:
    hpet = tables(MachineConfig(devices=WITH_HPET))["HPET"]
    identity, space, bits, offset, _, address, number, tick, page = struct.unpack(
        "<IBBBBQBHB", hpet[HEADER:]
    )
    assert (identity, space, bits, offset) == (abi.HPET_IDENTITY, 0, 64, 0)
    assert (address, number, tick, page) == (abi.HPET, 0, 100, 0)


def test_with_an_hpet_acpi_has_its_fixed_hardware() -> None:
    """Without it Linux doesn't look at the HPET's table."""
    area = acpi.build(MachineConfig(devices=WITH_HPET))
    fadt = tables(MachineConfig(devices=WITH_HPET))["FACP"]
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert not flags & FixedFlags.HW_REDUCED_ACPI
    (facs,) = struct.unpack_from("<I", fadt, 36)
    assert facs % 64 == 0
    start = facs - abi.ACPI_TABLES
    assert struct.unpack_from("<4sI", area, start) == (b"FACS", 64)
    assert struct.unpack_from("<I", fadt, 56) == (abi.PORT_PM1_EVENT,)
    assert struct.unpack_from("<I", fadt, 64) == (abi.PORT_PM1_CONTROL,)
    assert struct.unpack_from("<BB", fadt, 88) == (4, 2)
    assert struct.unpack_from("<BBBBQ", fadt, 148) == (1, 32, 0, 2, abi.PORT_PM1_EVENT)
    assert struct.unpack_from("<BBBBQ", fadt, 172) == (1, 16, 0, 2, abi.PORT_PM1_CONTROL)


TEMPLATE = """DefinitionBlock ("", "DSDT", 2, "V", "V", 1) {
Name (_CRS, ResourceTemplate () { IO (Decode16, 1, 1, 1, 1) }) }"""


@pytest.fixture
def templates(tmp_path: Path) -> None:
    """For tests that read resource templates: iasl 20260408 shows even its own as bytes."""
    (tmp_path / "template.asl").write_text(TEMPLATE)
    iasl(tmp_path, "template.asl")
    iasl(tmp_path, "-d", "template.aml")
    if "ResourceTemplate" not in (tmp_path / "template.dsl").read_text():
        pytest.skip("needs an iasl that reads resource templates, as 20250404 does")


def source(config: MachineConfig, directory: Path) -> str:
    """The DSDT as iasl reads it, whitespace collapsed, comments gone."""
    (directory / "dsdt.dat").write_bytes(tables(config)["DSDT"])
    iasl(directory, "-d", "dsdt.dat")
    text = (directory / "dsdt.dsl").read_text()
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)


@pytest.mark.usefixtures("templates")
def test_the_pci_root_has_its_windows(tmp_path: Path) -> None:
    text = source(MachineConfig(memory=6 * GIB), tmp_path)
    layout = MemoryMap(6 * GIB)
    assert re.search(r"WordBusNumber \([^)]* 0x0000, 0x0000, 0x0000, 0x0001,", text)
    assert re.search(r"WordIO \([^)]* 0x0000, 0x0CF7, 0x0000, 0x0CF8,", text)
    assert re.search(r"WordIO \([^)]* 0x0D00, 0xFFFF, 0x0000, 0xF300,", text)
    assert re.search(r"DWordMemory \([^)]* 0xC0000000, 0xDFFFFFFF, 0x00000000, 0x20000000,", text)
    first, last = layout.window_64, layout.window_64 + layout.window_64_size - 1
    assert re.search(rf"QWordMemory \([^)]* 0x{first:016X}, 0x{last:016X},", text)


@pytest.mark.parametrize(
    ("memory", "first"),
    [(512 * MIB, 0x8000_0000), (2560 * MIB, 0xA000_0000), (6 * GIB, 0xC000_0000)],
)
@pytest.mark.usefixtures("templates")
def test_a_pc_s_window_begins_where_ovmf_gives_out_addresses(
    tmp_path: Path, memory: int, first: int
) -> None:
    text = source(MachineConfig(memory=memory, board=abi.Board.PC), tmp_path)
    assert re.search(rf"DWordMemory \([^)]* 0x{first:08X}, 0xFEBFFFFF,", text)


@pytest.mark.usefixtures("templates")
def test_ecam_is_reserved_by_the_motherboard(tmp_path: Path) -> None:
    text = source(MachineConfig(), tmp_path)
    board = text[text.index("Device (MBRD)") :]
    assert 'EisaId ("PNP0C02")' in board
    assert f"Memory32Fixed (ReadWrite, 0x{abi.ECAM:08X}, 0x{abi.ECAM_SIZE:08X}" in board


@pytest.mark.usefixtures("templates")
def test_links_declare_edge_triggered_active_high_lines(tmp_path: Path) -> None:
    text = source(MachineConfig(), tmp_path)
    for index, link in enumerate(LINKS):
        device = text[text.index(f"Device ({link})") :].split("Device (")[1]
        pin = f"0x{abi.PIN_PCI_INTA + index:08X}"
        line = rf"Interrupt \(ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, \) {{ {pin}"
        assert len(re.findall(line, device)) == 2  # possible and current


def test_every_device_s_inta_to_intd_go_through_links_a_to_d(tmp_path: Path) -> None:
    text = source(MachineConfig(), tmp_path)
    entry = r"Package \(0x04\) { (0x[0-9A-F]+), (\w+), \\_SB\.(LNK.),(?: ,)? Zero }"  # as 20260408
    numbers = {"Zero": 0, "One": 1, "0x02": 2, "0x03": 3}
    routes = [
        (int(address, 16), numbers[pin], link) for address, pin, link in re.findall(entry, text)
    ]
    assert routes == [
        (device << 16 | 0xFFFF, pin, LINKS[pin]) for device in range(32) for pin in range(4)
    ]


@pytest.mark.usefixtures("templates")
def test_the_uart_has_its_ports_and_its_pin(tmp_path: Path) -> None:
    text = source(MachineConfig(), tmp_path)
    uart = text[text.index("Device (COM1)") :]
    assert "IO (Decode16, 0x03F8, 0x03F8, 0x01, 0x08, )" in uart
    assert re.search(r"Interrupt \(ResourceConsumer, Edge, ActiveHigh, [^{]*{ 0x00000004", uart)


@pytest.mark.usefixtures("templates")
def test_pvpanic_has_its_port(tmp_path: Path) -> None:
    text = source(MachineConfig(), tmp_path)
    device = text[text.index("Device (PEVT)") :].split("Device (")[1]
    assert 'Name (_HID, "QEMU0001"' in device
    assert (
        f"IO (Decode16, 0x{abi.PORT_PVPANIC:04X}, 0x{abi.PORT_PVPANIC:04X}, 0x01, 0x01," in device
    )


def test_without_an_ioapic_nothing_claims_an_interrupt(tmp_path: Path) -> None:
    text = source(MachineConfig(devices=STANDARD - {"ioapic"}), tmp_path)
    assert "Device (COM1)" in text
    for word in ("Interrupt (", "_PRT", "PNP0C0F"):
        assert word not in text


def test_without_a_uart_none_is_described(tmp_path: Path) -> None:
    assert "COM1" not in source(MachineConfig(devices=STANDARD - {"uart"}), tmp_path)


def test_soft_off_has_the_abi_s_sleep_type(tmp_path: Path) -> None:
    text = source(MachineConfig(), tmp_path)
    kind = f"0x{abi.SLEEP_TYPE_S5:02X}"
    assert f"Name (\\_S5, Package (0x04) {{ {kind}, {kind}, Zero, Zero }})" in text


@pytest.mark.parametrize("cpus", [1, 32])
def test_each_cpu_is_a_processor_device_with_the_madt_s_uid(cpus: int, tmp_path: Path) -> None:
    text = source(MachineConfig(cpus=cpus), tmp_path)
    assert text.count('Name (_HID, "ACPI0007"') == cpus


# ---- a PC's -------------------------------------------------------------------------------------

A_PC = MachineConfig(board=abi.Board.PC)


@pytest.mark.parametrize(("uefi", "ports"), [(False, 0x600), (True, 0xB000)])
def test_a_pc_s_fadt_names_the_chipset_s_registers_and_no_smi(uefi: bool, ports: int) -> None:
    fadt = tables(MachineConfig(board=abi.Board.PC, uefi=uefi))["FACP"]
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert not flags & FixedFlags.HW_REDUCED_ACPI
    assert struct.unpack_from("<HIBBBB", fadt, 46) == (9, 0, 0, 0, 0, 0)  # SCI; no SMI_CMD
    assert struct.unpack_from("<IIIIIIII", fadt, 56) == (
        *(ports, 0, ports + 4, 0, 0, ports + 8, ports + 12, 0),  # PM1a event, control, timer, GPE0
    )
    assert struct.unpack_from("<BBBBB", fadt, 88) == (4, 2, 0, 4, 4)
    for offset, bits, port in ((148, 32, 0), (172, 16, 4), (208, 32, 8), (220, 32, 12)):
        assert struct.unpack_from("<BBBBQ", fadt, offset) == (1, bits, 0, 2, ports + port)
    assert struct.unpack_from("<BBBBQB", fadt, 116) == (1, 8, 0, 1, 0x64, 0xFE)
    assert fadt[244:268] == bytes(24)


def test_a_pc_has_its_sci_as_a_level_and_no_ecam() -> None:
    found = tables(A_PC)
    assert "MCFG" not in found
    overrides = struct.unpack("<BBBBIHBBBBIH", found["APIC"][-20:])
    assert overrides == (2, 10, 0, 0, 2, 0, 2, 10, 0, 9, 9, 0xD)


@pytest.mark.usefixtures("templates")
def test_a_pc_s_root_is_conventional_and_has_all_below_the_io_apic(tmp_path: Path) -> None:
    text = source(A_PC, tmp_path)
    root = text[text.index("Device (PCI0)") :]
    assert root.split("Name (_CRS")[0].count("PNP") == 1
    assert 'EisaId ("PNP0A03")' in root
    assert re.search(r"DWordMemory \([^)]* 0x80000000, 0xFEBFFFFF, 0x00000000, 0x7EC00000,", root)
    assert "_OSC" not in root


def test_a_pc_s_pins_go_around_through_links_that_set_the_piix3(tmp_path: Path) -> None:
    text = source(A_PC, tmp_path)
    entry = r"Package \(0x04\) { (0x[0-9A-F]+), (\w+), \\_SB\.(LNK.),(?: ,)? Zero }"
    numbers = {"Zero": 0, "One": 1, "0x02": 2, "0x03": 3}
    routes = {
        (int(address, 16) >> 16, numbers[pin]): link
        for address, pin, link in re.findall(entry, text)
    }
    assert len(routes) == 32 * 4
    assert [routes[slot, 0] for slot in range(1, 6)] == ["LNKA", "LNKB", "LNKC", "LNKD", "LNKA"]
    assert [routes[1, pin] for pin in range(4)] == ["LNKA", "LNKB", "LNKC", "LNKD"]
    assert "OperationRegion (PIRQ, PCI_Config, 0x60, 0x04)" in text
    for link, route in zip(LINKS, ("PRQA", "PRQB", "PRQC", "PRQD"), strict=True):
        device = text[text.index(f"Device ({link})") :].split("Device (")[1]
        assert device.count(f"PIIX.{route}") == 5


def test_a_pc_s_soft_off_has_the_chipset_s_sleep_type(tmp_path: Path) -> None:
    text = source(A_PC, tmp_path)
    assert "Name (\\_S5, Package (0x04) { Zero, Zero, Zero, Zero })" in text
