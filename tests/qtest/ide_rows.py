"""Where our IDE and QEMU's differ: each row names what a sequence must leave out, and no more.

The same names, with the clause that decides each, are the rows of docs/devices/piix3-ide.md.
`matches` looks at an access about to happen; `example` is one that shows the difference.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.devices.piix3_ide.rig import BUS_MASTER, CONTROL, PRIMARY, SECONDARY
from tests.qtest.ide_pair import SECTORS, SHARED_RAM, Access, Pair
from vestige.abi import SECTOR
from vestige.monitor.devices.piix3_ide.bus_master import BusMaster
from vestige.monitor.devices.piix3_ide.channel import Channel, CommandProtocol
from vestige.monitor.devices.piix3_ide.drive import Drive
from vestige.monitor.devices.piix3_ide.spec import Command, Feature, Status

WIDE = {int(command) for command in Command if command.name.endswith("_EXT")}
WITH_SECTORS = {
    int(command)
    for command in Command
    if command.name.startswith(("READ", "WRITE", "SEEK")) and "NATIVE" not in command.name
}
DMA = {int(command) for command in Command if "DMA" in command.name}
DMA_PROTOCOLS = (CommandProtocol.DMA_IN, CommandProtocol.DMA_OUT)
MULTIPLE = {int(command) for command in Command if command.name.startswith(("READ_M", "WRITE_M"))}


class Row(NamedTuple):
    """One row of the table."""

    name: str
    matches: Callable[[Pair, Access], bool]
    example: Sequence[Access]


# ---- what an access is ------------------------------------------------------------------------


def channel_of(pair: Pair, access: Access) -> Channel:
    return pair.channel(access.channel or 0)


def drive_of(pair: Pair, access: Access) -> Drive:
    channel = channel_of(pair, access)
    return channel.drives[channel.selected]


def accepted_command(pair: Pair, access: Access) -> int | None:
    """The command code a drive is going to take with this access."""
    if not access.writes or access.register != 7:
        return None
    drive = drive_of(pair, access)
    if drive.status & (Status.BSY | Status.DRQ) or not drive.present:
        return None
    return access.value & 0xFF


# ---- the predicates ---------------------------------------------------------------------------


def half_a_doubleword(pair: Pair, access: Access) -> bool:
    if access.register != 0 or access.size != 4:
        return False
    channel = channel_of(pair, access)
    left = channel.end - channel.position
    count = {"read_string": access.value, "write_string": len(access.data) // 4}.get(access.kind, 1)
    moving = channel.protocol in (CommandProtocol.PIO_IN, CommandProtocol.PIO_OUT)
    return moving and left % 4 == 2 and 4 * count > left


def doubleword_register(_pair: Pair, access: Access) -> bool:
    return access.size == 4 and (access.register not in (None, 0) or access.is_control)


def bus_master_width(_pair: Pair, access: Access) -> bool:
    offset = access.bus_master_register
    if offset is None:
        return False
    if access.kind == "read" and offset in (1, 3):
        return True
    return access.size > 1 and (offset < 4 or offset + access.size > 8)


def no_such_address(pair: Pair, access: Access) -> bool:
    code = accepted_command(pair, access)
    if code not in WITH_SECTORS:
        return False
    drive = drive_of(pair, access)
    wide = code in WIDE
    count = 1 if code == Command.SEEK else drive.sector_count(wide)
    return drive.first_sector(wide) + count > SECTORS


def multiple_after_reset(pair: Pair, access: Access) -> bool:
    code = accepted_command(pair, access)
    return code in MULTIPLE and pair.was_reset(access.channel or 0)


def during_reset(pair: Pair, access: Access) -> bool:
    if access.channel is None or access.bus_master_register is not None:
        return False
    ends = access.is_control and access.writes and not access.value & 4
    return channel_of(pair, access).resetting != 0 and not ends


def interrupt_by_reset(_pair: Pair, access: Access) -> bool:
    return starts_reset(access) and access.value & 2 == 0


def absent_device(pair: Pair, access: Access) -> bool:
    if access.register is None or drive_of(pair, access).present:
        return False
    if access.kind == "read":
        return access.register != 7
    return access.register == 7 and access.value == Command.EXECUTE_DEVICE_DIAGNOSTIC


def diagnostic_on_both(pair: Pair, access: Access) -> bool:
    code = accepted_command(pair, access)
    return code == Command.EXECUTE_DEVICE_DIAGNOSTIC and access.channel == 0


def interrupt_of_unselected(pair: Pair, access: Access) -> bool:
    if not access.writes or access.register != 6:
        return False
    channel = channel_of(pair, access)
    pending = channel.drives[0].interrupt_pending or channel.drives[1].interrupt_pending
    return bool(pending) and (access.value >> 4 & 1) != channel.selected


def nien_with_interrupt(pair: Pair, access: Access) -> bool:
    if not access.writes or not access.is_control:
        return False
    channel = channel_of(pair, access)
    return bool((access.value ^ channel.control) & 2 and drive_of(pair, access).interrupt_pending)


def second_edge(pair: Pair, access: Access) -> bool:
    clears = access.writes and access.bus_master_register == 2 and access.value & 4
    return bool(clears) and channel_of(pair, access).line.level != 0


def device_parameters(pair: Pair, access: Access) -> bool:
    return accepted_command(pair, access) == Command.INITIALIZE_DEVICE_PARAMETERS


def standby(pair: Pair, access: Access) -> bool:
    code = accepted_command(pair, access)
    return code == Command.CHECK_POWER_MODE and bool(drive_of(pair, access).standby)


def sleep(pair: Pair, access: Access) -> bool:
    return accepted_command(pair, access) == Command.SLEEP


# DATA SET MANAGEMENT, CFA's writes, WRITE VERIFY, ATA-3's power codes, SMART, Security.
NOT_CLAIMED = {0x06, 0x38, 0x3C, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0xB0, 0xCD, 0xF5}


def command_not_claimed(pair: Pair, access: Access) -> bool:
    return accepted_command(pair, access) in NOT_CLAIMED


def feature_not_claimed(pair: Pair, access: Access) -> bool:
    if accepted_command(pair, access) != Command.SET_FEATURES:
        return False
    features = drive_of(pair, access).features
    return features in {0x05, 0x42, 0x67, 0x69, 0x85, 0x96, 0x9A, 0xC2}


def mode_not_claimed(pair: Pair, access: Access) -> bool:
    if accepted_command(pair, access) != Command.SET_FEATURES:
        return False
    drive = drive_of(pair, access)
    claimed = {0, 1, 8, 9, 10, 11, 12, 0x20, 0x21, 0x22, 0x40, 0x41, 0x42}
    taken_by_qemu = drive.count >> 3 in {0, 1, 2, 4, 8}
    unclaimed = drive.count not in claimed and taken_by_qemu
    return drive.features == Feature.SET_TRANSFER_MODE and unclaimed


def previous_error(pair: Pair, access: Access) -> bool:
    reads = access.kind == "read" and access.register == 1
    return reads and channel_of(pair, access).control & 0x80 != 0


def decode_enable(_pair: Pair, access: Access) -> bool:
    clears = access.kind == "write_config" and access.port in (0x40, 0x42)
    return clears and not access.value & 0x8000


class Run(NamedTuple):
    """What a DMA command is about to run with."""

    wanted: int  # bytes
    described: int  # by the rest of the table
    regions: list[tuple[int, int]]  # as many as it takes


def regions_of(pair: Pair, bus_master: BusMaster, wanted: int) -> Run:
    """Walk the rest of the table."""
    described, at, end = bus_master.left, bus_master.next, bool(bus_master.last)
    regions: list[tuple[int, int]] = []
    while not end and described < wanted and SHARED_RAM[0] <= at < SHARED_RAM[1]:
        address, word = (int.from_bytes(pair.rig.peek(at + i, 4), "little") for i in (0, 4))
        regions.append((address, (word & 0xFFFE) or 0x1_0000))
        described, at, end = described + regions[-1][1], at + 8, bool(word >> 31)
    return Run(wanted, described, regions)


def begins_dma(pair: Pair, access: Access) -> Run | None:
    """What a DMA command runs with, where this access lets one run."""
    if not access.writes or access.channel is None:
        return None
    channel = channel_of(pair, access)
    bus_master = BusMaster.from_buffer_copy(channel.bus_master)
    code = accepted_command(pair, access)
    if access.bus_master_register == 0 and channel.protocol in DMA_PROTOCOLS:
        bus_master.write(0, access.value & 0xFF)
        wanted = channel.remaining * SECTOR
    elif code in DMA:
        wanted = drive_of(pair, access).sector_count(code in WIDE) * SECTOR
    else:
        return None
    return regions_of(pair, bus_master, wanted) if bus_master.running() else None


def table_too_short(pair: Pair, access: Access) -> bool:
    run = begins_dma(pair, access)
    return run is not None and run.wanted > run.described


def table_too_long(pair: Pair, access: Access) -> bool:
    run = begins_dma(pair, access)
    return run is not None and len(run.regions) >= 512


def region_outside_ram(pair: Pair, access: Access) -> bool:
    run = begins_dma(pair, access)
    return run is not None and any(address >= SHARED_RAM[1] for address, _ in run.regions)


def region_at_odd_address(pair: Pair, access: Access) -> bool:
    run = begins_dma(pair, access)
    return run is not None and any(address % 2 for address, _ in run.regions)


def table_used_before(pair: Pair, access: Access) -> bool:
    """A second command while the bus master runs on from the first."""
    bus_master = channel_of(pair, access).bus_master
    used = bus_master.next != bus_master.table
    return accepted_command(pair, access) in DMA and bus_master.running() and used


def starts_reset(access: Access) -> bool:
    return access.is_control and access.writes and access.value & 4 != 0


def reset_before_dma(pair: Pair, access: Access) -> bool:
    return starts_reset(access) and channel_of(pair, access).protocol in DMA_PROTOCOLS


def reset_of_device_1(pair: Pair, access: Access) -> bool:
    return starts_reset(access) and channel_of(pair, access).selected == 1


def configuration_bits(_pair: Pair, access: Access) -> bool:
    return access.kind == "write_config" and access.port == 4 and access.value & ~5 != 0


# ---- the examples -----------------------------------------------------------------------------


def write(port: int, value: int, size: int = 1) -> Access:
    return Access("write", port, size, value)


def read(port: int, size: int = 1) -> Access:
    return Access("read", port, size)


def execute(code: int, lba: int = 0, count: int = 0, features: int = 0) -> tuple[Access, ...]:
    """A command to the primary channel's selected device, device 0 at first."""
    values = (features, count, lba & 0xFF, lba >> 8)
    registers = (write(PRIMARY + 1 + i, value) for i, value in enumerate(values))
    return *registers, write(PRIMARY + 5, 0), write(PRIMARY + 7, code)


def table(*regions: tuple[int, int]) -> Access:
    """A table at 0x10000; the last region ends it."""
    data = b""
    for i, (address, length) in enumerate(regions):
        end = (i == len(regions) - 1) << 31
        data += address.to_bytes(4, "little") + (length & 0xFFFF | end).to_bytes(4, "little")
    return Access("poke", 0x1_0000, data=data)


START = (write(BUS_MASTER + 4, 0x1_0000, 4), write(BUS_MASTER, 9))
STATUS = (read(CONTROL[PRIMARY]), read(BUS_MASTER + 2))
IDENTIFY = execute(Command.IDENTIFY_DEVICE)


def row(name: str, matches: Callable[[Pair, Access], bool], *example: Access) -> Row:
    return Row(name, matches, example)


ROWS = (
    row(
        "half a doubleword", half_a_doubleword,
        *IDENTIFY, Access("read_string", PRIMARY, 2, 255), read(PRIMARY, 4), *STATUS,
    ),
    row("doubleword register access", doubleword_register, read(PRIMARY + 1, 4)),
    row("bus master register width", bus_master_width, read(BUS_MASTER, 4)),
    row("no such address", no_such_address, *execute(0x20, SECTORS, 1), read(PRIMARY + 1)),
    row(
        "multiple after a reset", multiple_after_reset,
        write(CONTROL[PRIMARY], 6), write(CONTROL[PRIMARY], 2),
        write(PRIMARY + 6, 0xE0), *execute(Command.READ_MULTIPLE, 0, 1), *STATUS,
    ),
    row(
        "access during a reset", during_reset,
        write(CONTROL[PRIMARY], 6), read(CONTROL[PRIMARY]),
    ),
    row(
        "reset of a waiting DMA command", reset_before_dma,
        table((0x2_0000, 256)), *execute(Command.READ_DMA, 0, 1),  # too short: it ends at once
        write(CONTROL[PRIMARY], 6), write(CONTROL[PRIMARY], 2), *START, *STATUS,
    ),
    row(
        "selection after a reset", reset_of_device_1,
        write(PRIMARY + 6, 0xF0), write(CONTROL[PRIMARY], 6), write(CONTROL[PRIMARY], 2),
        write(PRIMARY + 2, 16), write(PRIMARY + 7, Command.SET_MULTIPLE_MODE),
        write(PRIMARY + 3, 1), write(PRIMARY + 7, Command.READ_MULTIPLE),
        Access("read_string", PRIMARY, 2, 256),
    ),
    row(
        "interrupt by a reset", interrupt_by_reset,
        write(CONTROL[PRIMARY], 4), write(CONTROL[PRIMARY], 0),
    ),
    row(
        "absent device 1", absent_device,
        write(SECONDARY + 7, 0x94), write(SECONDARY + 6, 0xF0), read(SECONDARY + 1),
    ),
    row(
        "diagnostic on both devices", diagnostic_on_both,
        write(PRIMARY + 2, 0x55), write(PRIMARY + 6, 0xF0), write(PRIMARY + 7, 0x90),
        write(PRIMARY + 6, 0xE0), read(PRIMARY + 2),
    ),
    row(
        "interrupt of the other device", interrupt_of_unselected,
        *execute(Command.RECALIBRATE), write(PRIMARY + 6, 0xF0),
    ),
    row("nIEN with a pending interrupt", nien_with_interrupt, *IDENTIFY, write(0x3F6, 2)),
    row(
        "second edge", second_edge,
        *execute(Command.READ_SECTORS, 0, 2), write(BUS_MASTER + 2, 4),
        Access("read_string", PRIMARY, 2, 256), read(BUS_MASTER + 2),
    ),
    row(
        "initialize device parameters", device_parameters,
        *execute(Command.INITIALIZE_DEVICE_PARAMETERS, 0, 8),
        *IDENTIFY, Access("read_string", PRIMARY, 2, 256),
    ),
    row(
        "standby", standby,
        *execute(Command.STANDBY_IMMEDIATE), *execute(Command.CHECK_POWER_MODE), read(PRIMARY + 2),
    ),
    row("sleep", sleep, *execute(Command.SLEEP), *IDENTIFY, read(PRIMARY + 7)),
    row("command not claimed", command_not_claimed, *execute(0x94), read(PRIMARY + 7)),
    row("feature not claimed", feature_not_claimed, *execute(0xEF, 0, 0, 5), read(PRIMARY + 7)),
    row(
        "transfer mode not claimed", mode_not_claimed,
        *execute(0xEF, 0, 0x45, Feature.SET_TRANSFER_MODE), read(PRIMARY + 7),
    ),
    row(
        "HOB and Error", previous_error,
        write(PRIMARY + 1, 0x55), write(PRIMARY + 1, 0xAA),
        write(CONTROL[PRIMARY], 0x80), read(PRIMARY + 1),
    ),
    row(
        "decode enable", decode_enable,
        Access("write_config", 0x40, 2, 0), read(PRIMARY + 7),
    ),
    row(
        "table too short", table_too_short,
        table((0x2_0000, 512)), *execute(Command.READ_DMA, 0, 2), *START, *STATUS,
    ),
    row(
        "table of 512 regions or more", table_too_long,
        table(*[(0x2_0000 + 2 * i, 2) for i in range(520)], (0x4_0000, 0xFFFE)),
        *execute(Command.READ_DMA, 0, 4), *START, *STATUS,
    ),
    row(
        "region outside RAM", region_outside_ram,
        table((0xF000_0000, 512)), *execute(Command.READ_DMA, 0, 1), *START, *STATUS,
    ),
    row(
        "region at an odd address", region_at_odd_address,
        table((0x2_0001, 512)), *execute(Command.READ_DMA, 5, 1), *START, *STATUS,
    ),
    row(
        "table used before", table_used_before,
        table((0x2_0000, 1024)), *execute(Command.READ_DMA, 0, 1), *START, *STATUS,
        *execute(Command.READ_DMA, 5, 1), *STATUS,
    ),
    row(
        "configuration bits", configuration_bits,
        Access("write_config", 4, 2, 0x0147), Access("read_config", 4, 2),
    ),
)  # fmt: skip
