"""The guest's accesses of ports: the IDE's, and those of configuration space's data.

PCI Local Bus 3.0, 3.2.2.3. In configuration space the IDE is where the NVMe controller was, and the
chip set's own IDE is nowhere. CONFIG_ADDRESS is the guest's, which writes it more often than it
accesses data: what it has there is looked for then. Exits: APM volume 2, 15.10.2.
"""

from vestige.abi import PORT_PCI_ADDRESS, PORT_PCI_DATA
from vestige.efiemu.shell import accesses, bridges, ide, strings
from vestige.efiemu.shell.attempt import conclude
from vestige.efiemu.shell.code import fetch
from vestige.efiemu.shell.fault import Outcome
from vestige.efiemu.shell.pages import PAGE
from vestige.efiemu.shell.registers import SHADOW
from vestige.efiemu.shell.state import Shell
from vestige.efiemu.shell.vmcb import Vmcb
from vestige.lang.intrinsics import (
    port_in8,
    port_in16,
    port_in32,
    port_out8,
    port_out16,
    port_out32,
)
from vestige.lang.types import u8, u16, u32, u64
from vestige.monitor.devices.pci.spec import Address, Register
from vestige.monitor.sized import ONES, load_sized, store_sized

IN, STRING = 1 << 0, 1 << 2
EXTENDED = 0xF << 24  # bits of CONFIG_ADDRESS that some processors take for a register's number
WORD = 4  # bytes
REAL, IDE, NONE, BRIDGE = 0, 1, 2, 3  # who answers in configuration space


def answer_port(shell: Shell, vmcb: Vmcb) -> None:
    """An IN or OUT."""
    information = vmcb.information[0]
    port = u16(information >> 16 & 0xFFFF)
    size = u8(information >> 4 & 7)
    if information & STRING:
        answer_string(shell, vmcb)
        return
    if information & IN:
        kept = vmcb.rax & ~ONES[size] if size < WORD else 0
        vmcb.rax = kept | read(shell, port, size) & ONES[size]
    else:
        write(shell, port, size, u32(vmcb.rax & ONES[size]))
    vmcb.instruction = vmcb.information[1]
    vmcb.shadow &= ~SHADOW


def answer_string(shell: Shell, vmcb: Vmcb) -> None:
    """INS or OUTS: as much of it as lies in a page."""
    memory, walk, found, transfer = shell.memory, shell.walk, shell.found, shell.transfer
    transfer.data, transfer.room = accesses.data_page(shell), PAGE
    outcome = fetch(vmcb, memory, walk, shell.decoder, found)
    if outcome == Outcome.DONE:
        outcome = strings.begin(vmcb, shell.guest, memory, walk, found, transfer)
    conclude(shell, vmcb, outcome)
    if outcome == Outcome.DONE and transfer.count > 0:
        reads = transfer.input != 0
        if not reads:
            strings.move(memory, transfer)
        pass_string(shell, transfer)
        if reads:
            strings.move(memory, transfer)
        strings.finish(vmcb, shell.guest, found, transfer)


def pass_string(shell: Shell, transfer: strings.Transfer) -> None:
    """All of it in one go to the monitor, or one after the other to whoever has the port."""
    port, size, reads = transfer.port, transfer.size, transfer.input != 0
    if ide.is_ide(shell, port):
        accesses.string(shell, port, size, transfer.count, write=not reads)
        return
    for number in range(transfer.count):
        place = u64(transfer.data + number * size)
        if reads:
            store_sized(place, size, read(shell, port, size))
        else:
            write(shell, port, size, u32(load_sized(place, size) & ONES[4]))


def read(shell: Shell, port: u16, size: u8) -> u32:
    """What is at a port."""
    address = address_at(port)
    who = owner(shell, address, port, size)
    if who == IDE:
        return accesses.read_ide_config(shell, register_of(address, port), size)
    if who == NONE:
        return ONES[4]
    if ide.is_ide(shell, port):
        return accesses.read_port(shell, port, size)
    if ide.is_second_channel(port):
        return ide.NO_DRIVE
    value = read_real(port, size)
    if who == BRIDGE:
        return u32(bridges.shown(register_of(address, port), size, value))
    return value


def read_real(port: u16, size: u8) -> u32:
    """What the machine has there."""
    if size == 1:
        return port_in8(port)
    return port_in16(port) if size == 2 else port_in32(port)


def write(shell: Shell, port: u16, size: u8, value: u32) -> None:
    """Give it to who is at a port."""
    address = address_at(port)
    who = owner(shell, address, port, size)
    if who == IDE:
        offset = register_of(address, port)
        if not bridges.keeps(shell, address >> 8 & 0xFFFF, offset):
            write_config(shell, offset, size, value)
    elif who == NONE or ide.is_second_channel(port):
        pass
    elif ide.waits(shell, port, size):
        accesses.post_write(shell, port, size, value)
    elif ide.is_ide(shell, port):
        accesses.write_port(shell, port, size, value)
    else:
        if size == 1:
            port_out8(port, u8(value))
        elif size == 2:
            port_out16(port, u16(value))
        else:
            port_out32(port, value)


def write_config(shell: Shell, offset: u8, size: u8, value: u32) -> None:
    """The IDE's configuration space; its bus master may be elsewhere then."""
    accesses.write_ide_config(shell, offset, size, value)
    if offset & 0xFC in (Register.COMMAND, ide.BUS_MASTER):
        ide.find_bus_master(shell)


def address_at(port: u16) -> u32:
    """CONFIG_ADDRESS, if a port leads to configuration space; else, and if it is disabled, 0."""
    if not PORT_PCI_DATA <= port < PORT_PCI_DATA + WORD:
        return 0
    address = port_in32(PORT_PCI_ADDRESS)
    return address if address & Address.ENABLE else 0


def owner(shell: Shell, address: u32, port: u16, size: u8) -> u32:
    """Whose configuration space a port leads to; REAL also where it leads to none.

    A BRIDGE is a real one, too, which reads otherwise.
    """
    if address == 0:
        return REAL
    function = address >> 8 & 0xFFFF
    if function == shell.old_ide:
        return NONE
    if bridges.is_bridge(shell, function) and not address & EXTENDED:
        return BRIDGE
    if bridges.is_ides(shell, function):
        return NONE if address & EXTENDED or port % WORD + size > WORD else IDE
    return REAL


def register_of(address: u32, port: u16) -> u8:
    """Its offset in configuration space."""
    return u8(address & Address.REGISTER | port % WORD)
